package main

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/kernel-playground/kplay/results/report"
)

// A tally counts the mutants that were killed, by source file.
type tally struct {
	killed, planted map[string]int
	survivors       []mutant
	equivalent      int // what was not planted, for nobody can see it
}

func newTally() *tally {
	return &tally{killed: make(map[string]int), planted: make(map[string]int)}
}

func (t *tally) add(m mutant, end ending) {
	t.planted[m.file]++
	if end.killer == "" {
		t.survivors = append(t.survivors, m)
		return
	}
	t.killed[m.file]++
}

func (t *tally) print(w io.Writer) {
	killed, planted := 0, 0
	for _, file := range slices.Sorted(maps.Keys(t.planted)) {
		fmt.Fprintf(w, "%-12s %3d of %3d killed\n", file, t.killed[file], t.planted[file])
		killed += t.killed[file]
		planted += t.planted[file]
	}
	fmt.Fprintf(w, "%-12s %3d of %3d killed\n", "all", killed, planted)
	if t.equivalent > 0 {
		fmt.Fprintf(w, "%d not planted: they are equivalent to what is there\n", t.equivalent)
	}
	for _, m := range t.survivors {
		fmt.Fprintf(w, "survived: %s: %s\n", m, m.Slip)
	}
}

// line says what became of m, in a form that parseLine reads.
func (e ending) line(m mutant) string {
	took := e.took.Round(100 * time.Millisecond)
	if e.killer == "" {
		return fmt.Sprintf("SURVIVED %s in %v: %s", m, took, nonEmpty(m.Slip, "the module as it is"))
	}
	return fmt.Sprintf("killed   %s in %v by %s: %s", m, took, e.killer, report.Escape(e.reason))
}

var lineForm = regexp.MustCompile(`^(?:SURVIVED|killed) +(\S+) in ([^\s:]+)(?: by ([^:]+))?: (.*)$`)

// parseLine reads a line of line; ok says that it is one.
func parseLine(line string) (name string, e ending, ok bool) {
	f := lineForm.FindStringSubmatch(line)
	if f == nil {
		return "", e, false
	}
	took, err := time.ParseDuration(f[2])
	return f[1], ending{f[3], f[4], took}, err == nil
}

func nonEmpty(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
