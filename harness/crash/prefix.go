package crash

import "strings"

const digits = "0123456789"

// clean takes off what is no part of the text: line ends, colours and other
// escapes of a terminal, NUL bytes, and the marks of a quoted mail or report.
func clean(line string) (text string, quoted bool) {
	for line != "" && (line[len(line)-1] == '\r' || line[len(line)-1] == '\n') {
		line = line[:len(line)-1]
	}
	if strings.IndexByte(line, 0x1b) >= 0 {
		line = withoutEscapes(line)
	}
	if strings.IndexByte(line, 0) >= 0 {
		line = strings.ReplaceAll(line, "\x00", "")
	}
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = strings.ReplaceAll(line, "\r", "")
	}
	for {
		rest := strings.TrimLeft(line, " ")
		if rest == "" || rest[0] != '>' && rest[0] != '|' {
			return line, quoted
		}
		line, quoted = strings.TrimPrefix(rest[1:], " "), true
	}
}

// withoutEscapes takes out the terminal's control sequences (ECMA-48): ESC [,
// parameters, one letter; or ESC and one character.
func withoutEscapes(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 0x1b {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i < len(s) && s[i] == '[' {
			for i++; i < len(s) && (s[i] < 0x40 || s[i] > 0x7e); i++ {
			}
		}
	}
	return b.String()
}

// A peeler takes the prefixes of one line off, outermost first, and notes what
// they say.
type peeler struct {
	line   *Line
	peeled bool // there was one
}

// maxPrefixes is how many prefixes a line may have: the date, host and name of a
// journal, the level, the facility, the time, the caller.
const maxPrefixes = 8

func (p *peeler) peel(s string) string {
	for range maxPrefixes {
		rest, ok := p.one(s)
		if !ok {
			break
		}
		s, p.peeled = rest, true
	}
	return s
}

// one takes the outermost prefix off.
func (p *peeler) one(s string) (rest string, ok bool) {
	if s == "" {
		return s, false
	}
	switch c := s[0]; {
	case c == '[':
		return p.brackets(s)
	case c == '<':
		return p.level(s)
	case c == ' ' || c == '\t':
		return p.indented(s)
	case c >= '0' && c <= '9':
		return p.number(s)
	case c >= 'A' && c <= 'Z':
		return p.date(s)
	case c == 'k' || c == 'u' || c == 'd' || c == 's' || c == 'a' || c == 'l':
		return p.facility(s)
	}
	return s, false
}

// indented takes blanks off that stand before another prefix. Those before a
// message are its own.
func (p *peeler) indented(s string) (string, bool) {
	rest := strings.TrimLeft(s, " \t")
	if rest == "" || rest[0] != '[' && rest[0] != '<' || p.peeled && !p.line.Dated {
		return s, false
	}
	if after, ok := p.one(rest); ok {
		return after, true
	}
	return s, false
}

// level takes "<4>" or "<30>" off: the facility and the level (syslog(2)).
func (p *peeler) level(s string) (string, bool) {
	n := 1 + span(s[1:], digits)
	if n == 1 || n > 4 || n >= len(s) || s[n] != '>' {
		return s, false
	}
	if n > 2 || s[1] > '7' {
		p.line.User = true
	}
	return s[n+1:], true
}

// brackets takes a time or the caller in brackets off.
func (p *peeler) brackets(s string) (string, bool) {
	end := strings.IndexByte(s[:min(len(s), 48)], ']')
	if end < 2 {
		return s, false
	}
	inner, rest := strings.TrimLeft(s[1:end], " "), s[end+1:]
	stamp, delta := inner, false
	if i := strings.IndexByte(inner, '<'); i > 0 {
		stamp, delta = strings.TrimRight(inner[:i], " "), true
	}
	switch {
	case stamp == "":
		return s, false
	case isSeconds(stamp):
		p.line.Stamp = stamp
		return p.afterStamp(strings.TrimPrefix(rest, " ")), true
	case isCaller(stamp) && !delta:
		if !p.peeled {
			return s, false
		}
		p.line.Caller = stamp
		return strings.TrimPrefix(rest, " "), true
	case isDate(stamp):
		p.line.Dated = true
		return strings.TrimPrefix(rest, " "), true
	}
	return s, false
}

// afterStamp takes off the host that journalctl -o short-monotonic puts between
// the time and the message.
func (p *peeler) afterStamp(s string) string {
	if len(s) > 4 && s[0] == 'c' && s[1] >= '0' && s[1] <= '9' {
		return withoutCPU(s)
	}
	if i := strings.Index(s[:min(len(s), 80)], " kernel: "); i > 0 && strings.IndexByte(s[:i], ' ') < 0 {
		return s[i+len(" kernel: "):]
	}
	return s
}

