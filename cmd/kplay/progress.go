package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/results/report"
)

// A progress shows how a run goes: a bar on a terminal, plain lines elsewhere.
type progress struct {
	w       io.Writer
	verbose bool

	bars *mpb.Progress // nil if w is no terminal
	bar  *mpb.Bar
	mu   sync.Mutex
	now  string // what is going on
}

func newProgress(w io.Writer, verbose bool, cases int) *progress {
	p := &progress{w: w, verbose: verbose, now: "booting"}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("CI") == "" {
		p.bars = mpb.New(mpb.WithOutput(f), mpb.WithWidth(30))
		p.bar = p.bars.AddBar(int64(cases), mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.CountersNoUnit("%d/%d ")),
			mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO), decor.Any(func(decor.Statistics) string { return " " + p.doing() })))
	}
	return p
}

// expect says how many cases there will be, after all.
func (p *progress) expect(cases int) {
	if p.bar != nil {
		p.bar.SetTotal(int64(cases), false)
	}
}

func (p *progress) doing() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *progress) say(line string) {
	line = escapeLines(line)
	if p.bars != nil {
		fmt.Fprintln(p.bars, line)
		return
	}
	fmt.Fprintln(p.w, line)
}

// escapeLines makes text fit for a terminal but keeps its lines.
func escapeLines(s string) string {
	lines := strings.Split(strings.TrimRight(s, "\r\n"), "\n")
	for i, l := range lines {
		lines[i] = report.Escape(strings.TrimSuffix(l, "\r"))
	}
	return strings.Join(lines, "\n")
}

// Notice shows a line.
func (p *progress) Notice(line string) { p.say(line) }

// Started notes the case that runs now.
func (p *progress) Started(name string) {
	p.mu.Lock()
	p.now = name
	p.mu.Unlock()
	if p.verbose {
		p.say("=== " + name)
	}
}

// Output shows what a case prints, if that was asked for.
func (p *progress) Output(_, text string) {
	if p.verbose {
		p.say(text)
	}
}

// Ended shows a verdict other than PASS at once.
func (p *progress) Ended(r results.Result) {
	if p.bar != nil {
		p.bar.Increment()
	}
	if p.verbose || !r.Verdict.Good() && r.Verdict != results.Miss {
		p.say(strings.TrimSpace(fmt.Sprintf("%-7s %s %s", r.Verdict, r.FullName(), r.Reason)))
	}
}

func (p *progress) close() {
	if p.bars != nil {
		p.bar.Abort(true)
		p.bars.Wait()
	}
}
