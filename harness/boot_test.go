package harness_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/selftest"
)

// some is the selftest suite cut down to the named cases.
func some(names ...string) suites.Suite {
	s := selftest.Suite()
	s.Cases = slices.DeleteFunc(slices.Clone(s.Cases), func(c suites.Case) bool { return !slices.Contains(names, c.Name) })
	return s
}

// TestWithoutModules boots a bare image. Distribution kernels before 6.12 have
// virtio as modules, so that with them everything goes over the second UART,
// which cases can reach as well.
func TestWithoutModules(t *testing.T) {
	b, cache := kerneltest.Build(t)
	image := filepath.Join(t.TempDir(), "bzImage")
	data, err := os.ReadFile(b.Image)
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(image, data, 0o644))
	bare, err := kernel.Open(t.Context(), image, kernel.Options{Cache: cache})
	assert.NilError(t, err)
	assert.Equal(t, bare.Modules, "")
	run, err := harness.Execute(t.Context(), harness.Plan{
		Build: bare, Cache: cache, Accel: "tcg",
		Suites: []suites.Suite{some("pass", "fail", "garbage-on-channel", "forge-pass", "flood-ports", "panic-sysrq", "after-crash")},
	})
	assert.NilError(t, err)
	for _, r := range run.Cases {
		assert.Equal(t, string(r.Verdict), selftest.Expect[r.Case].Verdict, "%s: %s", r.Case, r.Reason)
	}
}

type notices struct {
	harness.Deaf
	lines []string
}

// Notice keeps the line.
func (n *notices) Notice(line string) { n.lines = append(n.lines, line) }

// TestKernelDiesWhileBooting has the kernel find no init it can run.
func TestKernelDiesWhileBooting(t *testing.T) {
	b, cache := kerneltest.Build(t)
	before := *harness.Lean
	*harness.Lean = append(slices.Clone(before), "rdinit=/etc/kplay/modules")
	defer func() { *harness.Lean = before }()
	var said notices
	run, err := harness.Execute(t.Context(), harness.Plan{
		Build: b, Cache: cache, Accel: "tcg", Suites: []suites.Suite{some("pass", "fail")}, Results: t.TempDir(), Watch: &said,
	})
	var dead *harness.KernelError
	assert.Assert(t, errors.As(err, &dead), "%v", err)
	assert.Assert(t, strings.HasPrefix(dead.Reason, "the kernel died while booting: "), dead.Reason)
	assert.Assert(t, strings.Contains(strings.Join(said.lines, "\n"), "Kernel panic - not syncing"), "its console is not shown")
	assert.Equal(t, len(run.Boots), 2, "it is tried once more")
	for _, r := range run.Cases {
		assert.Equal(t, r.Verdict, results.Miss)
	}
	log, err := os.ReadFile(results.ConsoleFile(run.Dir, 1))
	assert.NilError(t, err)
	assert.Assert(t, strings.Contains(string(log), "Kernel panic - not syncing"))
}
