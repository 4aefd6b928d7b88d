package crash

import "strings"

// Bounds on what Scan makes of a log, whatever the log says.
const (
	MaxRaw     = 64 << 10 // bytes of Record.Raw
	MaxRecords = 128      // records; a graver one takes the place of the last
	maxFrames  = 128      // of one trace
	maxTraces  = 24       // of one report
	maxModules = 512
	maxTitle   = 300 // bytes of a text
	maxAts     = 32  // lock sites of one report
)

// A trace is one call trace of a report.
type trace struct {
	label  string // the line before it, "Freed by task 12:"
	frames []Frame
}

// A site is where a lock was taken: lockdep's "at: FUNCTION".
type site struct {
	label string // what was said of the lock, "trying to acquire lock:"
	frame Frame
}

// A report is a Record being read from the log line by line.
type report struct {
	Record
	opening *opening
	caller  string // of the lines that belong to it; empty if not printed
	raw     strings.Builder
	noise   []string // lines since, which belong to it if more comes
	noiseTo int64

	note    string  // what WARN() was given to say, between "cut here" and "WARNING:"
	traces  []trace // all of them; the last goes on if tracing
	tracing bool
	stack   string // of the frames that come next
	label   string // the last line that ended in a colon
	fault   *Frame // where the CPU was
	pending *Frame // where the CPU was, as a trace that comes will not say
	headed  Frame  // the symbol in the first line
	sites   []site
	siteDue bool // the next line is "[<address>] FUNCTION"

	faulted bool // die() has spoken
	ended   bool // "end trace" was read; nothing but a panic can follow
	listing bool // the modules go on in the next line
	dropped bool // printk lost lines in the midst of it
	mixed   bool // another report broke into it
	quiet   int  // lines since anything was recognised
	age     int  // lines in all
}

// init makes o a report that begins with the line.
func (o *report) init(opening *opening, l *Line) {
	*o = report{opening: opening, caller: l.Caller}
	o.CPU, o.Start, o.Stamp = -1, l.Start, l.Stamp
}

// die records that the kernel stopped because of this report.
func (o *report) die(reason string) {
	o.Fatal, o.ended = true, false
	o.Panic = bound(strings.TrimSpace(reason))
	o.tracing, o.pending = false, nil
	o.quiet = 0
	if o.Class == OOMKill {
		o.Class, o.Title = OOMPanic, bound(panicLine+": "+o.Panic)
	}
}

// foretold reports whether the next "cut here" is of the BUG() or WARN() this
// report has given the reason of: lib/list_debug.c prints first and stops then.
func (o *report) foretold() bool {
	return (o.Class == ListCorruption || o.Class == Refcount || o.usercopy()) && len(o.traces) == 0
}

func (o *report) usercopy() bool { return strings.HasPrefix(o.note, "usercopy: ") }

// absorbs reports whether a line that could begin a report goes on with this
// one: the trap after the BUG or page fault that raised it, the report proper
// after its "cut here".
func (o *report) absorbs(next *opening, msg string) bool {
	started := len(o.traces) > 0
	switch class := next.class; {
	case o.ended:
		return false
	case o.Title == "":
		return true
	case o.sanitised() && class == o.Class:
		// A symboliser repeats the line for each function compiled into it.
		return !started && o.quiet == 0 && o.headed.Func == "" && (strings.Contains(o.Title, ".c:") || strings.Contains(o.Title, ".h:"))
	case o.Class == Lockdep && class == Lockdep && !started:
		return o.quiet < 4 && strings.HasPrefix(msg, "WARNING: possible reason")
	case class == Bug || class == Warning && !next.proof:
		return (o.Class == ListCorruption || o.Class == Refcount) && !o.faulted && !started
	case class == ListCorruption || class == Refcount:
		return (o.Class == Warning || o.Class == Bug) && !started
	case dies(msg) || strings.HasPrefix(msg, "Internal error: "):
		return damaging[o.Class] && !o.faulted && !(o.Class == KASAN && started)
	case class == DoubleFault || class == StackOverflow && o.Class == DoubleFault:
		return o.Class == StackOverflow || o.Class == DoubleFault
	case next.proof && (class == Warning || class == Lockdep || class == Other):
		return o.tracing
	}
	return false
}

// patience is how many lines may follow that say nothing to it, before and after
// its first call trace, until a report is over. Lockdep and the stall detectors
// show much before.
const (
	patience        = 60
	lockdepPatience = 600
	afterTrace      = 12
	proofPatience   = 40 // for what only a call trace makes a report
)

