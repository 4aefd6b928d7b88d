package harness

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/results"
)

func TestVerdictOf(t *testing.T) {
	warning := crash.Scan([]byte("WARNING: CPU: 0 PID: 1 at fs/overlayfs/dir.c:1 ovl_x+0x1/0x2 [overlay]\n"))
	bug := crash.Scan([]byte("kernel BUG at fs/overlayfs/dir.c:1!\n"))
	for _, c := range []struct {
		name    string
		status  string
		records []crash.Record
		taint   uint64
		want    results.Verdict
	}{
		{"a pass", "pass", nil, 0, results.Pass},
		{"a failure", "fail", nil, 0, results.Fail},
		{"a skip", "skip", nil, 0, results.Skip},
		{"a pass with a warning", "pass", warning, 0, results.Fail},
		{"a skip with a warning", "skip", warning, 0, results.Fail},
		{"a pass with a BUG", "pass", bug, 0, results.Crash},
		{"a failure with a BUG", "fail", bug, 0, results.Crash},
		{"a pass with new taint", "pass", nil, 1 << 9, results.Fail},
		{"no status", "", nil, 0, results.Error},
		{"an unknown status", "PASS", nil, 0, results.Error},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := verdictOf(event.Event{Status: c.status}, c.records, c.taint)
			assert.Equal(t, got, c.want)
		})
	}
}

func TestVerdictOfDead(t *testing.T) {
	panicked := []byte("[    1.0] Kernel panic - not syncing: sysrq triggered crash\n")
	got, reason, records := verdictOfDead(panicked, nil, "guest-reset")
	assert.Equal(t, got, results.Crash, reason)
	assert.Equal(t, len(records), 1)
	got, reason, _ = verdictOfDead([]byte("nothing of note\n"), nil, "guest-shutdown")
	assert.Equal(t, got, results.Error)
	assert.Equal(t, reason, "the machine ended without a word from the kernel (guest-shutdown)")
}

func TestTaintLetters(t *testing.T) {
	assert.Equal(t, letters(1|1<<9|1<<12), "PWO")
	assert.Equal(t, letters(1<<40), "(bit 40)")
}
