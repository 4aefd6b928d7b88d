package crash

import "strings"

// maxLine is how much of a line is looked at, bytes. The kernel's own are
// shorter: printk cuts a message to 1024 bytes (PRINTKRB_RECORD_MAX).
const maxLine = 1200

// message is the line without what printk and the console put before it: the
// level ("<4>"), the time ("[   12.345678]") and the caller ("[   T12]", from
// CONFIG_PRINTK_CALLER). The console breaks into a line that user space has
// not ended yet; what stands before the time is dropped then.
func message(line string) string {
	line = strings.TrimRight(line[:min(len(line), maxLine)], "\r\n")
	rest := line
	if n := levelLen(rest); n > 0 {
		rest = rest[n:]
	}
	if msg, ok := cutStamp(rest); ok {
		return msg
	}
	for i := 0; i < len(rest); i++ {
		if rest[i] != '[' {
			continue
		}
		if msg, ok := cutStamp(rest[i:]); ok {
			return msg
		}
	}
	return rest
}

// levelLen is the length of a leading "<4>" or "<30>", 0 if there is none.
func levelLen(s string) int {
	if len(s) == 0 || s[0] != '<' {
		return 0
	}
	n := 1 + span(s[1:], digits)
	if n == 1 || n > 4 || n >= len(s) || s[n] != '>' {
		return 0
	}
	return n + 1
}

// cutStamp takes "[   12.345678] " and a "[   T12] " after it off.
func cutStamp(s string) (rest string, ok bool) {
	inner, rest, ok := cutBrackets(s)
	if !ok {
		return s, false
	}
	sec, usec, ok := strings.Cut(inner, ".")
	if !ok || !all(sec, digits) || !all(usec, digits) {
		return s, false
	}
	if inner, after, ok := cutBrackets(rest); ok && inner[0] >= 'A' && inner[0] <= 'Z' && all(inner[1:], digits) {
		rest = after
	}
	return strings.TrimPrefix(rest, " "), true
}

// cutBrackets splits "[   inner]rest"; inner is not empty and shorter than a
// stamp can be.
func cutBrackets(s string) (inner, rest string, ok bool) {
	if len(s) == 0 || s[0] != '[' {
		return "", s, false
	}
	end := strings.IndexByte(s[:min(len(s), 24)], ']')
	if end < 0 {
		return "", s, false
	}
	inner = strings.TrimLeft(s[1:end], " ")
	return inner, s[end+1:], inner != ""
}

const digits = "0123456789"

func span(s, set string) int { return len(s) - len(strings.TrimLeft(s, set)) }

func all(s, set string) bool { return s != "" && span(s, set) == len(s) }
