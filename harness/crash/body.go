package crash

import "strings"

// body reads a line after the first. It is false if the line says nothing.
func (o *report) body(msg string) bool {
	text := strings.TrimLeft(msg, " \t")
	if o.ended {
		return o.tail(msg)
	}
	if o.Title == "" && !strings.HasPrefix(msg, cutHere) {
		o.note = strings.TrimSpace(msg)
		return true
	}
	switch {
	case text == "":
		o.tracing = false
		return false
	case o.goesOn(msg):
	case text[0] == '<':
		return o.marker(text)
	case strings.HasPrefix(text, "Call Trace:") || strings.HasPrefix(text, "Call trace:"):
		o.begin()
		if rest := text[len("Call Trace:"):]; strings.Contains(rest, "+0x") {
			return o.frame(rest)
		}
	case o.frame(msg):
	case o.locate(msg):
	case strings.HasPrefix(msg, "---[ end "):
		o.ended, o.tracing = true, false
	case strings.HasPrefix(msg, "====="):
		o.tracing = false
		if o.sanitised() && len(o.traces) > 0 {
			o.ended = true
		}
	case o.lock(msg, text):
	case o.fact(msg, text):
		if !strings.HasPrefix(msg, "Hardware") {
			o.tracing = false
		}
	case strings.Contains(msg, "messages dropped") || strings.Contains(msg, "messages suppressed"):
		o.dropped = true
	case strings.HasSuffix(strings.TrimRight(msg, " "), ":"):
		o.label, o.tracing = text, false
	default:
		return o.detail(msg, text)
	}
	return true
}

// sanitised reports whether the report is framed by two lines of "=".
func (o *report) sanitised() bool {
	return o.Class == KASAN || o.Class == KFENCE || o.Class == KMSAN || o.Class == KCSAN || o.Class == UBSAN
}

// tail reads a line after "end trace": the registers once more.
func (o *report) tail(msg string) bool { return isTrailing(msg) }

// marker reads "<IRQ>", "</IRQ>", "<TASK>" and, before 4.9, "<EOI>" and "<EOE>"
// for the end of an interrupt or exception, where a frame may follow.
func (o *report) marker(text string) bool {
	end := strings.IndexByte(text, '>')
	if end < 0 || end > 24 {
		return false
	}
	name, rest := text[1:end], text[end+1:]
	if name == "/TASK" {
		o.tracing = false
	}
	if strings.HasPrefix(name, "/") || name == "TASK" || name == "EOI" || name == "EOE" {
		name = ""
	}
	o.stack = bound(name)
	if strings.TrimSpace(rest) != "" {
		o.frame(rest)
	}
	return true
}

// begin opens a call trace.
func (o *report) begin() {
	if len(o.traces) >= maxTraces {
		o.tracing = false
		return
	}
	o.traces = append(o.traces, trace{label: o.label})
	o.tracing, o.stack, o.label = true, "", ""
	if o.pending != nil {
		o.push(*o.pending)
		o.pending = nil
	}
}

func (o *report) push(f Frame) {
	t := &o.traces[len(o.traces)-1]
	if len(t.frames) < maxFrames {
		f.Stack = o.stack
		t.frames = append(t.frames, f)
	}
}

// frame reads a line of a call trace, which need not have been announced.
func (o *report) frame(msg string) bool {
	if strings.IndexByte(msg, '+') < 0 && strings.IndexByte(msg, '/') < 0 {
		return false
	}
	f, ok := frameLine(msg)
	if !ok {
		return false
	}
	if o.siteDue {
		o.siteDue = false
		o.sites = append(o.sites, site{o.label, f})
		return true
	}
	if !o.tracing {
		o.begin()
	}
	if o.tracing {
		o.push(f)
	}
	return true
}

// locate reads where the CPU was.
func (o *report) locate(msg string) bool {
	f, ok := locator(msg)
	if !ok {
		if strings.HasPrefix(msg, "RIP: 0033:") || strings.HasPrefix(msg, "RIP: 0023:") {
			o.tracing = false
			return true
		}
		return false
	}
	at := f // f itself stays off the heap
	if o.fault == nil {
		o.fault = &at
	}
	switch {
	case o.tracing:
		o.push(at)
	case !strings.HasPrefix(msg, "RIP  ") && !strings.HasPrefix(msg, "EIP: ["):
		o.pending = &at
	}
	return true
}

