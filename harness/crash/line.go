package crash

import "strings"

// maxLine is how much of a line is looked at, bytes. The kernel's own are
// shorter: printk cuts a message to 1024 bytes (PRINTKRB_RECORD_MAX). Journals
// in JSON put some 1.5 KB around each.
const maxLine = 4096

// A Line is one message of the kernel, without what was put before it on its
// way: quotes, colours, dates, host names, levels, time stamps.
type Line struct {
	Text       string // the message
	Start, End int64  // the bytes of the raw log it was read from, End excluded
	Stamp      string // seconds since boot as printed, "12.345678"; empty if not printed
	Caller     string // "T12" or "C1", printed with CONFIG_PRINTK_CALLER; else empty
	Dated      bool   // a date of any form stood before it
	User       bool   // said by user space: another program's name, another facility

	raw string // as it stands in the log
}

// Normalise splits a log of any form into its messages, in the order they were
// written. It knows serial consoles, dmesg and its options -T, -x, -H and -r,
// /dev/kmsg, syslog, journalctl's short forms, json, export and verbose, pstore
// records in any order, uReports, and any of these quoted in a mail.
func Normalise(log []byte) []Line {
	var lines []Line
	n := normaliser{emit: func(l *Line) { lines = append(lines, *l) }}
	n.all(string(log))
	return lines
}

// A normaliser takes a log piece by piece and gives its lines away.
type normaliser struct {
	emit   func(*Line)
	form   form
	held   *Line // a quoted line whose end may come in the next
	width  int   // of held in the log, bytes
	entry  entry // the journal entry being read
	stamps int   // lines with a stamp so far
	line   Line  // the one being given away
}

// all takes a whole log.
func (n *normaliser) all(log string) {
	n.form = sniff(log)
	switch n.form {
	case formReport:
		n.report(log)
	case formPstore:
		n.pstore(log)
	default:
		n.lines(log, 0)
	}
	n.close()
}

// lines takes the lines of a piece that begins at the offset in the log.
func (n *normaliser) lines(piece string, offset int64) {
	for piece != "" {
		line, rest := piece, ""
		if i := strings.IndexByte(piece, '\n'); i >= 0 {
			line, rest = piece[:i], piece[i+1:]
		}
		n.raw(line, offset)
		offset += int64(len(piece) - len(rest))
		piece = rest
	}
}

// raw takes one line.
func (n *normaliser) raw(line string, offset int64) {
	end := offset + int64(len(line))
	line = line[:min(len(line), maxLine)]
	switch n.form {
	case formJSON:
		n.json(line, offset, end)
	case formExport:
		n.export(line, offset, end)
	default:
		n.plain(line, offset, end)
	}
}

// plain takes a line of text. What a console wrote into a line that user space
// had not ended yet is a line of its own.
func (n *normaliser) plain(line string, offset, end int64) {
	raw := line
	line, quoted := clean(line)
	n.line = Line{Start: offset, End: end, raw: raw}
	p := peeler{line: &n.line}
	text := p.peel(line)
	if n.wrapped(text, raw, quoted, p.peeled, end) {
		return
	}
	for {
		at := nextStamp(text)
		if at < 0 {
			break
		}
		if before := strings.TrimRight(text[:at], " "); before != "" {
			n.line.Text, n.line.User = before, n.line.User || !p.peeled
			n.give(false, 0)
			n.line.User = n.line.User && p.peeled
		}
		n.line.Stamp, n.line.Caller = "", ""
		text = p.peel(text[at:])
	}
	n.line.Text = text
	n.give(quoted, len(line))
}

// wrapColumn is where mail programs begin to break lines.
const wrapColumn = 55

// wrapped joins a line to the one a mail program broke it off from: that one is
// quoted, has a stamp and is long, and this one has none. Some programs quote the
// rest and some do not.
func (n *normaliser) wrapped(text, raw string, quoted, peeled bool, end int64) bool {
	if n.held == nil || peeled || !quoted && strings.HasPrefix(text, " ") || n.width < wrapColumn || strings.TrimSpace(text) == "" {
		return false
	}
	n.held.Text += " " + strings.TrimSpace(text)
	n.held.End = end
	n.held.raw += "\n" + raw
	n.width = 0
	return true
}

// give gives the line away, or holds it until the next is known.
func (n *normaliser) give(quoted bool, width int) {
	n.close()
	if quoted && n.line.Stamp != "" {
		held := n.line
		n.held, n.width = &held, width
		return
	}
	n.emit(&n.line)
}

// close gives away what is held.
func (n *normaliser) close() {
	if n.held != nil {
		held := n.held
		n.held = nil
		n.emit(held)
	}
}
