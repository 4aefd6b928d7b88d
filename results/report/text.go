// Package report shows runs to people, as plain text for a terminal or a log.
// What came out of a guest is escaped before it is shown.
package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/results"
)

// excerpt is how many lines of output, and of console, are shown of a case.
const excerpt = 40

// Options says how to show a run. The zero value is right for a file.
type Options struct {
	Color   bool // with ANSI colours
	Width   int  // columns after which a line is cut; 0 for never
	Verbose bool // all lines of output and console, and passed cases too
	// Reproduce gives the command that runs the one case again; nil for no
	// such line.
	Reproduce func(results.Result) string
}

// Text shows what a run found: a table of the suites, every case that did not
// pass with what is known about it, and a line that sums it up.
func Text(w io.Writer, run *results.Run, o Options) error {
	p := printer{Options: o}
	p.suites(run)
	p.cases(run)
	p.complaints(run)
	p.failure(run)
	p.summary(run)
	return p.flush(w)
}

// A printer gathers text until it is written in one go.
type printer struct {
	Options
	b strings.Builder
}

func (p *printer) printf(format string, args ...any) { fmt.Fprintf(&p.b, format, args...) }

func (p *printer) flush(w io.Writer) error {
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// table calls fill with a writer that aligns cells ended by tabs.
func (p *printer) table(flags uint, fill func(w io.Writer)) {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', flags)
	fill(t)
	t.Flush() // a strings.Builder takes everything
	for _, line := range lines(b.String()) {
		p.printf("%s\n", strings.TrimRight(line, " "))
	}
}

// suites shows the counts of each suite; only verdicts that occur have a
// column.
func (p *printer) suites(run *results.Run) {
	if len(run.Cases) == 0 {
		return
	}
	total := run.Counts()
	names, counts := bySuite(run)
	p.table(0, func(w io.Writer) {
		fmt.Fprint(w, "SUITE")
		for _, v := range results.Verdicts {
			if total[v] > 0 {
				fmt.Fprintf(w, "\t%s", v)
			}
		}
		fmt.Fprintln(w)
		for _, name := range names {
			fmt.Fprint(w, cell(name))
			for _, v := range results.Verdicts {
				if total[v] > 0 {
					fmt.Fprintf(w, "\t%d", counts[name][v])
				}
			}
			fmt.Fprintln(w)
		}
	})
	p.printf("\n")
}

// bySuite counts verdicts per suite; the names are in the order of the run.
func bySuite(run *results.Run) (names []string, counts map[string]map[results.Verdict]int) {
	counts = make(map[string]map[results.Verdict]int)
	for _, c := range run.Cases {
		if counts[c.Suite] == nil {
			counts[c.Suite] = make(map[results.Verdict]int)
			names = append(names, c.Suite)
		}
		counts[c.Suite][c.Verdict]++
	}
	return names, counts
}

// cases shows what there is to look into, and the skipped cases in a line each.
func (p *printer) cases(run *results.Run) {
	shown := false
	for _, c := range run.Cases {
		switch {
		case !c.Verdict.Good():
			p.headline(c)
			p.details(c)
		case c.Verdict != results.Pass:
			p.headline(c)
		case p.Verbose:
			p.headline(c)
			p.block("output", lines(c.Output), len(c.Output))
		default:
			continue
		}
		shown = true
	}
	if shown {
		p.printf("\n")
	}
}

func (p *printer) headline(c results.Result) {
	line := Escape(c.FullName())
	if c.Duration > 0 {
		line += " (" + seconds(c.Duration) + ")"
	}
	if c.Reason != "" {
		line += ": " + Escape(c.Reason)
	}
	p.printf("%s %s\n", p.verdict(c.Verdict), p.cut(line, len(c.Verdict)+1))
}

// details shows what the case and the kernel said, and how to run it again.
func (p *printer) details(c results.Result) {
	limit := excerpt
	if p.Verbose {
		limit = len(c.Output) + len(c.Console) + crash.MaxRaw
	}
	worst := crash.Worst(c.Records)
	if worst != nil && worst.Summary() != c.Reason {
		p.printf("    kernel: %s\n", p.cut(Escape(worst.Summary()), 12))
	}
	p.block("output", lines(c.Output), limit)
	if worst != nil && (!p.Verbose || c.Console == "") {
		p.excerpt("console", lines(worst.Raw), limit)
	} else {
		p.block("console", lines(c.Console), limit)
	}
	if p.Reproduce != nil {
		p.printf("    reproduce: %s\n", Escape(p.Reproduce(c)))
	}
}

// complaints shows what the kernel complained of in more than one case.
func (p *printer) complaints(run *results.Run) {
	for _, c := range run.Complaints() {
		if len(c.Cases) < 2 {
			continue
		}
		line := fmt.Sprintf("the same in %d cases, first in %s: %s", len(c.Cases), c.Cases[0], c.Record.Summary())
		p.printf("%s\n", p.cut(Escape(line), 0))
	}
}

// block shows the last lines: what a case or a console said before it ended.
func (p *printer) block(title string, text []string, limit int) {
	if len(text) == 0 {
		return
	}
	p.printf("    %s:\n", title)
	if more := len(text) - limit; more > 0 {
		p.printf("    | (%d lines before)\n", more)
		text = text[more:]
	}
	p.quote(text)
}

// excerpt shows the first lines: those of a kernel's report tell most.
func (p *printer) excerpt(title string, text []string, limit int) {
	if len(text) == 0 {
		return
	}
	p.printf("    %s:\n", title)
	p.quote(text[:min(limit, len(text))])
	if more := len(text) - limit; more > 0 {
		p.printf("    | (%d more lines)\n", more)
	}
}

func (p *printer) quote(text []string) {
	for _, line := range text {
		p.printf("    | %s\n", p.cut(Escape(line), 6))
	}
}

// cut shortens a line that begins at the column to the width.
func (p *printer) cut(s string, column int) string {
	room := p.Width - column
	if p.Width <= 0 || room < 1 {
		return s
	}
	runes := []rune(s)
	if len(runes) <= room {
		return s
	}
	return string(runes[:room-1]) + "…"
}

var colours = map[results.Verdict]string{
	results.Pass:    "32",
	results.Fail:    "31",
	results.Crash:   "31;1",
	results.Timeout: "31;1",
	results.Error:   "35",
	results.Miss:    "35",
	results.XPass:   "33",
	results.XFail:   "33",
	results.Skip:    "33",
}

// verdict is the word, coloured if that is asked for. One read from a file may
// be any string.
func (p *printer) verdict(v results.Verdict) string {
	word := Escape(string(v))
	if code, ok := colours[v]; ok && p.Color {
		return "\x1b[" + code + "m" + word + "\x1b[0m"
	}
	return word
}
