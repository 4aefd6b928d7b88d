package selftest

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/suites"
)

func TestSuiteIsWellFormed(t *testing.T) {
	s := Suite()
	assert.NilError(t, s.Check())
	assert.Equal(t, len(Expect), len(s.Cases))
	verdicts := map[string]bool{"PASS": true, "FAIL": true, "SKIP": true, "CRASH": true, "TIMEOUT": true, "ERROR": true}
	for name, e := range Expect {
		assert.Assert(t, verdicts[e.Verdict], "case %s expects %q", name, e.Verdict)
	}
}

// The plain cases need no kernel: what T says of them is what is expected.
func TestPlainCases(t *testing.T) {
	words := map[suites.Status]string{suites.Pass: "PASS", suites.Fail: "FAIL", suites.Skip: "SKIP"}
	for _, e := range plain {
		t.Run(e.Name, func(t *testing.T) {
			o := Suite().Execute(e.Case, t.TempDir(), nil, func(line string) { t.Log(line) })
			assert.Equal(t, words[o.Status], e.Verdict)
			assert.Assert(t, strings.Contains(o.Reason, e.Reason), "reason is %q", o.Reason)
		})
	}
}
