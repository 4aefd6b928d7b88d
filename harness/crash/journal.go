package crash

import (
	"encoding/json"
	"strings"
)

// A form is how a log as a whole is made up.
type form int

const (
	formPlain  form = iota // a message a line
	formJSON               // journalctl -o json, or json-pretty
	formExport             // journalctl -o export, or verbose
	formReport             // a uReport, as ABRT sends it
	formPstore             // pstore dumps, one after another
)

// sniffed is how much of a log is looked at to know its form, bytes.
const sniffed = 64 << 10

// sniff tells the form by how the log begins.
func sniff(log string) form {
	head := strings.TrimLeft(log[:min(len(log), sniffed)], " \t\r\n\ufeff")
	switch {
	case strings.HasPrefix(head, "{") && strings.Contains(head, `"ureport_version"`):
		return formReport
	case strings.HasPrefix(head, "{") && strings.Contains(head, `"raw_oops"`):
		return formReport
	case strings.HasPrefix(head, "{") && strings.Contains(head, `"MESSAGE"`), strings.HasPrefix(head, `{"__`), strings.HasPrefix(head, `{"_`):
		return formJSON
	case strings.HasPrefix(head, "__CURSOR="), strings.HasPrefix(head, "__REALTIME_TIMESTAMP="):
		return formExport
	case strings.Contains(head, "\n    MESSAGE=") && strings.Contains(head, "\n    _TRANSPORT="):
		return formExport
	}
	first, _, _ := strings.Cut(head, "\n")
	if _, _, ok := pstoreHeader(first); ok {
		return formPstore
	}
	return formPlain
}

// An entry is one of a journal, as far as it has been read.
type entry struct {
	text       string
	start, end int64
	raw, stamp string
	has, user  bool
}

// field notes one field of a journal entry (systemd.journal-fields(7)).
func (e *entry) field(name, value, raw string, start, end int64) {
	switch name {
	case "MESSAGE":
		e.text, e.raw, e.start, e.end, e.has = value, raw, start, end, true
	case "_TRANSPORT":
		// What user space writes to /dev/kmsg has this transport too, but
		// another identifier.
		e.user = e.user || value != "kernel"
	case "SYSLOG_IDENTIFIER":
		e.user = e.user || !kernelNames[value]
	case "_SOURCE_MONOTONIC_TIMESTAMP":
		if all(value, digits) && len(value) < 18 {
			for len(value) < 7 {
				value = "0" + value
			}
			e.stamp = value[:len(value)-6] + "." + value[len(value)-6:]
		}
	}
}

// flush gives the entry's message away, a line for each of its own. The text
// may hold a logged console with prefixes of its own.
func (n *normaliser) flush() {
	e := n.entry
	n.entry = entry{}
	if !e.has {
		return
	}
	for text := range strings.SplitSeq(e.text, "\n") {
		text, _ = clean(text)
		n.line = Line{Start: e.start, End: e.end, Stamp: e.stamp, Dated: true, User: e.user, raw: e.raw}
		p := peeler{line: &n.line, peeled: true}
		n.line.Text = p.peel(text)
		n.line.User = e.user && n.line.Stamp == e.stamp
		n.emit(&n.line)
	}
}

// json takes a line of journalctl -o json: an object. Of -o json-pretty it takes
// the lines of the fields.
func (n *normaliser) json(line string, start, end int64) {
	line = strings.TrimSpace(line)
	switch {
	case line == "{":
		n.entry = entry{}
	case line == "}" || line == "},":
		n.flush()
	case strings.HasPrefix(line, "{"):
		var fields map[string]json.RawMessage
		if json.Unmarshal([]byte(line), &fields) != nil {
			return
		}
		for name, value := range fields {
			n.entry.field(name, journalValue(value), line, start, end)
		}
		n.flush()
	default:
		name, value, ok := strings.Cut(strings.TrimSuffix(line, ","), " : ")
		if ok {
			n.entry.field(strings.Trim(name, `"`), journalValue(json.RawMessage(value)), line, start, end)
		}
	}
}

// journalValue reads a field: a string, or an array of the bytes of one that is
// not printable.
func journalValue(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var numbers []int
	if json.Unmarshal(raw, &numbers) != nil {
		return ""
	}
	b := make([]byte, 0, len(numbers))
	for _, c := range numbers {
		b = append(b, byte(c))
	}
	return string(b)
}

// export takes a line of journalctl -o export, whose entries are parted by empty
// lines, or of -o verbose, whose entries begin with a date.
func (n *normaliser) export(line string, start, end int64) {
	line = strings.TrimRight(line, "\r")
	field := strings.TrimPrefix(line, "    ")
	name, value, ok := strings.Cut(field, "=")
	if ok && name != "" && strings.ToUpper(name) == name && strings.IndexByte(name, ' ') < 0 {
		n.entry.field(name, value, line, start, end)
		return
	}
	if line == "" || line == field {
		n.flush()
	}
}
