// Package crash finds panics, oopses, warnings and stalls in a kernel log and
// says what each is about. It judges the console or the kmsg stream of one x86
// guest, from 3.x kernels on; whether the text is the kernel's own is for the
// caller to know, since a guest's user space can print anything to both.
package crash

import "strings"

// A Class is a kind of kernel complaint.
type Class string

// The classes. Unless noted the kernel goes on, more or less well.
const (
	Panic          Class = "panic"     // the kernel stopped, and no earlier report says why
	OOMPanic       Class = "oom-panic" // stopped for want of memory
	Oops           Class = "oops"      // bad memory access, or a trap other than the next two
	GPF            Class = "gpf"       // general protection fault
	Bug            Class = "bug"       // BUG() or BUG_ON()
	ListCorruption Class = "list-corruption"
	BadPage        Class = "bad-page"
	KASAN          Class = "kasan"
	KFENCE         Class = "kfence"
	KMSAN          Class = "kmsan"
	KCSAN          Class = "kcsan"
	UBSAN          Class = "ubsan"
	Warning        Class = "warning" // WARN() or WARN_ON()
	Lockdep        Class = "lockdep" // a locking rule was broken
	AtomicSleep    Class = "atomic-sleep"
	HungTask       Class = "hung-task"
	SoftLockup     Class = "soft-lockup"
	HardLockup     Class = "hard-lockup"
	RCUStall       Class = "rcu-stall"
	Leak           Class = "leak"
	Complaint      Class = "complaint" // another line that begins with "BUG:" or the like
)

// damaging holds the classes after which nothing the kernel does can be
// trusted, although it may go on: memory was misused, or the task that found
// out was killed with whatever locks it held.
var damaging = map[Class]bool{
	Panic: true, OOMPanic: true, Oops: true, GPF: true, Bug: true,
	ListCorruption: true, BadPage: true, KASAN: true, KFENCE: true, KMSAN: true,
}

// A Record is one kernel complaint. A panic brought on by an oops or another
// complaint is one record together with it, of the class of the complaint.
type Record struct {
	Class   Class   `json:"class"`
	Title   string  `json:"title"`            // the kernel's words, one line: "kernel BUG at fs/overlayfs/copy_up.c:123!"
	Func    string  `json:"func,omitempty"`   // where it happened, else the first frame that tells something
	Module  string  `json:"module,omitempty"` // of Func; empty for the kernel proper
	Frames  []Frame `json:"frames,omitempty"` // the first call trace, innermost first
	Release string  `json:"release,omitempty"`
	Tainted string  `json:"tainted,omitempty"` // taint letters, "GOE"; empty if not tainted or not said
	Comm    string  `json:"comm,omitempty"`    // the current task's name
	PID     int     `json:"pid,omitempty"`
	Panic   string  `json:"panic,omitempty"` // why the kernel stopped, if it did: "Fatal exception"
	Fatal   bool    `json:"fatal,omitempty"` // the machine stopped
	Raw     string  `json:"raw,omitempty"`   // the lines it was read from, at most MaxRaw bytes
}

// A Frame is one line of a call trace.
type Frame struct {
	Func     string `json:"func"`
	Off      uint64 `json:"off"`              // of the return address in Func, bytes
	Size     uint64 `json:"size"`             // of Func, bytes
	Module   string `json:"module,omitempty"` // empty for the kernel proper
	Stack    string `json:"stack,omitempty"`  // "IRQ", "NMI" and so on; empty for the task's own
	Reliable bool   `json:"reliable"`         // false if the unwinder put a "?" before it
}

// Damaging reports whether a case during which r was written has crashed the
// kernel. Other records only make it fail.
func (r Record) Damaging() bool { return r.Fatal || damaging[r.Class] }

// Summary is what happened and where, in one line:
// "Kernel panic: sysrq triggered crash, in ovl_copy_up [overlay]".
func (r Record) Summary() string {
	s := r.Title
	if reason, ok := strings.CutPrefix(s, panicLine); ok {
		s = "Kernel panic" + reason
	}
	s = strings.TrimRight(s, ".")
	if r.Func != "" && !strings.Contains(s, r.Func) {
		s += ", in " + r.Func
		if r.Module != "" {
			s += " [" + r.Module + "]"
		}
	}
	if r.Fatal && r.Class != Panic && r.Class != OOMPanic {
		s += "; the kernel panicked"
	}
	return s
}

// Worst returns the gravest record: one the kernel died of, else the first
// damaging one, else the first. It returns nil if there is none.
func Worst(records []Record) *Record {
	var worst *Record
	for i := range records {
		if r := &records[i]; worst == nil || r.gravity() > worst.gravity() {
			worst = r
		}
	}
	return worst
}

func (r Record) gravity() int {
	switch {
	case r.Fatal:
		return 2
	case r.Damaging():
		return 1
	}
	return 0
}
