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
		return damaging[o.Class] && !o.faulted && (o.Class != KASAN || !started)
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
