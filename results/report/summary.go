package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/results"
)

var outcomes = []struct {
	verdict results.Verdict
	word    string
}{
	{results.Pass, "passed"},
	{results.Fail, "failed"},
	{results.Crash, "crashed"},
	{results.Timeout, "timed out"},
	{results.XPass, "passed unexpectedly"},
	{results.Error, "not judged"},
	{results.Miss, "not reached"},
	{results.XFail, "failed as expected"},
	{results.Skip, "skipped"},
}

// failure shows why the harness gave up, if it did.
func (p *printer) failure(run *results.Run) {
	for i, line := range lines(run.Failure) {
		if i == 0 {
			p.printf("the run ended early: ")
		} else {
			p.printf("    ")
		}
		p.printf("%s\n", Escape(line))
	}
}

// summary is "312 passed, 2 failed in 14.2 s on 6.1.0-56-amd64 (v6.1.192), tcg".
func (p *printer) summary(run *results.Run) {
	line := tally(run)
	if !run.Finished.IsZero() {
		line += " in " + seconds(run.Finished.Sub(run.Started))
	}
	line += fmt.Sprintf(" on %s (%s)", run.Build.Release, run.Upstream)
	if run.Machine.Accel != "" {
		line += ", " + run.Machine.Accel
	}
	p.printf("%s\n", Escape(line))
}

// tally is "312 passed, 2 failed", or "unfinished: 312 passed".
func tally(run *results.Run) string {
	counts := run.Counts()
	var parts []string
	for _, o := range outcomes {
		if n := counts[o.verdict]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o.word))
		}
	}
	if len(parts) == 0 {
		parts = []string{"no cases"}
	}
	line := strings.Join(parts, ", ")
	if run.State == results.Finished {
		return line
	}
	return string(run.State) + ": " + line
}

// seconds is a duration to two or three digits.
func seconds(d time.Duration) string {
	switch {
	case d >= 100*time.Second:
		return d.Round(time.Second).String()
	case d >= 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d >= 100*time.Millisecond:
		return fmt.Sprintf("%.2f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
