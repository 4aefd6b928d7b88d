package crash

import "strings"

// headline reads the line a report begins with.
func (o *report) headline(msg string, opening *opening) {
	if o.opening == nil || o.Title == "" {
		o.opening = opening
	}
	o.Class = opening.class
	msg = strings.TrimSpace(withoutLeads(msg))
	o.died(msg)
	if f, ok := symbolIn(msg); ok {
		o.headed = f
	}
	switch o.Class {
	case Warning:
		msg = o.warned(msg)
	case Bug:
		o.Where = located(strings.TrimRight(msg[strings.LastIndexByte(msg, ' ')+1:], "!"))
	case UBSAN:
		if i := strings.LastIndex(msg, " in "); i > 0 {
			o.Where = located(msg[i+len(" in "):])
		}
	case HungTask:
		o.hung(msg)
	case SoftLockup, HardLockup:
		o.stuck(msg)
	case KCSAN:
		o.race(msg)
	case AtomicSleep, Other:
		o.atomic(msg)
	case BadPage:
		if _, rest, ok := strings.Cut(msg, " in process "); ok {
			name, _, _ := strings.Cut(rest, "  p")
			o.task(name, "")
		}
	case OOMKill:
		name, _, _ := strings.Cut(msg, " invoked oom-killer")
		o.task(name, "")
		msg = name + " invoked oom-killer"
	}
	if strings.HasPrefix(msg, panicLine) {
		o.Fatal = true
		o.Panic = bound(strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(msg, panicLine), ":")))
	}
	if inner, ok := strings.CutPrefix(msg, "[ "); ok {
		msg = strings.TrimRight(inner, " ]")
	}
	o.Title = bound(withoutCode(msg))
}

// withoutCode takes the error code and the number off the line of die(), and
// what newer kernels put before it.
func withoutCode(msg string) string {
	code := trapCode(msg)
	if code < 0 {
		return msg
	}
	if short := withoutOops(msg); trapCode(short) > 0 {
		msg, code = short, trapCode(short)
	}
	return strings.TrimSuffix(msg[:code], ": ")
}

// died notes that die() has spoken, and the number of the oops.
func (o *report) died(msg string) {
	if !dies(msg) && !strings.HasPrefix(msg, "Internal error: ") {
		return
	}
	o.faulted = true
	if _, n, ok := strings.Cut(msg, " [#"); ok {
		o.Count = number(n[:span(n, digits)])
	}
}

// refine reads a line that by itself would begin a report but goes on with this
// one.
func (o *report) refine(msg string, next *opening) {
	msg = strings.TrimSpace(withoutLeads(msg))
	o.died(msg)
	switch next.class {
	case ListCorruption, Refcount:
		if o.Class == Warning || o.Class == Bug {
			o.Class = next.class
			o.Title = bound(o.Title + ": " + msg)
		}
	case Warning:
		if f, ok := symbolIn(msg); ok && o.headed.Func == "" {
			o.headed = f
		}
		o.warned(msg)
	case KASAN, KMSAN, KFENCE, KCSAN:
		o.Title = bound(msg)
		if f, ok := symbolIn(msg); ok {
			o.headed = f
		}
	case Bug:
		if o.Where == "" {
			o.Where = located(strings.TrimRight(msg[strings.LastIndexByte(msg, ' ')+1:], "!"))
		}
	}
}

// warned reads "WARNING: CPU: 0 PID: 1 at FILE:LINE FUNCTION" and its kin, and
// returns a title without what changes from boot to boot.
func (o *report) warned(msg string) string {
	if rest, ok := strings.CutPrefix(msg, "WARNING: CPU: "); ok {
		o.CPU = number(rest[:span(rest, digits)])
		if _, pid, ok := strings.Cut(rest, " PID: "); ok {
			o.PID = number(pid[:span(pid, digits)])
		}
	}
	if _, rest, ok := strings.Cut(msg, " CPU#"); ok {
		n := span(rest, digits)
		o.CPU = number(rest[:n])
		o.who(strings.TrimPrefix(rest[n:], ": "))
	}
	for _, word := range strings.Fields(msg) {
		if where := located(word); where != "" {
			o.Where = where
			return "WARNING at " + where
		}
	}
	if o.headed.Func != "" {
		return "WARNING at " + o.headed.Func
	}
	return msg
}

// located knows "fs/namei.c:123".
func located(s string) string {
	path, line, ok := strings.Cut(s, ":")
	line = line[:span(line, digits)]
	if !ok || line == "" || strings.IndexByte(path, '.') < 0 {
		return ""
	}
	return bound(strings.TrimPrefix(path, "./") + ":" + line)
}

// hung reads "INFO: task COMM:PID blocked for more than 120 seconds."; the name
// may hold colons.
func (o *report) hung(msg string) {
	rest := strings.TrimPrefix(msg, "INFO: task ")
	for _, end := range []string{" blocked ", " can't die "} {
		if i := strings.Index(rest, end); i > 0 {
			rest = rest[:i]
		}
	}
	if i := strings.LastIndexByte(rest, ':'); i > 0 && len(rest) < 40 {
		o.task(rest[:i], rest[i+1:])
	}
}

// stuck reads "BUG: soft lockup - CPU#0 stuck for 22s! [COMM:PID]" and
// "Watchdog detected hard LOCKUP on cpu 0".
func (o *report) stuck(msg string) {
	for _, key := range []string{"CPU#", " on cpu "} {
		if _, n, ok := strings.Cut(msg, key); ok {
			o.CPU = number(n[:span(n, digits)])
		}
	}
	if _, task, ok := strings.Cut(msg, "! ["); ok {
		task = strings.TrimRight(task, "]")
		if i := strings.LastIndexByte(task, ':'); i > 0 {
			o.task(task[:i], task[i+1:])
		}
	}
}

// race reads the first of the two functions of "BUG: KCSAN: data-race in A / B".
func (o *report) race(msg string) {
	if _, in, ok := strings.Cut(msg, " in "); ok {
		if n := nameLen(in); n > 0 {
			o.headed = Frame{Func: in[:n], Reliable: true}
		}
	}
}

// atomic reads "BUG: scheduling while atomic: COMM/PID/0x00000002", "... at
// FILE:LINE", "... code: COMM/PID" and "... on CPU#0, COMM/PID".
func (o *report) atomic(msg string) {
	if _, rest, ok := strings.Cut(msg, " at "); ok {
		o.Where = located(rest)
	}
	for _, key := range []string{"while atomic: ", "] code: ", "section: "} {
		if _, rest, ok := strings.Cut(msg, key); ok {
			if i := strings.LastIndex(rest, "/0x"); i > 0 {
				rest = rest[:i]
			}
			o.who(rest)
		}
	}
	if _, rest, ok := strings.Cut(msg, " on CPU#"); ok {
		o.CPU = number(rest[:span(rest, digits)])
		if _, rest, ok := strings.Cut(rest, ", "); ok {
			o.who(rest)
		}
	}
}
