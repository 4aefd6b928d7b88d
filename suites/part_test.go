package suites_test

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/suites"
)

func TestMain(m *testing.M) {
	suites.PlayPart([]suites.Suite{parts})
	os.Exit(m.Run())
}

// parts are cases whose part needs nothing of the kernel.
var parts = suites.Suite{Name: "parts", Cases: []suites.Case{
	part("pass", func(*suites.T) {}),
	part("dir", func(t *suites.T) {
		if _, err := os.Stat(t.Dir() + "/given"); err != nil {
			t.Error(err)
		}
	}),
	part("fail", func(t *suites.T) { t.Fatal("wrong in there") }),
	part("skip", func(t *suites.T) { t.Skip("no unicorn in there") }),
	part("exit", func(*suites.T) { os.Exit(7) }),
	part("none", nil),
}}

func part(name string, within func(*suites.T)) suites.Case {
	return suites.Case{Name: name, Doc: name, Within: within, Run: func(t *suites.T) {
		if err := os.WriteFile(t.Dir()+"/given", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if ok := t.Enter(t.Dir(), &syscall.SysProcAttr{}); ok == t.Failed() {
			t.Errorf("Enter returned %v, and failed is %v", ok, t.Failed())
		}
	}}
}

func TestOutcomeOfPart(t *testing.T) {
	for name, want := range map[string]suites.Outcome{
		"pass": {Status: suites.Pass},
		"dir":  {Status: suites.Pass},
		"fail": {Status: suites.Fail, Reason: "wrong in there"},
		"skip": {Status: suites.Skip, Reason: "no unicorn in there"},
		"exit": {Status: suites.Fail, Reason: "exit status 7"},
		"none": {Status: suites.Fail, Reason: "exit status 3"},
	} {
		s, c, ok := suites.Find([]suites.Suite{parts}, "parts/"+name)
		assert.Assert(t, ok)
		o := s.Execute(c, t.TempDir(), nil, func(string) {})
		assert.Equal(t, o.Status, want.Status, name)
		assert.Assert(t, strings.Contains(o.Reason, want.Reason), "%s: reason is %q", name, o.Reason)
	}
}
