package selftest

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// hangs are the cases that do not end by themselves.
var hangs = []ending{
	{suites.Case{
		Name:    "hang-interruptible",
		Doc:     "A case that waits past its deadline, and could be killed, is out of time.",
		Timeout: 3 * time.Second,
		Run:     func(*suites.T) { pauseForever() },
	}, Expectation{"TIMEOUT", ""}},
	{suites.Case{
		Name: "after-timeout",
		Doc:  "The case after one that was out of time gets its own verdict.",
		Run:  pass,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:    "hang-unkillable",
		Doc:     "A case that waits for a FUSE server which has taken the request and never answers cannot even be killed.",
		Timeout: 3 * time.Second,
		Helpful: []string{"fuse"},
		Run:     hangUnkillable,
	}, Expectation{"TIMEOUT", ""}},
	{suites.Case{
		Name:    "hang-uninterruptible",
		Doc:     "A case that sleeps in state D past its deadline is out of time.",
		Timeout: 3 * time.Second,
		Run:     func(t *suites.T) { load(t, sleepModule) },
	}, Expectation{"TIMEOUT", ""}},
	{suites.Case{
		Name:    "spin",
		Doc:     "A case that computes past its deadline is out of time.",
		Timeout: 3 * time.Second,
		Run:     func(*suites.T) { spin() },
	}, Expectation{"TIMEOUT", ""}},
	{suites.Case{
		Name:    "spin-realtime",
		Doc:     "A case that computes past its deadline before everything else, as SCHED_FIFO does, is out of time (sched(7)).",
		Timeout: 3 * time.Second,
		Run:     spinRealtime,
	}, Expectation{"TIMEOUT", ""}},
	{suites.Case{
		Name:    "spin-in-kernel",
		Doc:     "A case that keeps a processor in the kernel past its deadline is out of time, heard by the agent or not.",
		Timeout: 3 * time.Second,
		Run:     func(t *suites.T) { load(t, spinModule) },
	}, Expectation{"TIMEOUT", ""}},
	{suites.Case{
		Name:    "halt-deaf",
		Doc:     "A case that stops a processor with its interrupts off, without a word, is out of time.",
		Timeout: 3 * time.Second,
		Run:     func(t *suites.T) { load(t, deafModule) },
	}, Expectation{"TIMEOUT", ""}},
	{suites.Case{
		Name: "after-hangs",
		Doc:  "The case after those that never ended gets its own verdict.",
		Run:  pass,
	}, Expectation{"PASS", ""}},
}

func spinRealtime(t *suites.T) {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 99}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil {
		t.Skipf("no real-time scheduling: %v", err)
	}
	spin()
}

// hangUnkillable mounts a FUSE file system of which this process is the server,
// takes the first request and dies. A killed process still waits for the answer
// to a request that the server has taken (fs/fuse/dev.c, request_wait_answer),
// and the server's end stays open as long as one of its threads lives.
func hangUnkillable(t *suites.T) {
	dev, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	dir := t.TempDir()
	opts := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", dev)
	if err := unix.Mount("selftest", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, opts); err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	if err := initFUSE(dev); err != nil {
		t.Fatal(err)
	}
	go os.Lstat(filepath.Join(dir, "never"))
	if err := takeRequest(dev); err != nil {
		t.Fatal(err)
	}
	killSelf(t)
}
