package crash

import (
	"encoding/json"
	"sort"
	"strconv"
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

// pstoreHeader reads the line a dump in pstore begins with, "Panic#1 Part2": why
// the kernel dumped its log and how often it had by then, and the part, of which
// the first is the newest (fs/pstore/platform.c). A ramoops record begins with
// "====" and the time (fs/pstore/ram.c).
func pstoreHeader(line string) (dump string, part int, ok bool) {
	line = strings.TrimRight(line, "\r")
	if rest, is := strings.CutPrefix(line, "===="); is && len(line) < 40 {
		sec, tail, _ := strings.Cut(rest, ".")
		usec, flag, _ := strings.Cut(tail, "-")
		return rest, 1, all(sec, digits) && all(usec, digits) && (flag == "C" || flag == "D")
	}
	dump, number, found := strings.Cut(line, " Part")
	reason, count, counted := strings.Cut(dump, "#")
	if !found || !counted || !all(count, digits) || !all(number, digits) || strings.IndexByte(reason, ' ') >= 0 {
		return "", 0, false
	}
	part, err := strconv.Atoi(number)
	return dump, part, err == nil
}

// A part is one piece of a pstore dump.
type part struct {
	dump   string
	order  int // of the dump among the others
	number int
	text   string
	offset int64
}

// pstore takes a row of dumps: the oldest part of each first, whatever their
// order in the log. What one dump repeats of another is taken once.
func (n *normaliser) pstore(log string) {
	parts := pstoreParts(log)
	sort.SliceStable(parts, func(i, j int) bool {
		if parts[i].order != parts[j].order {
			return parts[i].order < parts[j].order
		}
		return parts[i].number > parts[j].number
	})
	emit := n.emit
	seen := make(map[string]string)
	dump := ""
	n.emit = func(l *Line) {
		key := l.Stamp + l.Caller + "\x00" + l.Text
		first, repeated := seen[key]
		if repeated && first != dump && l.Stamp != "" {
			return
		}
		seen[key] = dump
		emit(l)
	}
	for _, p := range parts {
		dump = p.dump
		n.lines(p.text, p.offset)
	}
	n.close()
	n.emit = emit
}

func pstoreParts(log string) []part {
	var parts []part
	orders := make(map[string]int)
	offset := 0
	for offset < len(log) {
		line, rest, _ := strings.Cut(log[offset:], "\n")
		next := len(log) - len(rest)
		if dump, number, ok := pstoreHeader(line); ok {
			order, known := orders[dump]
			if !known {
				order = dumpOrder(dump, len(orders))
				orders[dump] = order
			}
			parts = append(parts, part{dump: dump, order: order, number: number, offset: int64(next)})
		} else if len(parts) > 0 {
			p := &parts[len(parts)-1]
			p.text = log[p.offset:next]
		}
		offset = next
	}
	return parts
}

// dumpOrder is the count in "Oops#1", or the place in the log.
func dumpOrder(dump string, place int) int {
	if _, count, ok := strings.Cut(dump, "#"); ok {
		if n, err := strconv.Atoi(count); err == nil {
			return n
		}
	}
	return place
}

// report takes a uReport: the text of the oops in it, or what stands for it if
// there is none. Its fields are those of faf's uReport 2.
func (n *normaliser) report(log string) {
	key := strings.Index(log, `"raw_oops"`)
	if key < 0 {
		n.synthetic(log)
		return
	}
	at := key + len(`"raw_oops"`)
	at += span(log[at:], " \t\r\n:")
	if at >= len(log) || log[at] != '"' {
		n.synthetic(log)
		return
	}
	n.form = formPlain
	n.quotedText(log, at+1)
	if n.stamps == 0 {
		n.synthetic(log)
	}
	n.form = formReport
}

// quotedText takes the lines in the JSON string that begins at the offset.
func (n *normaliser) quotedText(log string, at int) {
	var line strings.Builder
	start := at
	end := func(stop int) {
		n.raw(line.String(), int64(start))
		n.stamps++
		line.Reset()
		start = stop
	}
	for i := at; i < len(log) && log[i] != '"'; i++ {
		if log[i] != '\\' || i+1 >= len(log) {
			line.WriteByte(log[i])
			continue
		}
		i++
		switch log[i] {
		case 'n':
			end(i + 1)
		case 't':
			line.WriteByte('\t')
		case 'r':
		case 'u':
			if i+4 < len(log) {
				code, _ := strconv.ParseUint(log[i+1:i+5], 16, 16)
				line.WriteRune(rune(code))
				i += 4
			}
		default:
			line.WriteByte(log[i])
		}
	}
	if line.Len() > 0 {
		end(start)
	}
}

// A uReport is what is read of one without the text of the oops.
type uReport struct {
	Reason  string
	Problem struct {
		Component string
		Version   string
		Frames    []struct {
			Reliable bool
			Function string `json:"function_name"`
			Offset   uint64 `json:"function_offset"`
			Length   uint64 `json:"function_length"`
			Module   string `json:"module_name"`
		}
	}
}

// synthetic writes the lines a kernel would have for a uReport that has but the
// frames.
func (n *normaliser) synthetic(log string) {
	var u uReport
	if json.Unmarshal([]byte(log), &u) != nil || len(u.Problem.Frames) == 0 {
		return
	}
	reason := u.Reason
	if classify(reason) == "" {
		reason = "Oops: " + reason + ": 0000 [#1]"
	}
	lines := []string{reason, "Call Trace:"}
	for _, f := range u.Problem.Frames {
		text := " "
		if !f.Reliable {
			text += "? "
		}
		text += f.Function + "+0x" + strconv.FormatUint(f.Offset, 16) + "/0x" + strconv.FormatUint(max(f.Length, f.Offset), 16)
		if f.Module != "" {
			text += " [" + f.Module + "]"
		}
		lines = append(lines, text)
	}
	for _, text := range lines {
		n.line = Line{Text: text, End: int64(len(log)), raw: text}
		n.emit(&n.line)
	}
}