// lock reads what lockdep says of locks: "... at: FUNCTION", or "at:" and the
// function in the next line.
func (o *report) lock(msg, text string) bool {
	if o.Class != Lockdep || len(o.sites) >= maxAts {
		return false
	}
	if strings.HasSuffix(text, " at:") && strings.Contains(text, "release lock") {
		o.siteDue, o.label = true, text
		return true
	}
	_, at, ok := strings.Cut(msg, " at: ")
	if !ok {
		return false
	}
	at = strings.TrimLeft(at, " ")
	if f, ok := frameLine(at); ok && !f.Inline {
		o.sites = append(o.sites, site{o.label, f})
		return true
	}
	return false
}

// detail reads a line that only some classes have, and tells the other lines a
// report consists of from those that only stand in it.
func (o *report) detail(msg, text string) bool {
	switch {
	case o.Class == Lockdep && strings.HasSuffix(text, "is trying to acquire lock") || strings.HasSuffix(text, " takes"):
		o.label = text
	case o.Class == OOMKill && strings.HasPrefix(msg, "Out of memory: Kill"), strings.HasPrefix(msg, "Memory cgroup out of memory: Kill"):
		o.ended = true
	default:
		return isTrailing(msg) || text != msg && o.tracing
	}
	return true
}

// trailing begins the lines that stand between and after call traces.
var trailing = func() (table [256][]string) {
	for _, p := range []string{
		"RAX:", "RBX:", "RCX:", "RDX:", "RSI:", "RDI:", "RBP:", "RSP:", "R10:", "R13:", "R08:", "R09:", "R11:", "R12:", "R14:", "R15:",
		"EAX:", "EBX:", "ESI:", "EBP:", "ESP:", "EDX:", "ECX:", "EDI:", "EFLAGS:", "RIP: ", "RIP  ", "EIP", "RSP <",
		"FS:", "CS:", "DS:", "CR0:", "CR2:", "DR0:", "DR3:", "PKRU:", "Code: ", "Stack:", "Kernel Offset:", "Rebooting in",
		"Shutting down cpus", "Dumping ftrace", "NMI backtrace", "Sending NMI", "Workqueue:", "task: ", "task:", "note: ",
		"irq event stamp", "hardirqs last", "softirqs last", "Preemption disabled", "ORIG_RAX", "PGD ", "P4D ", "#PF: ", "*pde",
		"Tainted: ", "Last unloaded", "CPU ", "Oops", "x0 ", "x1", "x2", "x3", "x6", "x9", "pstate", "lr : ", "sp : ", "Thread ",
		"Oops#", "---[", "Showing all locks", "no locks held", "INFO: lockdep is turned off", "Disabling lock debugging",
		"other info", "page:", "raw:", "flags:", "head:", "page dumped", "The buggy", "which belongs", "Memory state", " ffff",
		">ffff", "index ", "shift exponent", "value changed", "Reported by", "Kernel panic", "Object ", "Redzone", "Bytes b4",
		"Slab ", "FIX ", "stack backtrace", "locks held", "\"echo 0", "Mem-Info", "(detected by", "(t=", "\t(", "rcu_preempt kthread",
		"rcu_sched kthread", "Task dump", "Mem abort", "Data abort", "Internal error", "kasan: ", "KASAN: ", "CONFIG_KASAN",
		"Fixing recursive", "BUG: ", "lock: ", ".magic", "backtrace:", "hex dump", "unreferenced object", "swapper pgtable", "user pgtable",
	} {
		table[p[0]] = append(table[p[0]], p)
	}
	return table
}()

func isTrailing(msg string) bool {
	if msg == "" {
		return false
	}
	for _, p := range trailing[msg[0]] {
		if strings.HasPrefix(msg, p) {
			return true
		}
	}
	return false
}
