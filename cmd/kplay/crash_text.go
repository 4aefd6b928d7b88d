package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/results/report"
)

// shownFrames is how many frames of a call trace are shown.
const shownFrames = 12

// crashText shows records to a person.
func crashText(w io.Writer, records []crash.Record, all bool) {
	if len(records) == 0 {
		fmt.Fprintln(w, "no complaint of the kernel found")
		return
	}
	for i, r := range records {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%d of %d: %s, %s: %s\n", i+1, len(records), r.Class, r.Severity, report.Escape(r.Summary()))
		for _, f := range crashFacts(r) {
			fmt.Fprintf(w, "  %-10s %s\n", f.name, report.Escape(f.text))
		}
		crashFrames(w, r.Frames, all)
		if all {
			for line := range strings.Lines(r.Raw) {
				fmt.Fprintf(w, "  | %s\n", report.Escape(strings.TrimRight(line, "\r\n")))
			}
		}
	}
}

type crashFact struct{ name, text string }

// crashFacts are what is known of a record besides its first line.
func crashFacts(r crash.Record) []crashFact {
	facts := []crashFact{
		{"function", inModule(r.Func, r.Module)},
		{"source", r.Where},
		{"points to", attributed(r.Attribution)},
		{"panic", r.Panic},
		{"task", task(r)},
		{"kernel", strings.TrimSpace(r.Release + " " + prefixed("tainted ", r.Tainted))},
		{"hardware", r.Hardware},
		{"uptime", prefixed("", r.Stamp)},
		{"corrupted", r.Reason},
		{"signature", r.Signature + " (" + r.Family + ")"},
		{"ABRT uuid", r.ABRT},
		{"in the log", fmt.Sprintf("bytes %d to %d", r.Start, r.End)},
	}
	kept := facts[:0]
	for _, f := range facts {
		if f.text != "" {
			kept = append(kept, f)
		}
	}
	return kept
}

func inModule(function, module string) string {
	if module == "" {
		return function
	}
	return function + " [" + module + "]"
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func task(r crash.Record) string {
	if r.Comm == "" {
		return ""
	}
	s := fmt.Sprintf("%s (PID %d)", r.Comm, r.PID)
	if r.CPU >= 0 {
		s += fmt.Sprintf(" on CPU %d", r.CPU)
	}
	return s
}

// attributed says which features a record points to.
func attributed(found []crash.Attribution) string {
	var words []string
	for _, a := range found {
		switch a.Evidence {
		case crash.Base:
			words = append(words, "the base kernel")
		case crash.OnStack:
			words = append(words, fmt.Sprintf("%s, which calls it (%s, by %s)", a.Feature, a.Frame, a.Rule))
		case crash.PatchedBase:
			words = append(words, fmt.Sprintf("the base kernel, in a file %s changes", a.Feature))
		default:
			words = append(words, fmt.Sprintf("%s (by %s)", a.Feature, a.Rule))
		}
	}
	return strings.Join(words, "; ")
}

func crashFrames(w io.Writer, frames []crash.Frame, all bool) {
	shown := 0
	for _, f := range frames {
		if !all && (!f.Reliable || shown == shownFrames) {
			continue
		}
		shown++
		mark := "  "
		if !f.Reliable {
			mark = "? "
		}
		line := inModule(f.Func, f.Module)
		if f.File != "" {
			line += " " + f.File
		}
		if f.Inline {
			line += " (inlined)"
		}
		fmt.Fprintf(w, "    %s%s\n", mark, report.Escape(line))
	}
	if !all && len(frames) > shown {
		fmt.Fprintf(w, "      (%d more frames; -v shows them)\n", len(frames)-shown)
	}
}
