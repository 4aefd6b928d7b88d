package crash

import (
	"strconv"
	"strings"
)

// fact reads a line that says who, when and on what: the task, the release, the
// taint, the hardware, the modules. It is false for other lines.
func (o *report) fact(msg, text string) bool {
	switch {
	case strings.HasPrefix(msg, "CPU: ") || strings.HasPrefix(msg, "Pid: ") || strings.HasPrefix(msg, "Process "):
		o.cpuLine(msg)
	case strings.HasPrefix(msg, "Hardware name: "):
		o.setHardware(msg[len("Hardware name: "):])
	case strings.HasPrefix(msg, "Modules linked in:"):
		o.modules(msg[len("Modules linked in:"):])
	case strings.HasPrefix(msg, "Comm: "):
		o.cpuLine(msg)
	case strings.Contains(msg, "ainted"):
		o.taint(msg)
	case strings.Contains(msg, " by task "):
		_, who, _ := strings.Cut(msg, " by task ")
		o.who(who)
	case strings.Contains(msg, " pid: ") && strings.Contains(msg, ", name: "):
		_, name, _ := strings.Cut(msg, ", name: ")
		_, pid, _ := strings.Cut(msg, " pid: ")
		o.task(name, pid)
	case o.Class == Leak && strings.HasPrefix(text, `comm "`):
		name, pid, _ := strings.Cut(text[len(`comm "`):], `"`)
		o.task(name, strings.TrimPrefix(pid, ", pid "))
	default:
		return false
	}
	return true
}

// cpuLine reads "CPU: 0 PID: 1 Comm: init Tainted: G  OE  6.1.0-56-amd64 #1". It
// has "UID: 0" since 6.11 and began with "Pid:" before 3.10.
func (o *report) cpuLine(msg string) {
	if n, ok := strings.CutPrefix(msg, "CPU: "); ok && o.CPU < 0 {
		if d := span(n, digits); d > 0 {
			o.CPU = number(n[:d])
		}
	}
	_, comm, ok := strings.Cut(msg, "omm: ")
	if ok && o.Comm == "" {
		pid := ""
		for _, key := range []string{"PID: ", "Pid: "} {
			if _, rest, ok := strings.Cut(msg, key); ok {
				pid = rest
			}
		}
		end := len(comm)
		for _, key := range []string{" Not tainted", " Tainted: "} {
			if i := strings.Index(comm, key); i >= 0 {
				end = min(end, i)
			}
		}
		o.task(comm[:end], pid)
	}
	o.taint(msg)
}

// who reads "COMM/PID" and what follows.
func (o *report) who(s string) {
	slash := strings.LastIndexByte(s, '/')
	if slash > 0 {
		o.task(s[:slash], s[slash+1:])
	}
}

// task notes the task, if none was named yet. The PID may have more behind it.
func (o *report) task(name, pid string) {
	if o.Comm != "" || name == "" || len(name) > 40 {
		return
	}
	o.Comm = bound(strings.TrimSpace(name))
	o.PID = number(pid[:span(pid, digits)])
}

// taint reads the taint letters and the kernel release after them, or before
// them as lockdep writes.
func (o *report) taint(msg string) {
	if o.Release != "" {
		return
	}
	if before, rest, ok := strings.Cut(msg, "Not tainted"); ok {
		if !o.release(strings.Fields(rest)) {
			o.release(strings.Fields(before))
		}
		return
	}
	before, rest, ok := strings.Cut(msg, "Tainted: ")
	if !ok {
		return
	}
	words := strings.Fields(rest)
	var letters string
	for len(words) > 0 && isTaint(words[0]) {
		letters += words[0]
		words = words[1:]
	}
	if o.release(words) || o.release(strings.Fields(before)) {
		o.Tainted = bound(letters)
	}
}

// isTaint knows taint letters, "OE", from "[W]=WARN", which 6.11 has on a line
// of its own.
func isTaint(word string) bool {
	for i := range len(word) {
		if word[i] < 'A' || word[i] > 'Z' {
			return false
		}
	}
	return true
}

func (o *report) release(words []string) bool {
	if len(words) == 0 {
		return false
	}
	word := strings.TrimLeft(words[0], "(")
	if !isRelease(word) {
		return false
	}
	o.Release = bound(strings.TrimRight(word, "),"))
	return true
}

// isRelease knows "6.1.0-56-amd64".
func isRelease(s string) bool {
	major, rest, ok := strings.Cut(s, ".")
	return ok && all(major, digits) && span(rest, digits) > 0 && len(s) < 100
}

func (o *report) setHardware(s string) {
	if o.Hardware == "" {
		o.Hardware = bound(strings.TrimSpace(s))
	}
}

// modules reads "Modules linked in: a b(OE) c [last unloaded: d]", and the lines
// it goes on in.
func (o *report) modules(list string) {
	o.listing = true
	list, _, unloaded := strings.Cut(list, "[last unloaded")
	for _, word := range strings.Fields(list) {
		name, _, _ := strings.Cut(word, "(")
		if name != "" && len(o.Modules) < maxModules {
			o.Modules = append(o.Modules, bound(name))
		}
	}
	o.listing = !unloaded
}

// goesOn reads a further line of the modules.
func (o *report) goesOn(msg string) bool {
	if !o.listing || !strings.HasPrefix(msg, " ") {
		o.listing = false
		return false
	}
	for i := range len(msg) {
		if c := msg[i]; !isWord(c) && strings.IndexByte(" -()+[:].", c) < 0 {
			o.listing = false
			return false
		}
	}
	if strings.Contains(msg, "+0x") || len(msg) > 1 && msg[1] == ' ' {
		o.listing = false
		return false
	}
	o.modules(msg)
	return true
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
