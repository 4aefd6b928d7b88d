package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"
)

// logs are the console logs of real kernels in testdata; see README there.
func logs(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.log")
	assert.NilError(t, err)
	assert.Assert(t, len(names) > 0)
	return names
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	log, err := os.ReadFile(name)
	assert.NilError(t, err)
	return log
}

// render shows records as the golden files have them: the summary, all fields
// but the raw text, and a frame a line.
func render(t *testing.T, records []Record) string {
	t.Helper()
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%s\ndamaging: %v\n", r.Summary(), r.Damaging())
		frames := r.Frames
		r.Frames, r.Raw, r.Modules = nil, "", nil
		r.Start, r.End, r.Stamp, r.First = 0, 0, "", false
		data, err := json.MarshalIndent(r, "", "  ")
		assert.NilError(t, err)
		fmt.Fprintf(&b, "%s\n", data)
		for _, f := range frames {
			fmt.Fprintf(&b, "%-4s %-5v %s+%#x/%#x %s\n", f.Stack, f.Reliable, f.Func, f.Off, f.Size, f.Module)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestScanRealLogs(t *testing.T) {
	for _, name := range logs(t) {
		t.Run(filepath.Base(name), func(t *testing.T) {
			records := Scan(read(t, name))
			golden.Assert(t, render(t, records), filepath.Base(name)+".golden")
		})
	}
}

// A report's raw text must be enough to read it again.
func TestScanReadsItsOwnRaw(t *testing.T) {
	for _, name := range logs(t) {
		for _, r := range Scan(read(t, name)) {
			again := Scan([]byte(r.Raw))
			assert.Equal(t, render(t, again), render(t, []Record{r}), name)
		}
	}
}

func TestFatalAndSerious(t *testing.T) {
	cases := []struct {
		line           string
		fatal, serious bool
	}{
		{"[    1.632930] Kernel panic - not syncing: sysrq triggered crash", true, true},
		{"<0>[    1.6][   T1] Kernel panic - not syncing: x\r\n", true, true},
		{"half a line[    1.632930] Kernel panic - not syncing: x", true, true},
		{"[    1.6] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---", false, false},
		{"[    1.6] ------------[ cut here ]------------", false, true},
		{"[    1.6] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2", false, true},
		{"[    1.6] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [a:1]", false, true},
		{"NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", false, true},
		{"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", false, true},
		{"INFO: rcu_sched self-detected stall on CPU", false, true},
		{"INFO: task a b:12 blocked for more than 120 seconds.", false, true},
		{"[ INFO: possible circular locking dependency detected ]", false, true},
		{"general protection fault: 0000 [#1] SMP", false, true},
		{"Oops: 0002 [#1] PREEMPT SMP NOPTI", false, true},
		{"Oops: divide error: 0000 [#3] SMP", false, true},
		{"UBSAN: array-index-out-of-bounds in fs/a.c:1:2", false, true},
		{"BUG: KASAN: slab-out-of-bounds in f+0x1/0x2", false, true},
		{"overlayfs: DEBUG: nothing", false, false},
		{"the log said Kernel panic - not syncing", false, false},
		{"INFO: task force ready", false, false},
		{"rcu: INFO: rcu_tasks loaded", false, false},
		{"traps: a[12] general protection fault ip:1 sp:2 error:0", false, false},
		{"", false, false},
		{"[", false, false},
	}
	for _, c := range cases {
		assert.Equal(t, Fatal(c.line), c.fatal, c.line)
		assert.Equal(t, Serious(c.line), c.serious, c.line)
	}
}

func TestWorst(t *testing.T) {
	warn, oops, lockdep := Record{Class: Warning}, Record{Class: Oops}, Record{Class: Lockdep}
	dead := Record{Class: SoftLockup, Fatal: true}
	assert.Assert(t, Worst(nil) == nil)
	assert.Equal(t, Worst([]Record{lockdep, warn}).Class, Lockdep)
	assert.Equal(t, Worst([]Record{warn, oops, lockdep}).Class, Oops)
	assert.Equal(t, Worst([]Record{warn, oops, dead}).Class, SoftLockup)
}

// An oops elsewhere has not killed PID 1.
func TestPanicOfAnotherCause(t *testing.T) {
	log := "Oops: 0002 [#1] SMP\nCPU: 0 PID: 77 Comm: a Not tainted 6.1.0 #1\n---[ end trace 0 ]---\n" +
		"Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n"
	records := Scan([]byte(log))
	assert.Equal(t, len(records), 2)
	assert.Equal(t, records[0].Fatal, false)
	assert.Equal(t, records[1].Class, Panic)
	assert.Equal(t, records[1].Fatal, true)
}

func TestReportWithoutAnEndDoesNotSwallowTheLog(t *testing.T) {
	log := "INFO: task a:12 blocked for more than 120 seconds.\nCall Trace:\n <TASK>\n f+0x1/0x2\n </TASK>\n" +
		"eth0: link up\nCPU: 0 PID: 1 Comm: b Not tainted 6.1.0 #1\n"
	records := Scan([]byte(log))
	assert.Equal(t, len(records), 1)
	assert.Equal(t, records[0].Comm, "a")
	assert.Assert(t, !strings.Contains(records[0].Raw, "eth0"))
}

// A guest may print any number of warnings before it dies.
func TestFloodDoesNotHideThePanic(t *testing.T) {
	log := strings.Repeat("WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\n", 2*MaxRecords) +
		"Kernel panic - not syncing: enough\n" + strings.Repeat("BUG: unable to handle x\n", 5)
	records := Scan([]byte(log))
	assert.Equal(t, len(records), MaxRecords)
	assert.Equal(t, Worst(records).Panic, "enough")
}

// Before 4.9 addresses were printed, and before 3.10 "Pid:" and "comm:".
func TestScanOldKernel(t *testing.T) {
	log := `BUG: unable to handle kernel NULL pointer dereference at 0000000000000010
IP: [<ffffffffa0123456>] ovl_copy_up_one+0x12/0x340 [overlayfs]
PGD 0
Oops: 0000 [#1] SMP
CPU: 1 PID: 812 Comm: rm -rf Tainted: G        W     3.16.0-0.rc4.git1.1.playground.fc21.x86_64 #1
RIP: 0010:[<ffffffffa0123456>]  [<ffffffffa0123456>] ovl_copy_up_one+0x12/0x340 [overlayfs]
Call Trace:
 [<ffffffff81234567>] ? vfs_getattr+0x1/0x40
 [<ffffffffa0123999>] ovl_copy_up+0x99/0x100 [overlayfs]
---[ end trace 0123456789abcdef ]---
`
	records := Scan([]byte(log))
	assert.Equal(t, len(records), 1)
	r := records[0]
	assert.Equal(t, r.Summary(), "BUG: unable to handle kernel NULL pointer dereference at 0000000000000010, in ovl_copy_up_one [overlayfs]")
	assert.Equal(t, r.Release, "3.16.0-0.rc4.git1.1.playground.fc21.x86_64")
	assert.Equal(t, r.Tainted, "GW")
	assert.Equal(t, r.Comm, "rm -rf")
	assert.DeepEqual(t, r.Frames, []Frame{
		{Func: "ovl_copy_up_one", Off: 0x12, Size: 0x340, Module: "overlayfs", Reliable: true},
		{Func: "vfs_getattr", Off: 1, Size: 0x40},
		{Func: "ovl_copy_up", Off: 0x99, Size: 0x100, Module: "overlayfs", Reliable: true},
	})
}

// What only looks like a report is none, in any form of log.
func TestScanIsSilentOnSilentLogs(t *testing.T) {
	names, err := filepath.Glob("testdata/silent/*.log")
	assert.NilError(t, err)
	assert.Assert(t, len(names) > 0)
	for _, name := range names {
		log := read(t, name)
		assert.Equal(t, render(t, Scan(log)), "", name)
		for form, write := range forms {
			assert.Equal(t, render(t, Scan([]byte(reform(log, write)))), "", "%s of %s", form, name)
		}
	}
}

// A machine that begins to boot again without having said goodbye has crashed.
func TestScanFindsReboots(t *testing.T) {
	work := strings.Repeat("[   12.000001] eth0: link up\n", 30)
	boot := "[    0.000000] Linux version 6.1.0 (x) #1\n"
	cases := []struct {
		log  string
		want int
	}{
		{boot + work + boot + work, 1},
		{boot + work + "[   13.000000] reboot: Restarting system\n" + boot + work, 0},
		{boot + work + "[   13.000000] Kernel panic - not syncing: x\n" + boot + work, 1},
		{boot + strings.ReplaceAll(work, "12.0", " 0.0") + boot + work, 0}, // a second console
		{reform([]byte(boot+work+boot), forms["syslog"]), 0},               // a file of many boots
	}
	for i, c := range cases {
		records := Scan([]byte(c.log))
		assert.Equal(t, len(records), c.want, "case %d", i)
		for _, r := range records {
			assert.Equal(t, r.Fatal, true)
		}
	}
}
