package harness_test

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/suites"
)

// Only a feature that nobody promised can be absent, and only where the build's
// modules are known.
func TestAbsent(t *testing.T) {
	for _, c := range []struct {
		feature, modules string
		want             bool
	}{
		{"kdbus", t.TempDir(), true},
		{"kdbus", "", false},
		{"overlayfs", t.TempDir(), false},
		{"", t.TempDir(), false},
	} {
		p := harness.Plan{Build: &kernel.Build{Release: "6.1.0", Modules: c.modules}}
		got, err := p.Absent(suites.Suite{Feature: c.feature})
		assert.NilError(t, err)
		assert.Equal(t, got, c.want, c.feature)
	}
}
