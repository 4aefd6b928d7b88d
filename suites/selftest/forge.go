package selftest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/suites"
)

// forgeries are the cases that lie: in the harness's words, in the kernel's, or
// in none.
var forgeries = []ending{
	{suites.Case{
		Name: "forge-pass",
		Doc:  "A case that says on every line, in every form, that it passed, and then fails, failed.",
		Run:  func(t *suites.T) { forge(t, suites.Pass); t.Error("the truth") },
	}, Expectation{"FAIL", "the truth"}},
	{suites.Case{
		Name: "forge-fail",
		Doc:  "A case that says on every line, in every form, that it failed, and then passes, passed.",
		Run:  func(t *suites.T) { forge(t, suites.Fail) },
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "garbage-on-channel",
		Doc:  "Random bytes on every descriptor and line of the guest do not change a verdict.",
		Run:  garbage,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "forge-panic-on-console",
		Doc:  "The text of a panic, printed and written to every terminal, is not a panic.",
		Run:  forgePanic,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "forge-panic-in-kmsg",
		Doc:  "The text of a panic in /dev/kmsg is not the kernel's: user space cannot write records of facility 0.",
		Run:  forgeKmsg,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "after-forgeries",
		Doc:  "The case after the liars gets its own verdict.",
		Run:  pass,
	}, Expectation{"PASS", ""}},
}

// ports are the lines that may lead to the host, and the kernel's log.
var ports = []string{
	"/dev/vport*", "/dev/virtio-ports/*", "/dev/hvc*", "/dev/ttyS*",
	"/dev/console", "/dev/tty", "/dev/tty[01]", "/dev/ttyprintk", "/dev/kmsg",
}

// panicText is what Linux 6.1 prints, with the time stamps of its console.
var panicText = strings.ReplaceAll(`
@BUG: kernel NULL pointer dereference, address: 0000000000000000
@#PF: supervisor read access in kernel mode
@Oops: 0000 [#1] PREEMPT SMP NOPTI
@CPU: 0 PID: 42 Comm: forged Tainted: G      D            6.1.0 #1
@RIP: 0010:forged_by_a_case+0x10/0x20
@Call Trace:
@ <TASK>
@ do_syscall_64+0x5b/0xc0
@ </TASK>
@---[ end trace 0000000000000000 ]---
@Kernel panic - not syncing: forged
@---[ end Kernel panic - not syncing: forged ]---
`, "@", "[    9.876543] ")

// forge says that this case ended with status: as JSON, in frames under the
// zero key, and in frames under a key that nobody has.
func forge(t *suites.T, status suites.Status) {
	full := suiteName + "/" + t.Name()
	lies := []event.Event{
		{Kind: event.Finish, Case: full, Status: string(status), Reason: "forged"},
		{Kind: event.Finish, Status: string(status), Reason: "forged"},
		{Kind: event.Kmsg, Text: "Kernel panic - not syncing: forged"},
		{Kind: event.Knock},
		{Kind: event.Bye},
	}
	var line bytes.Buffer
	for _, e := range lies {
		json.NewEncoder(&line).Encode(e)
	}
	key := make([]byte, event.KeySize)
	rand.Read(key)
	for _, k := range [][]byte{nil, key} {
		c := event.NewConn(&line, k, false)
		for _, e := range lies {
			if err := c.Send(e); err != nil {
				t.Errorf("frame a lie: %v", err)
			}
		}
	}
	writeDescriptors(line.Bytes())
	writePorts(t, line.Bytes())
}

func garbage(t *suites.T) {
	noise := make([]byte, 4096)
	rand.Read(noise)
	writeDescriptors(noise)
	writePorts(t, noise)
}

func forgePanic(t *suites.T) {
	writeDescriptors([]byte(panicText))
	writePorts(t, []byte(panicText))
}

// forgeKmsg writes one record a line, of the gravest level, with the facility
// of the kernel asked for in vain.
func forgeKmsg(t *suites.T) {
	kmsg := openKmsg(t)
	for line := range strings.Lines(panicText) {
		if _, text, ok := strings.Cut(line, "] "); ok {
			kmsg.WriteString("<0>" + text)
		}
	}
}

// openKmsg opens the kernel's log and has it take all records: by default it
// drops most of what a process writes (printk.devkmsg in kernel-parameters.txt).
// The setting is taken with its newline only.
func openKmsg(t *suites.T) *os.File {
	t.Helper()
	const limit = "/proc/sys/kernel/printk_devkmsg"
	if before, err := os.ReadFile(limit); err == nil {
		os.WriteFile(limit, []byte("on\n"), 0)
		t.Cleanup(func() { os.WriteFile(limit, before, 0) })
	}
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no way to write to the kernel's log: %v", err)
	}
	t.Cleanup(func() { kmsg.Close() })
	return kmsg
}

// writeDescriptors writes data to every open descriptor of this process, so to
// its output and to its channel to the agent.
func writeDescriptors(data []byte) {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range open {
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			unix.Write(fd, data)
		}
	}
}

// writePorts writes data to every port, and gives up on one that takes too
// long: nobody may listen at the other end.
func writePorts(t *suites.T, data []byte) {
	t.Helper()
	for _, pattern := range ports {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
			if err != nil {
				t.Logf("%v", err)
				continue
			}
			f.SetWriteDeadline(time.Now().Add(2 * time.Second))
			n, err := f.Write(data)
			t.Logf("%s took %d of %d bytes: %v", path, n, len(data), err)
			f.Close()
		}
	}
}
