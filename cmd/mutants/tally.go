package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/kernel-playground/kplay/results/report"
)

// A tally counts the mutants that were killed, by source file.
type tally struct {
	killed, planted map[string]int
	survivors       []mutant
}

func (t *tally) add(m mutant, end ending) {
	if t.planted == nil {
		t.killed, t.planted = make(map[string]int), make(map[string]int)
	}
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
	for _, m := range t.survivors {
		fmt.Fprintf(w, "survived: %s: %s\n", m, m.Slip)
	}
}

// line says what became of m.
func (e ending) line(m mutant) string {
	took := e.took.Round(100 * time.Millisecond)
	if e.killer == "" {
		return fmt.Sprintf("SURVIVED %s in %v: %s", m, took, m.Slip)
	}
	return fmt.Sprintf("killed   %s in %v by %s: %s", m, took, e.killer, report.Escape(e.reason))
}