// withoutCPU takes "c0   1234 " off, the CPU and the task that some Android
// kernels print.
func withoutCPU(s string) string {
	n := 1 + span(s[1:], digits)
	rest := strings.TrimLeft(s[n:], " ")
	d := span(rest, digits)
	if len(rest) == len(s)-n || d == 0 || d >= len(rest) || rest[d] != ' ' {
		return s
	}
	return rest[d+1:]
}

// isSeconds knows "12.345678", a time since boot.
func isSeconds(s string) bool {
	n := span(s, digits)
	return n > 0 && n < len(s)-1 && s[n] == '.' && span(s[n+1:], digits) == len(s)-n-1
}

// isCaller knows "T12", "C1" and "T12@C1".
func isCaller(s string) bool {
	if len(s) < 2 || s[0] != 'T' && s[0] != 'C' {
		return false
	}
	n := 1 + span(s[1:], digits)
	return n > 1 && (n == len(s) || s[n] == '@')
}

// isDate knows what dmesg -T, -H and --time-format=iso and programs that log a
// terminal put in brackets: "Sat Nov 28 07:15:41 2026", "Nov28 07:15",
// "+0.000012", "2026-11-28 07:15:41".
func isDate(s string) bool {
	switch {
	case s[0] == '+':
		return isSeconds(s[1:])
	case len(s) > 8 && s[4] == ' ' && s[3] >= '0' && s[3] <= '9', len(s) > 8 && s[3] == ' ', len(s) > 8 && span(s[3:], digits) == 2:
		return (months[s[:3]] || weekdays[s[:3]]) && strings.IndexByte(s, ':') > 0
	}
	return isoDate(s) > 0
}

var (
	months   = set(`Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec`)
	weekdays = set(`Mon Tue Wed Thu Fri Sat Sun`)
)

// isoDate is the length of a leading "2026-11-28T07:15:41.123456+00:00", with a
// blank or a T, with or without what follows the seconds; 0 if there is none.
func isoDate(s string) int {
	const shape = "0000-00-00T00:00:00"
	if len(s) < len(shape) {
		return 0
	}
	for i := range len(shape) {
		c := s[i]
		switch shape[i] {
		case '0':
			if c < '0' || c > '9' {
				return 0
			}
		case 'T':
			if c != 'T' && c != ' ' {
				return 0
			}
		default:
			if c != shape[i] {
				return 0
			}
		}
	}
	n := len(shape)
	if n < len(s) && (s[n] == '.' || s[n] == ',') {
		n += 1 + span(s[n+1:], digits)
	}
	if n < len(s) && (s[n] == '+' || s[n] == '-' || s[n] == 'Z') {
		n += 1 + span(s[n+1:], digits+":")
	}
	return n
}

// number takes off what begins with a digit: an ISO date, seconds since 1970,
// or the fields of /dev/kmsg, "4,12,345678,-;".
func (p *peeler) number(s string) (string, bool) {
	if n := isoDate(s); n > 0 {
		p.line.Dated = true
		rest := strings.TrimLeft(s[n:], " ")
		// dmesg writes the fraction after a comma, and no host.
		if len(s) > 19 && s[19] == ',' {
			return rest, true
		}
		return p.host(rest), true
	}
	n := span(s, digits)
	if n < len(s) && s[n] == ',' && n <= 4 {
		return p.kmsg(s)
	}
	if n == 10 && n < len(s) && s[n] == '.' {
		n += 1 + span(s[n+1:], digits)
		if n < len(s) && s[n] == ' ' {
			p.line.Dated = true
			return p.host(s[n+1:]), true
		}
	}
	return s, false
}

// kmsg takes the fields of a /dev/kmsg record off: priority, number,
// microseconds, flags (Documentation/ABI/testing/dev-kmsg).
func (p *peeler) kmsg(s string) (string, bool) {
	end := strings.IndexByte(s[:min(len(s), 80)], ';')
	if end < 0 {
		return s, false
	}
	fields := strings.Split(s[:end], ",")
	if len(fields) < 4 || !all(fields[1], digits) || !all(fields[2], digits) {
		return s, false
	}
	if len(fields[0]) > 1 || fields[0] > "7" {
		p.line.User = true
	}
	for _, f := range fields[4:] {
		if id, ok := strings.CutPrefix(f, "caller="); ok {
			p.line.Caller = id
		}
	}
	usec := fields[2]
	for len(usec) < 7 {
		usec = "0" + usec
	}
	p.line.Stamp = usec[:len(usec)-6] + "." + usec[len(usec)-6:]
	return s[end+1:], true
}

