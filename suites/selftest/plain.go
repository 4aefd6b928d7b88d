package selftest

import (
	"runtime"

	"github.com/kernel-playground/kplay/suites"
)

// plain are the cases that reach a verdict by the methods of T.
var plain = []ending{
	{suites.Case{
		Name: "pass",
		Doc:  "A case that does nothing passes.",
		Run:  pass,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "pass-after-log",
		Doc:  "Lines a case logs are kept and do not change its verdict.",
		Run:  func(t *suites.T) { t.Log("first line\nsecond line"); t.Logf("100%% %s", "of it") },
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "fail",
		Doc:  "A case fails by Errorf, and the text is the reason.",
		Run:  func(t *suites.T) { t.Errorf("got %d, want %d", 1, 2) },
	}, Expectation{"FAIL", "got 1, want 2"}},
	{suites.Case{
		Name: "fail-several",
		Doc:  "Of several errors the first is the reason; Fatal ends the case.",
		Run:  failSeveral,
	}, Expectation{"FAIL", "the first error"}},
	{suites.Case{
		Name: "fail-in-cleanup",
		Doc:  "An error of a Cleanup function fails the case that had passed.",
		Run:  func(t *suites.T) { t.Cleanup(func() { t.Error("cannot clean up") }) },
	}, Expectation{"FAIL", "cannot clean up"}},
	{suites.Case{
		Name: "skip",
		Doc:  "A case is skipped by Skip, and the missing thing is the reason.",
		Run:  func(t *suites.T) { t.Skip("no such thing as a unicorn") },
	}, Expectation{"SKIP", "unicorn"}},
	{suites.Case{
		Name: "skip-after-error",
		Doc:  "A case that failed stays failed when it skips the rest.",
		Run:  func(t *suites.T) { t.Error("already failed"); t.Skip("the rest") },
	}, Expectation{"FAIL", "already failed"}},
	{suites.Case{
		Name:   "param",
		Doc:    "A case is told the parameters it takes, or their defaults.",
		Params: suites.Params{suites.Seed: "7", suites.Ops: "9"},
		Run:    func(t *suites.T) { t.Logf("seed %d, ops %d", t.Number(suites.Seed), t.Number(suites.Ops)) },
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "param-not-taken",
		Doc:  "A case that asks for a parameter it does not take fails.",
		Run:  func(t *suites.T) { t.Number(suites.Seed) },
	}, Expectation{"FAIL", "the case does not take it"}},
	{suites.Case{
		Name: "long",
		Doc:  "A long case runs where it is asked for.",
		Long: true,
		Run:  pass,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "goexit",
		Doc:  "A case whose goroutine ends without Fatal or Skip did not get to its end, and fails.",
		Run:  func(*suites.T) { runtime.Goexit() },
	}, Expectation{"FAIL", ""}},
}

func pass(*suites.T) {}

func failSeveral(t *suites.T) {
	t.Error("the first error")
	t.Error("the second error")
	t.Fatal("the last error")
	t.Error("after the end")
}
