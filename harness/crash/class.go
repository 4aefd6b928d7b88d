package crash

// A Class is a kind of kernel complaint.
type Class string

// The classes. Unless noted the kernel goes on, more or less well.
const (
	Panic          Class = "panic"           // the kernel stopped, and no earlier report says why
	OOMPanic       Class = "oom-panic"       // stopped for want of memory
	OOMKill        Class = "oom-kill"        // a process was killed for want of memory
	NullDeref      Class = "oops-null"       // an access to the first page of memory
	Fault          Class = "oops-fault"      // an access to another address that is not there or not allowed
	Oops           Class = "oops"            // a trap that has no class of its own
	GPF            Class = "gpf"             // general protection fault
	DivideError    Class = "divide-error"    // a division by zero, or one that overflowed
	InvalidOpcode  Class = "invalid-opcode"  // an instruction the CPU does not know, other than that of BUG
	DoubleFault    Class = "double-fault"    // a fault while the CPU took another
	StackOverflow  Class = "stack-overflow"  // the end of a kernel stack was hit
	StackProtector Class = "stack-protector" // a function's stack frame was overwritten
	Bug            Class = "bug"             // BUG() or BUG_ON()
	ListCorruption Class = "list-corruption" // a linked list whose ends do not meet
	Refcount       Class = "refcount"        // a reference count that under- or overflowed
	BadPage        Class = "bad-page"        // a page, a page table or a count of pages in a state it cannot have
	KASAN          Class = "kasan"
	KFENCE         Class = "kfence"
	KMSAN          Class = "kmsan"
	KCSAN          Class = "kcsan"
	UBSAN          Class = "ubsan"
	Warning        Class = "warning"           // WARN() or WARN_ON()
	Lockdep        Class = "lockdep"           // a locking rule was broken
	AtomicSleep    Class = "atomic-sleep"      // sleeping where that is not allowed
	HungTask       Class = "hung-task"         // a task that sleeps too long
	SoftLockup     Class = "soft-lockup"       // a CPU that does not schedule
	HardLockup     Class = "hard-lockup"       // a CPU that takes no interrupts
	RCUStall       Class = "rcu-stall"         // a grace period that does not end
	Leak           Class = "leak"              // memory nobody points to any more
	MachineCheck   Class = "mce"               // the hardware says it is broken
	Reboot         Class = "reboot-unexpected" // the machine began to boot in the middle of its work
	Silence        Class = "console-silent"    // the machine died without a word; no log shows that, so only who ran it can say
	Other          Class = "other"             // another line that begins with "BUG:" or the like
)

// A Severity says what is left of the kernel after a complaint.
type Severity string

// The severities, gravest first.
const (
	SeverityFatal     Severity = "fatal"     // the machine stopped
	SeverityDamaging  Severity = "damaging"  // it goes on, but cannot be trusted
	SeverityContinues Severity = "continues" // it goes on
	SeverityNotice    Severity = "notice"    // it did what it is for
)

// damaging holds the classes after which nothing the kernel does can be
// trusted, although it may go on: memory was misused, or the task that found
// out was killed with whatever locks it held.
var damaging = map[Class]bool{
	Panic: true, OOMPanic: true, NullDeref: true, Fault: true, Oops: true, GPF: true,
	DivideError: true, InvalidOpcode: true, DoubleFault: true, StackOverflow: true,
	StackProtector: true, Bug: true, ListCorruption: true, BadPage: true, KASAN: true,
	KFENCE: true, KMSAN: true, MachineCheck: true, Reboot: true, Silence: true,
}

// stopped holds the classes no kernel survives.
var stopped = map[Class]bool{Panic: true, OOMPanic: true, StackProtector: true, Reboot: true, Silence: true}

// taints are the letters a complaint of the class adds itself
// (Documentation/admin-guide/tainted-kernels.rst).
var taints = map[Class]string{
	NullDeref: "D", Fault: "D", Oops: "D", GPF: "D", DivideError: "D", InvalidOpcode: "D",
	DoubleFault: "D", StackOverflow: "D", Bug: "D", ListCorruption: "D",
	Warning: "W", Refcount: "W", AtomicSleep: "W", UBSAN: "",
	BadPage: "B", KASAN: "B", KFENCE: "B", SoftLockup: "L", MachineCheck: "M",
}
