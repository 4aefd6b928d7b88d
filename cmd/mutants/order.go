package main

import (
	"slices"
	"strings"

	"github.com/kernel-playground/kplay/suites"
)

// killers counts how often a case killed a mutant, by source file and case.
type killers map[[2]string]int

func (k killers) add(m mutant, e ending) {
	if e.killer != "" {
		k[[2]string{m.file, e.killer}]++
	}
}

// lead is how many cases that killed mutants of the same file go first.
const lead = 8

// order is all of the cases: those that killed most mutants of the same file,
// broad ones, and the others in steps of stride.
func (k killers) order(m mutant, all []suites.Case) []suites.Case {
	kills := func(c suites.Case) int { return k[[2]string{m.file, c.Name}] }
	first := slices.DeleteFunc(slices.Clone(all), func(c suites.Case) bool { return kills(c) == 0 })
	slices.SortStableFunc(first, func(a, b suites.Case) int { return kills(b) - kills(a) })
	first = first[:min(lead, len(first))]
	rest := slices.DeleteFunc(slices.Clone(all), func(c suites.Case) bool {
		return slices.ContainsFunc(first, func(f suites.Case) bool { return f.Name == c.Name })
	})
	return append(first, strided(rest)...)
}

// stride leads from one case to the next: those of one theme are neighbours in
// the suite, and the theme that sees a mutant is to be met early.
const stride = 61

// broad is how the names of cases begin that do a little of everything.
const broad = "fuzz-"

// strided is all of the cases: the broad ones, then the others in steps of
// stride.
func strided(all []suites.Case) (out []suites.Case) {
	var cases []suites.Case
	for _, c := range all {
		if strings.HasPrefix(c.Name, broad) {
			out = append(out, c)
		} else {
			cases = append(cases, c)
		}
	}
	taken := make([]bool, len(cases))
	for at := 0; len(out) < len(all); at = (at + stride) % len(cases) {
		for taken[at] {
			at = (at + 1) % len(cases)
		}
		taken[at] = true
		out = append(out, cases[at])
	}
	return out
}
