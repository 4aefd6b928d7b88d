package crash

import (
	"regexp"
	"strconv"
	"strings"
)

// symbol is a code address as the kernel prints it, %pS: "ovl_rename+0x1c/0x900
// [overlay]". The module may carry taint letters or a build ID.
const symbol = `([A-Za-z_][\w.$]*)\+0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16})(?: \[([\w-]+)[^\]]*\])?`

var (
	// Before 4.9 every frame and RIP had its address: "[<ffffffff81234567>] ".
	frameLine   = regexp.MustCompile(`^\s*(?:\[<[0-9a-f]+>\] )?(\? )?` + symbol)
	faultLine   = regexp.MustCompile(`^R?IP: (?:0010:)?(?:\[<[0-9a-f]+>\]\s+)*` + symbol)
	symbolIn    = regexp.MustCompile(symbol)
	warningLine = regexp.MustCompile(`^WARNING: CPU: [0-9]+ PID: ([0-9]+) at (\S+)`)
	dieTail     = regexp.MustCompile(`: [0-9a-f]{4} \[#[0-9]+\].*$`)
	hungLine    = regexp.MustCompile(`^INFO: task (.{1,16}):([0-9]+) blocked`)
	stuckLine   = regexp.MustCompile(`\[(.{1,16}):([0-9]+)\]$`)
	taskLine    = regexp.MustCompile(`(?:PID|Pid): ([0-9]+),? [Cc]omm: (.{1,16}?) (?:Not tainted|Tainted: )`)
)

// headline reads the line a report begins with.
func (o *report) headline(msg string, class Class) {
	o.Class = class
	msg = strings.TrimSpace(withoutLeads(msg))
	if dies(msg) {
		o.faulted = true
		msg = withoutOops(msg)
	}
	switch class {
	case Warning:
		o.at(msg)
		if m := warningLine.FindStringSubmatch(msg); m != nil {
			o.PID = number(m[1])
			msg = "WARNING at " + m[2]
		}
	case HungTask:
		o.names(hungLine.FindStringSubmatch(msg))
	case SoftLockup:
		o.names(stuckLine.FindStringSubmatch(msg))
	case KASAN, KFENCE, KMSAN, KCSAN:
		o.at(msg)
	case Panic, OOMPanic:
		o.Fatal = true
		o.Panic = bound(strings.TrimPrefix(strings.TrimPrefix(msg, panicLine), ": "))
	}
	if inner, ok := strings.CutPrefix(msg, "[ "); ok {
		msg = strings.TrimRight(inner, " ]")
	}
	o.Title = bound(dieTail.ReplaceAllString(msg, ""))
}

// happened records where, by the name in the source: the compiler puts parts
// and variants of a function under names of their own, "f.cold", "f.isra.0".
func (o *report) happened(name, module string) {
	o.Func, _, _ = strings.Cut(name, ".")
	o.Module = module
	o.located = true
}

// at takes the first symbol of the line as the place where it happened.
func (o *report) at(msg string) {
	if m := symbolIn.FindStringSubmatch(msg); m != nil {
		o.happened(m[1], m[4])
	}
}

// locate reads the instruction pointer, unless it was user space's.
func (o *report) locate(msg string) {
	if m := faultLine.FindStringSubmatch(msg); m != nil && !o.located && (m[4] != "" || !plumbing(m[1])) {
		o.happened(m[1], m[4])
	}
}

func (o *report) names(m []string) {
	if m != nil {
		o.Comm, o.PID = bound(m[1]), number(m[2])
	}
}

// task reads "CPU: 0 PID: 1 Comm: init Tainted: G  OE  6.1.0-56-amd64 #1".
func (o *report) task(msg string) {
	if o.Release != "" {
		return
	}
	if m := taskLine.FindStringSubmatch(msg); m != nil && o.Comm == "" {
		o.PID, o.Comm = number(m[1]), bound(m[2])
	}
	o.taint(msg)
}

// taint reads the taint letters and the kernel release after them.
func (o *report) taint(msg string) {
	if o.Release != "" {
		return
	}
	if _, rest, ok := strings.Cut(msg, "Not tainted "); ok {
		o.release(strings.Fields(rest))
		return
	}
	_, rest, ok := strings.Cut(msg, "Tainted: ")
	if !ok {
		return
	}
	words := strings.Fields(rest)
	var letters string
	for len(words) > 0 && words[0][0] >= 'A' && words[0][0] <= 'Z' {
		letters += words[0]
		words = words[1:]
	}
	if o.release(words) {
		o.Tainted = bound(letters)
	}
}

func (o *report) release(words []string) bool {
	if len(words) == 0 || words[0][0] < '0' || words[0][0] > '9' {
		return false
	}
	o.Release = bound(words[0])
	return true
}

// frame reads a line of the first call trace.
func (o *report) frame(msg string) {
	if o.traces != 1 || len(o.Frames) >= maxFrames {
		return
	}
	m := frameLine.FindStringSubmatch(msg)
	if m == nil {
		return
	}
	f := Frame{Func: m[2], Module: m[5], Stack: o.stack, Reliable: m[1] == ""}
	var errOff, errSize error
	f.Off, errOff = strconv.ParseUint(m[3], 16, 64)
	f.Size, errSize = strconv.ParseUint(m[4], 16, 64)
	if errOff == nil && errSize == nil {
		o.Frames = append(o.Frames, f)
	}
}
