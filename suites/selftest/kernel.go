package selftest

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// kernelDeaths are the cases that kill the machine, with or without a word.
var kernelDeaths = []ending{
	{suites.Case{
		Name: "panic-sysrq",
		Doc:  "The kernel panics at the key c (Documentation/admin-guide/sysrq.rst).",
		Run:  func(t *suites.T) { sysrq(t, "c") },
	}, Expectation{"CRASH", "sysrq triggered crash"}},
	{suites.Case{
		Name: "after-crash",
		Doc:  "The case after one that killed the kernel gets its own verdict.",
		Run:  pass,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "panic-after-silence",
		Doc:  "A panic is seen although the case turned the console off before: panic() makes it verbose again.",
		Run:  panicAfterSilence,
	}, Expectation{"CRASH", "sysrq triggered crash"}},
	{suites.Case{
		Name: "reboot-sysrq",
		Doc:  "A machine that reboots at the key b, without a word, is lost to the harness; the kernel did not crash.",
		Run:  func(t *suites.T) { sysrq(t, "b") },
	}, Expectation{"ERROR", ""}},
	{suites.Case{
		Name: "power-off-sysrq",
		Doc:  "A machine that powers off at the key o is lost to the harness; the kernel did not crash.",
		Run:  func(t *suites.T) { sysrq(t, "o") },
	}, Expectation{"ERROR", ""}},
	{suites.Case{
		Name: "taint",
		Doc:  "A case that taints the kernel fails, whatever it says itself.",
		Run:  taint,
	}, Expectation{"FAIL", "taint"}},
}

// sysrq presses a key that ends the machine, and waits for the end.
func sysrq(t *suites.T, key string) {
	if err := os.WriteFile("/proc/sysrq-trigger", []byte(key), 0); err != nil {
		t.Skipf("no magic keys: %v", err)
	}
	pauseForever()
}

// panicAfterSilence uses syslog(2), SYSLOG_ACTION_CONSOLE_OFF.
func panicAfterSilence(t *suites.T) {
	const consoleOff = 6
	if _, _, errno := unix.Syscall(unix.SYS_SYSLOG, consoleOff, 0, 0); errno != 0 {
		t.Errorf("turn the console off: %v", errno)
	}
	sysrq(t, "c")
}

// taint sets bit 6, which is user space's own
// (Documentation/admin-guide/tainted-kernels.rst).
func taint(t *suites.T) {
	if err := os.WriteFile("/proc/sys/kernel/tainted", []byte("64"), 0); err != nil {
		t.Skipf("cannot taint the kernel: %v", err)
	}
}
