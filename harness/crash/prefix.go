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

var (
	months   = set(`Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec`)
	weekdays = set(`Mon Tue Wed Thu Fri Sat Sun`)
)

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
