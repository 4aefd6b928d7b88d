package crash

import "strings"

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

// isClock knows "07:15:41", without or with what follows.
func isClock(s string) bool {
	return len(s) >= 8 && s[2] == ':' && s[5] == ':' && all(s[:2], digits) && all(s[3:5], digits) && all(s[6:8], digits)
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
