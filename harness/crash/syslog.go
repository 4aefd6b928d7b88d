package crash

import "strings"

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