func (o *report) over() bool {
	switch {
	case len(o.traces) > 0 || o.ended:
		return o.quiet > afterTrace
	case o.opening != nil && o.opening.proof && o.age > proofPatience:
		return true
	case o.Class == Lockdep || o.Class == RCUStall || o.Class == KASAN:
		return o.quiet > lockdepPatience
	}
	return o.quiet > patience
}

// add takes one more line; false if the report is over.
func (o *report) add(l *Line, opening *opening) bool {
	msg := l.Text
	known := true
	o.age++
	switch {
	case o.quiet > 0 && o.anew(msg):
		return false
	case opening != nil && o.Title == "":
		o.headline(msg, opening)
	case opening != nil && !o.ended:
		o.refine(msg, opening)
	default:
		known = o.body(msg)
	}
	if known {
		o.quiet = 0
		o.keep(l)
		return o.opening == nil || !o.opening.proof || !o.over()
	}
	o.quiet++
	if len(o.noise) < 2*patience {
		o.noise = append(o.noise, l.raw)
		o.noiseTo = l.End
	}
	return !o.over()
}

// anew reports whether another dump of a task begins, which a report does not
// hold unless it asks all CPUs for one.
func (o *report) anew(msg string) bool {
	switch o.Class {
	case RCUStall, SoftLockup, HardLockup:
		return false
	}
	return len(o.traces) > 0 && !o.tracing && !o.Fatal && strings.HasPrefix(msg, "CPU: ")
}

// keep puts the line, and those before that seemed to say nothing, with the raw
// text.
func (o *report) keep(l *Line) {
	for _, line := range o.noise {
		o.write(line)
	}
	o.noise = o.noise[:0]
	o.write(l.raw)
	o.End = max(o.End, l.End)
}

func (o *report) write(line string) {
	line = strings.TrimRight(line, "\r")
	if o.raw.Len()+len(line) < MaxRaw {
		o.raw.WriteString(line)
		o.raw.WriteByte('\n')
	}
}

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

// finish makes the Record; false if a "cut here" had nothing after it, or what
// seemed a report turned out to be none.
func (o *report) finish() (Record, bool) {
	if o.Title == "" {
		return Record{}, false
	}
	if o.opening.proof && len(o.traces) == 0 && o.fault == nil && !o.Fatal {
		return Record{}, false
	}
	if o.note != "" && !strings.Contains(o.Title, o.note) {
		o.Title = bound(o.Title + ": " + o.note)
	}
	if stopped[o.Class] {
		o.Fatal = true
	}
	if o.pending != nil && len(o.traces) == 0 {
		o.stack = ""
		o.begin()
	}
	o.Frames = []Frame{}
	if c := placeClasses[sourceFile(o.Where)]; c != "" && (o.Class == Warning || o.Class == Bug) {
		o.Class = c
	}
	o.blame()
	for i := range o.sites {
		o.Locks = append(o.Locks, o.sites[i].frame)
	}
	o.corruption()
	o.Severity = o.severity()
	o.Taints = taints[o.Class]
	o.Raw = strings.ToValidUTF8(o.raw.String(), "\uFFFD")
	sign(&o.Record, o.traces)
	return o.Record, true
}

// placeClasses tell a class by the file that warned, if the words before are
// lost.
var placeClasses = map[string]Class{"lib/refcount.c": Refcount, "lib/list_debug.c": ListCorruption}

func sourceFile(place string) string {
	file, _, _ := strings.Cut(place, ":")
	return file
}

// traceless are the classes whose reports need no call trace.
var traceless = map[Class]bool{Reboot: true, Silence: true, MachineCheck: true, OOMKill: true, KCSAN: true}

// corruption says what is wrong with the text of the report.
func (o *report) corruption() {
	switch {
	case o.dropped:
		o.Reason = "the kernel dropped messages in the midst of it"
	case o.mixed && len(o.Frames) == 0:
		o.Reason = "another report broke into it"
	case len(o.Frames) == 0 && o.fault == nil && !traceless[o.Class] && o.Class != Other && o.Class != BadPage:
		o.Reason = "it has no call trace"
	case len(o.Frames) > 0 && !hasReliable(o.Frames):
		o.Reason = "no frame of its call trace is reliable"
	}
	o.Corrupted = o.Reason != ""
}

func hasReliable(frames []Frame) bool {
	for _, f := range frames {
		if f.Reliable {
			return true
		}
	}
	return false
}
