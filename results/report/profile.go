package report

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/kernel-playground/kplay/results"
)

// Profile shows where the wall time of each boot went. Percentages are of the
// sum of a boot's phases.
func Profile(w io.Writer, run *results.Run) error {
	var p printer
	for _, b := range run.Boots {
		p.phases(b)
	}
	if len(run.Boots) == 0 {
		p.printf("no boots\n")
	}
	return p.flush(w)
}

func (p *printer) phases(b results.Boot) {
	var sum time.Duration
	for _, ph := range b.Phases {
		sum += ph.Wall
	}
	p.printf("boot %d: %s wall, %s CPU, end: %s\n", b.Number, seconds(b.Wall), seconds(b.CPU), Escape(b.End))
	p.table(tabwriter.AlignRight, func(w io.Writer) {
		for _, ph := range b.Phases {
			phase(w, ph.Name, ph.Wall, sum)
		}
		if len(b.Phases) > 0 {
			phase(w, "all", sum, sum)
		}
	})
}

func phase(w io.Writer, name string, d, sum time.Duration) {
	percent := 0.0
	if sum > 0 {
		percent = 100 * float64(d) / float64(sum)
	}
	fmt.Fprintf(w, "%s\t%.1f ms\t%.1f %%\t\n", cell(name), float64(d)/float64(time.Millisecond), percent)
}
