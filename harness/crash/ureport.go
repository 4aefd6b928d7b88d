package crash

import (
	"encoding/json"
	"strconv"
	"strings"
)

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
