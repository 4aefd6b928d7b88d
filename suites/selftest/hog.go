package selftest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

const mib = 1 << 20

// hogs are the cases that take all there is of something.
var hogs = []ending{
	{suites.Case{
		Name:    "fork-bomb",
		Doc:     "Two hundred processes that a case leaves behind end with it.",
		Timeout: 30 * time.Second,
		Alone:   true,
		Run:     forkBomb,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:    "eat-memory",
		Doc:     "A process that the kernel kills because memory ran out fails its case; the machine lives on.",
		Timeout: 60 * time.Second,
		Run:     eatMemory,
	}, Expectation{"FAIL", "out of memory"}},
	{suites.Case{
		Name:    "fill-directory",
		Doc:     "A case that fills its working directory runs into a limit, and the next one has room again.",
		Timeout: 60 * time.Second,
		Run:     fillDirectory,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:  "eat-descriptors",
		Doc:   "A case may use up its file descriptors and still say that it passed.",
		Alone: true,
		Run:   eatDescriptors,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:    "flood-output",
		Doc:     "A case that prints 100 MB passes; what is too much of its output is dropped, and counted.",
		Timeout: 60 * time.Second,
		Run:     floodOutput,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:    "flood-log",
		Doc:     "A case that logs 5,000 lines passes.",
		Timeout: 30 * time.Second,
		Run:     floodLog,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:    "flood-kmsg",
		Doc:     "A case that writes 5,000 records to the kernel's log passes, whatever they push out of the ring.",
		Timeout: 60 * time.Second,
		Run:     floodKmsg,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:    "flood-ports",
		Doc:     "Bytes that a case writes to every serial line and port of the guest do not change its verdict.",
		Timeout: 60 * time.Second,
		Run:     floodPorts,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "after-hogs",
		Doc:  "The case after those that used everything up passes in a directory that is empty and takes 1 MiB.",
		Run:  writeSome,
	}, Expectation{"PASS", ""}},
}

func forkBomb(t *suites.T) {
	if err := swarm(200); err != nil {
		t.Error(err)
	}
}

// eatMemory makes itself the first to go, lest the kernel take another process
// (proc_pid_oom_score_adj(5)).
func eatMemory(t *suites.T) {
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		t.Fatalf("volunteer for the OOM killer: %v", err)
	}
	for {
		chunk, err := unix.Mmap(-1, 0, 16*mib, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			t.Skipf("address space ran out before memory: %v", err)
		}
		for i := 0; i < len(chunk); i += unix.Getpagesize() {
			chunk[i] = 1
		}
	}
}

func fillDirectory(t *suites.T) {
	var fs unix.Statfs_t
	if err := unix.Statfs(t.Dir(), &fs); err != nil {
		t.Fatalf("statfs %s: %v", t.Dir(), err)
	}
	if fs.Blocks == 0 {
		t.Fatalf("%s has no size limit", t.Dir())
	}
	f, err := os.Create(filepath.Join(t.Dir(), "big"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for chunk := make([]byte, mib); err == nil; {
		_, err = f.Write(chunk)
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write to a full directory: %v, want %v", err, unix.ENOSPC)
	}
}

func eatDescriptors(t *suites.T) {
	var err error
	for n := 0; err == nil; n++ {
		if _, err = unix.Dup(1); n > 1<<20 {
			t.Skip("no limit on file descriptors below a million")
		}
	}
	t.Logf("the last dup: %v", err)
}

func floodOutput(*suites.T) {
	line := bytes.Repeat([]byte("all work and no play\n"), mib/21)
	for range 100 {
		os.Stdout.Write(line)
	}
}

func floodLog(t *suites.T) {
	for i := range 5_000 {
		t.Logf("line %d of 5000", i+1)
	}
}

func floodKmsg(t *suites.T) {
	kmsg := openKmsg(t)
	for range 5000 {
		if _, err := kmsg.WriteString("<6>all work and no play makes the ring go round\n"); err != nil {
			t.Fatal(err)
		}
	}
}

func floodPorts(t *suites.T) {
	noise := bytes.Repeat([]byte("all work and no play\r\n"), 64<<10/22)
	writePorts(t, noise)
}

func writeSome(t *suites.T) {
	left, err := os.ReadDir(t.Dir())
	if err != nil || len(left) > 0 {
		t.Errorf("the working directory holds %v, %v; want nothing", left, err)
	}
	if err := os.WriteFile(filepath.Join(t.Dir(), "small"), make([]byte, mib), 0o600); err != nil {
		t.Errorf("write 1 MiB: %v", err)
	}
}
