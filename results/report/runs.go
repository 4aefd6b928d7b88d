package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/results"
)

const minute = "2006-01-02 15:04"

// Runs lists runs under their upstream releases, in the order given: that of
// results.List. Times are UTC.
func Runs(w io.Writer, runs []results.Run) error {
	var p printer
	for len(runs) > 0 {
		n := 1
		for n < len(runs) && runs[n].Upstream == runs[0].Upstream {
			n++
		}
		p.printf("%s\n", Escape(runs[0].Upstream))
		p.table(0, func(w io.Writer) {
			fmt.Fprintln(w, "  RUN\tSTARTED\tKERNEL\tACCEL\tRESULT")
			for i := range runs[:n] {
				runLine(w, &runs[i])
			}
		})
		runs = runs[n:]
	}
	return p.flush(w)
}

func runLine(w io.Writer, run *results.Run) {
	result := tally(run)
	if run.Failure != "" {
		result += ", ended early"
	}
	cells(w, "  "+run.ID, run.Started.UTC().Format(minute), run.Build.Release, run.Machine.Accel, result)
}

// cells writes a row of a table.
func cells(w io.Writer, texts ...string) {
	for i, text := range texts {
		texts[i] = cell(text)
	}
	fmt.Fprintln(w, strings.Join(texts, "\t"))
}

// cell escapes a text for a table, where a tab would shift those after it.
func cell(text string) string { return strings.ReplaceAll(Escape(text), "\t", " ") }

// Detail shows all about one run: where it ran, its boots, and what Text shows
// with the passed cases in a table.
func Detail(w io.Writer, run *results.Run, o Options) error {
	p := printer{Options: o}
	p.facts(run)
	p.boots(run)
	p.table(0, func(w io.Writer) {
		for _, c := range run.Cases {
			resultLine(w, c)
		}
	})
	p.printf("\n")
	p.cases(run)
	p.failure(run)
	p.summary(run)
	return p.flush(w)
}

func resultLine(w io.Writer, c results.Result) {
	if c.Boot == 0 {
		cells(w, string(c.Verdict), c.FullName())
		return
	}
	cells(w, string(c.Verdict), c.FullName(), seconds(c.Duration), fmt.Sprintf("boot %d", c.Boot))
}

// facts shows what identifies the run; a fact nobody recorded is left out.
func (p *printer) facts(run *results.Run) {
	facts := []struct{ name, value string }{
		{"run", run.ID},
		{"state", string(run.State)},
		{"started", moment(run.Started)},
		{"finished", moment(run.Finished)},
		{"directory", run.Dir},
		{"command", strings.Join(run.Args, " ")},
		{"upstream", run.Upstream},
		{"package", run.Build.NVR},
		{"kernel", run.Build.Release},
		{"image", run.Build.Digest},
		{"source", run.Build.Source},
		{"host", strings.TrimSpace(run.Host.Name + " " + run.Host.Kernel)},
		{"processor", run.Host.CPU},
		{"kplay", run.Host.Kplay},
		{"qemu", run.Machine.QEMU},
		{"accelerator", run.Machine.Accel},
		{"because", run.Machine.AccelReason},
		{"cmdline", run.Machine.Cmdline},
	}
	p.table(0, func(w io.Writer) {
		for _, f := range facts {
			if f.value != "" {
				cells(w, f.name, f.value)
			}
		}
	})
	p.printf("\n")
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func (p *printer) boots(run *results.Run) {
	if len(run.Boots) == 0 {
		return
	}
	p.table(0, func(w io.Writer) {
		fmt.Fprintln(w, "BOOT\tWALL\tCPU\tEND\tREASON")
		for _, b := range run.Boots {
			cells(w, fmt.Sprint(b.Number), seconds(b.Wall), seconds(b.CPU), b.End, b.Reason)
		}
	})
	p.printf("\n")
}
