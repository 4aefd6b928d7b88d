package crash

import (
	"regexp"
	"strings"
)

const (
	panicLine = "Kernel panic - not syncing" // kernel/panic.c
	cutHere   = "------------[ cut here ]---"
)

// leads are put before a message by the part of the kernel that prints it
// (pr_fmt), in some versions and not in others. They are taken off first.
var leads = []string{"NMI watchdog: ", "watchdog: ", "rcu: "}

// openings says how the first line of a report begins. The first match counts.
var openings = []struct {
	prefix string
	class  Class
}{
	{panicLine + ": Out of memory", OOMPanic},
	{panicLine + ": System is deadlocked on memory", OOMPanic},
	{panicLine, Panic},

	{"WARNING: possible circular locking dependency detected", Lockdep},
	{"WARNING: possible recursive locking detected", Lockdep},
	{"WARNING: possible irq lock inversion dependency detected", Lockdep},
	{"WARNING: inconsistent lock state", Lockdep},
	{"WARNING: suspicious RCU usage", Lockdep},
	{"WARNING: bad unlock balance detected", Lockdep},
	{"WARNING: bad contention detected", Lockdep},
	{"WARNING: held lock freed", Lockdep},
	{"WARNING: lock held", Lockdep},
	{"WARNING: Nested lock was not taken", Lockdep},
	{"WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected", Lockdep},
	{"WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected", Lockdep},
	// Before 4.11 lockdep wrote its headlines in brackets.
	{"[ INFO: ", Lockdep},
	{"[ BUG: ", Lockdep},
	{"[ BUG ", Lockdep},
	{"BUG: Invalid wait context", Lockdep},
	{"BUG: MAX_LOCK", Lockdep},
	{"INFO: trying to register non-static key", Lockdep},

	{"BUG: KASAN: ", KASAN},
	{"BUG: KFENCE: ", KFENCE},
	{"BUG: KMSAN: ", KMSAN},
	{"BUG: KCSAN: ", KCSAN},
	{"UBSAN: ", UBSAN},

	{"BUG: soft lockup", SoftLockup},
	{"Watchdog detected hard LOCKUP", HardLockup},
	{"BUG: sleeping function called from invalid context", AtomicSleep},
	{"BUG: scheduling while atomic", AtomicSleep},
	{"BUG: atomic scheduling while atomic", AtomicSleep},
	{"BUG: Bad page ", BadPage},
	{"BUG: Bad rss-counter state", BadPage},
	{"BUG: kernel NULL pointer dereference", Oops},
	{"BUG: unable to handle ", Oops},
	{"BUG: stack guard page was hit", Oops},
	{"BUG: TASK stack guard page was hit", Oops},
	{"BUG: memory leak", Leak},
	{"kernel BUG at ", Bug},
	{"BUG: ", Complaint},

	{"list_add corruption", ListCorruption},
	{"list_del corruption", ListCorruption},
	{"PANIC: double fault", Oops},
	{"WARNING: ", Warning},

	{"INFO: task ", HungTask},
	{"INFO: rcu_", RCUStall},
}

// dieLine is what die() in arch/x86/kernel/dumpstack.c begins an oops with:
// the trap, the error code and the number of the oops. It opens a report only
// if no line before has said more plainly what happened.
var dieLine = regexp.MustCompile(`^.{1,200}: [0-9a-f]{4} \[#[0-9]+\]`)

// classify says which class of report begins with this message; "" for none.
func classify(msg string) Class {
	msg = withoutLeads(msg)
	for _, o := range openings {
		if strings.HasPrefix(msg, o.prefix) && opens(o.class, msg) {
			return o.class
		}
	}
	switch {
	case !dies(msg):
		return ""
	case strings.HasPrefix(withoutOops(msg), "general protection fault"):
		return GPF
	}
	return Oops
}

// dies reports whether msg is a dieLine; most lines are told from one without
// the regular expression.
func dies(msg string) bool { return strings.Contains(msg, " [#") && dieLine.MatchString(msg) }

// withoutOops takes off what newer kernels, 6.12 but not 6.1, put before the
// name of every trap.
func withoutOops(msg string) string { return strings.TrimPrefix(msg, "Oops: ") }

// opens sorts out messages that only begin like a report.
func opens(c Class, msg string) bool {
	switch c {
	case HungTask:
		return strings.Contains(msg, " blocked for more than ")
	case RCUStall:
		return strings.Contains(msg, "stall")
	}
	return true
}

func withoutLeads(msg string) string {
	for _, lead := range leads {
		msg = strings.TrimPrefix(msg, lead)
	}
	return msg
}

// Fatal reports whether the line is the first of a panic: the kernel will not
// run anything after it.
func Fatal(line string) bool {
	return strings.HasPrefix(message(line), panicLine)
}

// Serious reports whether the line begins a report of any class.
func Serious(line string) bool {
	msg := message(line)
	return strings.HasPrefix(msg, cutHere) || classify(msg) != ""
}
