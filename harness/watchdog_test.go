package harness_test

import (
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
)

// watched is a kernel with a driver for the machine's watchdog: Debian's cloud
// kernels have it since 6.12.
const watched = "apt:linux-image-6.12-cloud-amd64"

// TestWatchdog has a kernel stop for good in a case that may take long.
func TestWatchdog(t *testing.T) {
	b, cache := kerneltest.Build(t)
	if _, missing, err := b.ResolveModules([]string{"i6300esb"}, nil); err != nil || len(missing) > 0 {
		b, err = kernel.Open(t.Context(), watched, kernel.Options{Cache: cache, Progress: func(line string) { t.Log(line) }})
		if err != nil {
			t.Skipf("no kernel here has a driver for the watchdog: %v", err)
		}
	}
	const long = 10 * time.Minute
	run := execute(t, harness.Plan{
		Build: b, Cache: cache, Accel: "tcg", Timeout: long, Suites: []suites.Suite{some("halt-deaf", "after-hangs")},
	})
	hung := run.Cases[0]
	assert.Equal(t, hung.Verdict, results.Timeout, hung.Reason)
	assert.Assert(t, strings.Contains(hung.Reason, "watchdog"), hung.Reason)
	assert.Assert(t, strings.Contains(hung.Reason, "init_module"), hung.Reason)
	assert.Assert(t, hung.Duration < long)
	assert.Equal(t, run.Cases[1].Verdict, results.Pass, run.Cases[1].Reason)
}
