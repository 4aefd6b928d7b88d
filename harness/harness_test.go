package harness_test

import (
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/selftest"
)

func TestMain(m *testing.M) { kerneltest.Main(m, append(guestSuites(), selftest.Suite())...) }

// TestVerdicts has a real kernel go through every way a case can end, and checks
// what the harness makes of it.
func TestVerdicts(t *testing.T) {
	b, cache := kerneltest.Build(t)
	run, err := harness.Execute(t.Context(), harness.Plan{
		Build: b, Suites: []suites.Suite{selftest.Suite()}, Cache: cache, Results: t.TempDir(),
	})
	assert.NilError(t, err)
	assert.Equal(t, len(run.Cases), len(selftest.Suite().Cases))
	for _, r := range run.Cases {
		t.Run(r.Case, func(t *testing.T) {
			want := selftest.Expect[r.Case]
			if r.Verdict == results.Skip && want.Verdict != "SKIP" {
				t.Skip(r.Reason)
			}
			if string(r.Verdict) != want.Verdict || !strings.Contains(r.Reason, want.Reason) {
				t.Errorf("got %s (%s), want %s (%s)\noutput: %s\nkernel: %s", r.Verdict, r.Reason, want.Verdict, want.Reason, r.Output, r.Console)
			}
		})
	}
	again, err := results.Load(filepath.Dir(filepath.Dir(filepath.Dir(run.Dir))), run.ID)
	assert.NilError(t, err)
	assert.Equal(t, again.State, results.Finished)
	assert.Equal(t, len(again.Cases), len(run.Cases))
}
