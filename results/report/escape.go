package report

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape makes text from a guest fit for a terminal: control bytes, invalid
// UTF-8 and characters that change how others are shown (bidirectional and
// other format controls, line separators) become \x1b or \u202e. A tab stays.
func Escape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1, r < utf8.RuneSelf && r != '\t' && unicode.IsControl(r):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r != '\t' && !unicode.IsPrint(r):
			escapeRune(&b, r)
		default:
			b.WriteString(s[i : i+size])
		}
		i += size
	}
	return b.String()
}

func escapeRune(b *strings.Builder, r rune) {
	if r > 0xffff {
		fmt.Fprintf(b, `\U%08x`, r)
		return
	}
	fmt.Fprintf(b, `\u%04x`, r)
}

// lines splits text at newlines, and takes the carriage return of a serial
// console off each line.
func lines(s string) []string {
	s = strings.TrimRight(s, "\r\n")
	if s == "" {
		return nil
	}
	all := strings.Split(s, "\n")
	for i, line := range all {
		all[i] = strings.TrimRight(line, "\r")
	}
	return all
}
