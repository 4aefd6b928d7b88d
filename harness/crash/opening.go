package crash

import "strings"

const (
	panicLine = "Kernel panic - not syncing" // kernel/panic.c
	cutHere   = "------------[ cut here ]"   // include/asm-generic/bug.h
	oomKiller = " invoked oom-killer: "      // mm/oom_kill.c, after the name of a task
)

// leads are put before a message by the part of the kernel that prints it
// (pr_fmt), in some versions and not in others. They are taken off first.
var leads = []string{"NMI watchdog: ", "watchdog: ", "rcu: ", "traps: ", "mce: ", "kmemleak: ", "hrtimer: ", "{1}"}

// An opening says how the first line of a report begins.
type opening struct {
	prefix string
	within string // what the line must hold besides, if not empty
	class  Class
	proof  bool // only a call trace after it shows that it is one
}

// openings are tried in order; the first match counts. The kernel's words are
// those of Linux 3.x to 6.x.
var openings = []opening{
	{panicLine + ": Out of memory", "", OOMPanic, false},
	{panicLine + ": out of memory", "", OOMPanic, false},
	{panicLine + ": System is deadlocked on memory", "", OOMPanic, false},
	{panicLine + ": stack-protector", "", StackProtector, false},
	{panicLine + ": corrupted stack end", "", StackOverflow, false},
	{panicLine + ": kernel stack overflow", "", StackOverflow, false},
	{panicLine + ": Watchdog detected hard LOCKUP", "", HardLockup, false},
	{panicLine + ": Hard LOCKUP", "", HardLockup, false},
	{panicLine + ": softlockup: hung tasks", "", SoftLockup, false},
	{panicLine + ": hung_task: blocked tasks", "", HungTask, false},
	{panicLine + ": RCU Stall", "", RCUStall, false},
	{panicLine, "achine check", MachineCheck, false},
	{panicLine, "", Panic, false},

	{"WARNING: possible circular locking dependency detected", "", Lockdep, false},
	{"WARNING: possible recursive locking detected", "", Lockdep, false},
	{"WARNING: possible irq lock inversion dependency detected", "", Lockdep, false},
	{"WARNING: possible reason: unannotated irqs", "", Lockdep, true},
	{"WARNING: inconsistent lock state", "", Lockdep, false},
	{"WARNING: suspicious RCU usage", "", Lockdep, false},
	{"WARNING: bad unlock balance detected", "", Lockdep, false},
	{"WARNING: bad contention detected", "", Lockdep, false},
	{"WARNING: held lock freed", "", Lockdep, false},
	{"WARNING: lock held", "", Lockdep, false},
	{"WARNING: Nested lock was not taken", "", Lockdep, false},
	{"WARNING: chain_key collision", "", Lockdep, false},
	{"WARNING: ", "-unsafe lock order detected", Lockdep, false},
	{"WARNING: ", "till has locks held!", Lockdep, false},
	{"WARNING: ", "-READ lock recursion", Lockdep, true},
	// Before 4.11 lockdep wrote its headlines in brackets.
	{"[ INFO: ", "", Lockdep, false},
	{"[ BUG: ", "", Lockdep, false},
	{"INFO: possible circular locking dependency detected", "", Lockdep, false},
	{"INFO: possible recursive locking detected", "", Lockdep, false},
	{"INFO: possible irq lock inversion dependency detected", "", Lockdep, false},
	{"INFO: inconsistent lock state", "", Lockdep, false},
	{"INFO: suspicious RCU usage", "", Lockdep, false},
	{"INFO: ", "-unsafe lock order detected", Lockdep, false},
	{"INFO: trying to register non-static key", "", Lockdep, false},
	{"BUG: Invalid wait context", "", Lockdep, false},
	{"BUG: MAX_LOCK", "", Lockdep, false},
	{"BUG: MAX_STACK_TRACE_ENTRIES", "", Lockdep, false},
	{"BUG: lock held ", "", Lockdep, false},
	{"BUG: held lock freed", "", Lockdep, false},
	{"BUG: bad unlock balance", "", Lockdep, false},
	{"BUG: bad contention detected", "", Lockdep, false},
	{"BUG: Nested lock was not taken", "", Lockdep, false},
	{"BUG: looking up invalid subclass", "", Lockdep, false},
	{"BUG: key ", "", Lockdep, false},
	{"BUG: ", "till has locks held!", Lockdep, false},

	{"BUG: KASAN: ", "", KASAN, false},
	{"BUG: KFENCE: ", "", KFENCE, false},
	{"BUG: KMSAN: ", "", KMSAN, false},
	{"BUG: KCSAN: ", "", KCSAN, false},
	{"UBSAN: ", "", UBSAN, false},
	{"kmemleak: ", "new suspected memory leaks", Leak, false},
	{"BUG: memory leak", "", Leak, false},

	{"BUG: soft lockup", "", SoftLockup, false},
	{"Watchdog detected hard LOCKUP", "", HardLockup, false},
	{"Watchdog CPU:", "ard LOCKUP", HardLockup, false},
	{"BUG: sleeping function called from ", "", AtomicSleep, false},
	{"BUG: scheduling while atomic", "", AtomicSleep, false},
	{"BUG: scheduling in a non-blocking section", "", AtomicSleep, false},
	{"BUG: atomic scheduling while atomic", "", AtomicSleep, false},
	{"BUG: assuming atomic context", "", AtomicSleep, false},
	{"BUG: assuming non migratable context", "", AtomicSleep, false},
	{"bad: scheduling from the idle thread", "", AtomicSleep, false},
	{"BUG: Bad page map: ", "messages suppressed", "", false},
	{"BUG: Bad page state: ", "messages suppressed", "", false},
	{"BUG: Bad page ", "", BadPage, false},
	{"Bad page state in process", "", BadPage, false},
	{"BUG: Bad rss-counter state", "", BadPage, false},
	{"BUG: non-zero pgtables_bytes", "", BadPage, false},
	{"BUG: non-zero nr_p", "", BadPage, false},
	{"BUG: kernel NULL pointer dereference", "", NullDeref, false},
	{"BUG: Kernel NULL pointer dereference", "", NullDeref, false},
	{"BUG: unable to handle kernel NULL pointer dereference", "", NullDeref, false},
	{"BUG: unable to handle ", "", Fault, false},
	{"BUG: Unable to handle ", "", Fault, false},
	{"Unable to handle kernel NULL pointer dereference", "", NullDeref, false},
	{"Unable to handle kernel ", "", Fault, false},
	{"Unhandled fault: ", "", Fault, false},
	{"Unable to handle ", " pointer dereference in virtual", Fault, false},
	{"BUG: stack guard page was hit", "", StackOverflow, false},
	{"BUG: ", "stack guard page was hit", StackOverflow, false},
	{"Insufficient stack space to handle exception", "", StackOverflow, false},
	{"PANIC: double fault", "", DoubleFault, false},
	{"PANIC: early exception", "", Oops, false},
	{"kernel BUG at ", "", Bug, false},
	{"Kernel BUG at ", "", Bug, false},
	{"Kernel BUG ", "", Bug, true},
	{"BUG at ", "", Bug, true},

	{"list_add corruption", "", ListCorruption, false},
	{"list_del corruption", "", ListCorruption, false},
	{"list_add double add", "", ListCorruption, false},
	{"refcount_t: ", "", Refcount, true},
	{"[Hardware Error]: CPU ", "Machine Check Exception", MachineCheck, false},
	{"[Hardware Error]: event severity: fatal", "", MachineCheck, false},
	{"Uhhuh. NMI received", "", Other, true},
	{"SError Interrupt on CPU", "", MachineCheck, false},
	{"Bad mode in ", "", Oops, true},
	{"Internal error: Oops - BUG", "", Bug, false},
	{"Internal error: Oops - ndefined instruction", "", InvalidOpcode, false},
	{"Internal error: Oops - undefined instruction", "", InvalidOpcode, false},
	{"Internal error: ", "[#", Fault, false},
	{"Oops [#", "", Oops, false},

	{"INFO: task ", " blocked for more than ", HungTask, false},
	{"INFO: task ", " blocked on ", HungTask, true},
	{"INFO: task ", "can't die for more than", HungTask, false},
	{"INFO: rcu_", "detected ", RCUStall, false},
	{"INFO: rcu ", "detected ", RCUStall, false},
	{"rcu_", "detected stall", RCUStall, true},
	{"rcu_", "detected expedited stall", RCUStall, true},
	{"INFO: rcu_", "stall on CPU", RCUStall, false},
	{"INFO: Stall ended", "", "", false},

	{"BUG: unable", "", Fault, true},
	{"BUG: spinlock ", "", Other, false},
	{"BUG: rwlock ", "", Other, false},
	{"BUG: using ", " in preemptible ", Other, false},
	{"BUG: workqueue lockup", "", Other, false},
	{"BUG: workqueue leaked", "", Other, false},
	{"BUG: Dentry ", "still in use", Other, false},
	{"BUG: stack not page-aligned", "", Other, true},
	{"BUG ", "): ", Other, true}, // mm/slub.c: "BUG kmalloc-64 (Not tainted): Redzone overwritten"
	{"BUG: ", "", Other, true},
	{"irq ", "nobody cared", Other, true},
	{"unregister_netdevice: waiting for ", " to become free", Other, false},
	{"WARNING: kernel stack ", "bad ", Warning, false},
	{"WARNING: stack recursion", "", Warning, true},
	{"WARNING: stack going in the wrong direction", "", Warning, true},
	{"WARNING: can't ", "registers", Warning, true},
	{"WARNING: ", "", Warning, false},
}