// date takes off the date of classic syslog, "Nov 28 07:15:41", of journalctl -o
// short-full, "Sat 2026-11-28 07:15:41 UTC", and the host and name after it.
func (p *peeler) date(s string) (string, bool) {
	if len(s) < 16 || s[3] != ' ' {
		return s, false
	}
	if weekdays[s[:3]] {
		n := isoDate(s[4:])
		if n == 0 {
			return s, false
		}
		rest := strings.TrimPrefix(s[4+n:], " ")
		if zone, after, ok := strings.Cut(rest, " "); ok && len(zone) <= 5 && strings.ToUpper(zone) == zone {
			rest = after
		}
		p.line.Dated = true
		return p.host(rest), true
	}
	if !months[s[:3]] || !isClock(s[7:]) {
		return s, false
	}
	n := 7 + len("07:15:41")
	if n < len(s) && s[n] == '.' {
		n += 1 + span(s[n+1:], digits)
	}
	p.line.Dated = true
	return p.host(strings.TrimLeft(s[n:], " ")), true
}

// isClock knows "07:15:41", without or with what follows.
func isClock(s string) bool {
	return len(s) >= 8 && s[2] == ':' && s[5] == ':' && all(s[:2], digits) && all(s[3:5], digits) && all(s[6:8], digits)
}

// kernelNames are the names under which system logs keep the kernel's words.
var kernelNames = set(`kernel klogd vmunix`)

// host takes "host kernel: " off, and "host kern.warn kernel: " as BusyBox
// writes it. Another name than the kernel's is user space's, unless the text
// after it has the kernel's own stamp, as that of a logged console does.
func (p *peeler) host(s string) string {
	first, rest, ok := strings.Cut(s, " ")
	if !ok || first == "" || first[0] == '[' || first[0] == '<' {
		return s
	}
	if name, ok := program(first); ok {
		if kernelNames[name] || strings.HasSuffix(first, "]:") {
			return p.said(name, rest)
		}
		return s
	}
	rest = strings.TrimLeft(rest, " ")
	second, rest, ok := strings.Cut(rest, " ")
	if strings.IndexByte(second, '.') > 0 && !strings.HasSuffix(second, ":") {
		second, rest, ok = strings.Cut(rest, " ")
	}
	if name, is := program(second); is && (ok || second != "") {
		return p.said(name, rest)
	}
	return s
}

// said is what the program wrote.
func (p *peeler) said(name, text string) string {
	text = strings.TrimPrefix(text, " ")
	if !kernelNames[name] && nextStamp(text) != 0 {
		p.line.User = true
	}
	return text
}

// program knows "kernel:" and "sshd[12]:".
func program(word string) (name string, ok bool) {
	name, ok = strings.CutSuffix(word, ":")
	if !ok || name == "" {
		return "", false
	}
	name, _, _ = strings.Cut(name, "[")
	return name, true
}

// facilities are the words of dmesg -x (syslog(3)).
var facilities = set(`kern user mail daemon auth syslog lpr news uucp cron authpriv ftp local0`)

// facility takes "kern  :warn  : " off, which dmesg -x writes.
func (p *peeler) facility(s string) (string, bool) {
	if len(s) < 16 || s[6] != ':' {
		return s, false
	}
	word := strings.TrimRight(s[:6], " ")
	end := strings.IndexByte(s[7:min(len(s), 18)], ':')
	if !facilities[word] || end < 0 {
		return s, false
	}
	p.line.User = p.line.User || word != "kern"
	return strings.TrimPrefix(s[7+end+1:], " "), true
}

// nextStamp is where in s a stamp begins, -1 if nowhere. It has six digits after
// the point, so that little else looks like one.
func nextStamp(s string) int {
	for from := 0; ; {
		i := strings.IndexByte(s[from:], '[')
		if i < 0 {
			return -1
		}
		from += i + 1
		rest := strings.TrimLeft(s[from:min(len(s), from+24)], " ")
		n := span(rest, digits)
		if n > 0 && len(rest) > n+7 && rest[n] == '.' && rest[n+7] == ']' && all(rest[n+1:n+7], digits) {
			return from - 1
		}
	}
}

// message is the text of one line alone, from any form a line by itself tells.
func message(line string) string {
	line, _ = clean(line[:min(len(line), maxLine)])
	var l Line
	p := peeler{line: &l}
	text := p.peel(line)
	for {
		at := nextStamp(text)
		if at < 0 {
			return text
		}
		text = p.peel(text[at:])
	}
}

func span(s, set string) int {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return i
		}
	}
	return len(s)
}

func all(s, set string) bool { return s != "" && span(s, set) == len(s) }

// set holds the words of the lines.
func set(lines ...string) map[string]bool {
	words := make(map[string]bool)
	for _, line := range lines {
		for _, word := range strings.Fields(line) {
			words[word] = true
		}
	}
	return words
}
