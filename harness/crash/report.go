package crash

import (
	"regexp"
	"strconv"
	"strings"
)

// A report is a Record being read from the log line by line.
type report struct {
	Record
	raw     strings.Builder
	note    string // what WARN() was given to say, between "cut here" and "WARNING:"
	stack   string // of the frames that come next
	faulted bool   // die() has spoken
	located bool   // Func is where it happened, not the frame it was called from
	traces  int    // call traces begun
	quiet   int    // lines without a trace so far
	done    bool   // nothing but a panic can follow
}

func reopen(r Record) *report {
	o := &report{Record: r, faulted: true, located: r.Func != "", traces: 1}
	o.raw.WriteString(r.Raw)
	return o
}

// die records that the kernel stopped because of this report.
func (o *report) die(reason string) {
	o.Fatal, o.done = true, false
	o.Panic = bound(strings.TrimSpace(reason))
}

// foretold reports whether the next "cut here" is of the BUG() this report
// has given the reason of: lib/list_debug.c prints first and stops then.
func (o *report) foretold() bool { return o.Class == ListCorruption && o.traces == 0 }

// absorbs reports whether a line that could begin a report goes on with this
// one: the trap after the BUG or page fault that raised it, the report proper
// after its "cut here".
func (o *report) absorbs(class Class, msg string) bool {
	switch {
	case o.done:
		return false
	case o.Class == "":
		return true
	case class == Bug:
		return o.Class == ListCorruption && !o.faulted
	case class == Oops || class == GPF:
		return damaging[o.Class] && !o.faulted && dies(msg)
	}
	return false
}

// add takes one more line; false if it does not belong to the report and ends
// it.
func (o *report) add(line, msg string, class Class) bool {
	if o.done {
		return false
	}
	if !o.belongs(msg, class) {
		return false
	}
	if o.raw.Len()+len(line) < MaxRaw {
		o.raw.WriteString(strings.TrimRight(line, "\r"))
		o.raw.WriteByte('\n')
	}
	if class != "" && o.Title == "" {
		o.headline(msg, class)
	} else {
		o.body(msg)
	}
	return true
}

// body reads a line after the first.
func (o *report) body(msg string) {
	switch text := strings.TrimSpace(msg); {
	case dies(msg):
		o.faulted = true
	case strings.HasPrefix(msg, "---[ end "):
		o.done = true
	case o.Title == "" && !strings.HasPrefix(msg, cutHere):
		o.note = text
	case strings.HasPrefix(msg, "Call Trace:") || strings.HasPrefix(msg, "Call trace:"):
		o.traces++
		o.stack = ""
	case strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">"):
		o.switchStack(strings.Trim(text, "<>"))
	case strings.HasPrefix(msg, "RIP: ") || strings.HasPrefix(msg, "IP: "):
		o.locate(msg)
	case strings.HasPrefix(msg, "CPU: ") || strings.HasPrefix(msg, "Pid: "):
		o.task(msg)
	case strings.Contains(msg, "ainted"):
		o.taint(msg)
	default:
		o.frame(msg)
	}
}

// switchStack follows the markers "<IRQ>", "</IRQ>", "<TASK>" and, before 4.9,
// "<EOI>" and "<EOE>" for the end of an interrupt or exception.
func (o *report) switchStack(name string) {
	if strings.HasPrefix(name, "/") || name == "TASK" || name == "EOI" || name == "EOE" {
		name = ""
	}
	o.stack = bound(name)
}

// trailing matches what stands between and after call traces: registers, the
// modules, the next CPU.
var trailing = regexp.MustCompile(`^(?:[CER]?[RIDSFGC][A-Z0-9]{1,2}:|R(?:[0-9]{2}|IP|SP)\b|RIP |CPU: |UID: |Code: |Modules linked in:|Last unloaded|Hardware name:|Call [Tt]race:|---\[|task:|NMI backtrace|Sending NMI|PKRU:|Kernel Offset:|Rebooting in|Tainted: |Workqueue:|Stack:|Shutting down cpus|CPU [0-9]|note: |PANIC|irq event stamp|hardirqs last|softirqs last|Dumping ftrace|Preemption disabled)`)

// belongs decides where a report without an end marker ends: at the first line
// after its call trace that is no part of one.
func (o *report) belongs(msg string, class Class) bool {
	if class != "" || strings.HasPrefix(msg, cutHere) {
		return true
	}
	if o.traces == 0 {
		o.quiet++
		return o.quiet <= patience || o.Class == Lockdep && o.quiet <= lockdepPatience
	}
	switch {
	case o.Class == KASAN || o.Class == KFENCE || o.Class == KMSAN || o.Class == KCSAN:
		return !strings.HasPrefix(msg, "=====")
	case strings.HasPrefix(msg, " ") || strings.HasPrefix(msg, "\t"):
		return true
	}
	return trailing.MatchString(msg)
}

// finish makes the Record; false if a "cut here" had nothing after it.
func (o *report) finish() (Record, bool) {
	if o.Title == "" {
		return Record{}, false
	}
	if o.note != "" && !strings.Contains(o.Title, o.note) {
		o.Title = bound(o.Title + ": " + o.note)
	}
	if !o.located {
		if f := meaningful(o.Frames); f != nil {
			o.happened(f.Func, f.Module)
		}
	}
	o.Raw = o.raw.String()
	return o.Record, true
}

func bound(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxTitle)], "\uFFFD")
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0
	}
	return n
}