// byFirst has the openings by their first byte, so that most lines are told from
// one by a look at theirs.
var byFirst = func() (table [256][]opening) {
	for _, o := range openings {
		table[o.prefix[0]] = append(table[o.prefix[0]], o)
	}
	return table
}()

// opens finds how a report begins with this message; nil if none does.
func opens(msg string) *opening {
	if msg == "" {
		return nil
	}
	msg = withoutLeads(msg)
	if msg == "" {
		return nil
	}
	for i := range byFirst[msg[0]] {
		o := &byFirst[msg[0]][i]
		if !strings.HasPrefix(msg, o.prefix) || o.within != "" && !strings.Contains(msg[len(o.prefix):], o.within) {
			continue
		}
		if o.class == "" || o.class == Warning && !o.proof && o.within == "" && !isWarning(msg) || o.class == HungTask && !isHung(msg) {
			return nil
		}
		return o
	}
	switch {
	case dies(msg):
		return &opening{class: trapClass(msg)}
	case strings.HasPrefix(msg, "Oops: ") && strings.Contains(msg, " [#"): // powerpc and others have no code
		return &opening{class: Fault}
	case strings.Contains(msg, oomKiller):
		return &opening{class: OOMKill}
	}
	return nil
}

// isWarning knows the line of WARN(): "WARNING: CPU: 0 PID: 1 at FILE:LINE
// FUNCTION", without CPU and PID before 3.10, and since 6.19 "WARNING: FILE:LINE
// at FUNCTION, CPU#0: COMM/PID". Programs warn in other words.
func isWarning(msg string) bool {
	rest := strings.TrimPrefix(msg, "WARNING: ")
	if strings.HasPrefix(rest, "CPU: ") && strings.Contains(rest, " PID: ") || strings.HasPrefix(rest, "at ") && strings.Contains(rest, "+0x") {
		return true
	}
	return strings.Contains(rest, " at ") && strings.Contains(rest, "CPU#")
}

// isHung knows "INFO: task COMM:PID blocked for more than 120 seconds." from what
// programs say of their tasks.
func isHung(msg string) bool {
	return !strings.HasPrefix(msg, "INFO: task ") || strings.Contains(msg, " seconds") || strings.Contains(msg, " blocked on ")
}

func withoutLeads(msg string) string {
	switch msg[0] {
	case 'N', 'w', 'r', 't', 'm', 'k', 'h', '{':
	default:
		return msg
	}
	for _, lead := range leads {
		msg = strings.TrimPrefix(msg, lead)
	}
	return msg
}

// classify says which class of report begins with this message; "" for none.
func classify(msg string) Class {
	if o := opens(msg); o != nil {
		return o.class
	}
	return ""
}

// Fatal reports whether the line is the first of a panic: the kernel will not
// run anything after it.
func Fatal(line string) bool {
	return strings.HasPrefix(message(line), panicLine)
}

// Serious reports whether the line begins a report of any class but OOMKill.
func Serious(line string) bool {
	msg := message(line)
	class := classify(msg)
	return strings.HasPrefix(msg, cutHere) || class != "" && class != OOMKill
}
