// Package selftest holds cases that end in every way a case can end: by a
// verdict of their own, by the death of their process, by the death of the
// kernel, by never ending, and by lying about all of these.
//
// They judge the harness, not the kernel: Expect says what each must be found
// to be. The cases are hostile on purpose and stay within a throw-away guest.
package selftest

import (
	"slices"

	"github.com/kernel-playground/kplay/suites"
)

const suiteName = "selftest"

// An Expectation is what the harness has to say about a case.
type Expectation struct {
	Verdict string // "PASS", "FAIL", "SKIP", "CRASH", "TIMEOUT" or "ERROR"
	Reason  string // a part of the reason; empty where any will do
}

// Expect holds the expectation for each case, by the case's name. Where a
// kernel lacks what a case needs to do its harm, SKIP is right as well.
var Expect = expectations()

// An ending is a case and what it must be found to be.
type ending struct {
	suites.Case
	Expectation
}

// endings is in the order of the run: what looks for leftovers of another case
// comes after it.
var endings = slices.Concat(plain, wants, parts, deaths, hogs, leftovers, forgeries, clocks, kernelDeaths, traps, hangs)

// Suite returns the cases.
func Suite() suites.Suite {
	s := suites.Suite{
		Name:     suiteName,
		Doc:      "Does the harness find the right verdict, whatever a case does to it?",
		OnDemand: true,
		Disks:    disks,
	}
	for _, e := range endings {
		s.Cases = append(s.Cases, e.Case)
	}
	return s
}

func expectations() map[string]Expectation {
	m := make(map[string]Expectation, len(endings))
	for _, e := range endings {
		m[e.Name] = e.Expectation
	}
	return m
}
