package report

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/golden"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/results"
)

var started = time.Date(2026, 11, 24, 5, 30, 1, 0, time.UTC)

// sample is a run with one case of every verdict, from a guest that means harm.
func sample() *results.Run {
	oops := crash.Record{
		Class: crash.Oops, Title: "BUG: kernel NULL pointer dereference, address: 0000000000000008",
		Func: "ovl_copy_up", Module: "overlay",
		Raw: "[    1.5] BUG: kernel NULL pointer dereference\r\n[    1.6] Call Trace:\r\n" + strings.Repeat("[    1.7]  f+0x1/0x2\n", 60),
	}
	return &results.Run{
		ID: "20261124T053001Z-4f2a", State: results.Finished,
		Started: started, Finished: started.Add(14200 * time.Millisecond),
		Upstream: "v6.1.192",
		Build:    results.Build{Release: "6.1.0-56-cloud-amd64", Digest: "e3b0c442", Source: "./vmlinuz"},
		Host:     results.Host{Name: "builder", Kernel: "6.5.0", CPU: "x86", CPUs: 2, Kplay: "devel"},
		Machine:  results.Machine{QEMU: "7.2.0", Accel: "tcg", AccelReason: "/dev/kvm hangs", Cmdline: "console=ttyS0"},
		Args:     []string{"kplay", "run", "./vmlinuz"},
		Boots: []results.Boot{
			{Number: 1, End: "crash", Reason: "BUG: kernel NULL pointer dereference", Wall: 3 * time.Second, CPU: 2500 * time.Millisecond,
				Phases: []results.Phase{{Name: "kernel", Wall: 2 * time.Second}, {Name: "agent", Wall: 500 * time.Millisecond}, {Name: "first case", Wall: 40 * time.Millisecond}}},
			{Number: 2, End: "bye", Wall: 150 * time.Second, CPU: 20 * time.Second},
		},
		Cases: []results.Result{
			{Suite: "overlayfs", Case: "rename", Verdict: results.Pass, Boot: 1, Duration: 12 * time.Millisecond, Output: "all well"},
			{Suite: "overlayfs", Case: "xattr", Verdict: results.Skip, Boot: 1, Reason: "no user xattrs on tmpfs"},
			{Suite: "overlayfs", Case: "escape", Verdict: results.Fail, Boot: 1, Duration: time.Second,
				Reason: "\x1b[2Jm/a = \"lower\"\x07", Output: "back\b\bspace\rand\u202egnp.exe\xff\n" + strings.Repeat("line\n", 50)},
			{Suite: "overlayfs", Case: "copy-up", Verdict: results.Crash, Boot: 1, Duration: 30 * time.Millisecond, Records: []crash.Record{oops}},
			{Suite: "overlayfs", Case: "hang", Verdict: results.Timeout, Boot: 2, Duration: 20 * time.Second, Reason: "no answer for 10 s", Console: "[    9.9] silence\x00"},
			{Suite: "kdbus", Case: "known", Verdict: results.XFail, Boot: 2, Reason: "known issue"},
			{Suite: "kdbus", Case: "mended", Verdict: results.XPass, Boot: 2, Duration: 5 * time.Millisecond},
			{Suite: "kdbus", Case: "unlucky", Verdict: results.Error, Boot: 2, Reason: "qemu is gone"},
			{Suite: "kdbus", Case: "last", Verdict: results.Miss},
		},
	}
}

func reproduce(r results.Result) string { return "kplay run ./vmlinuz " + r.Again() }

func TestText(t *testing.T) {
	for name, o := range map[string]Options{
		"text.golden":    {Reproduce: reproduce},
		"color.golden":   {Color: true, Width: 60},
		"verbose.golden": {Verbose: true},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			assert.NilError(t, Text(&b, sample(), o))
			golden.Assert(t, b.String(), name)
		})
	}
}

func TestTextOfARunThatGaveUp(t *testing.T) {
	run := &results.Run{State: results.Unfinished, Failure: "boot the kernel: no answer\nlast line\x1b", Upstream: "v6.1", Build: results.Build{Release: "6.1"}}
	var b strings.Builder
	assert.NilError(t, Text(&b, run, Options{}))
	assert.Equal(t, b.String(), "the run ended early: boot the kernel: no answer\n    last line\\x1b\nunfinished: no cases on 6.1 (v6.1)\n")
}

func TestDetail(t *testing.T) {
	var b strings.Builder
	assert.NilError(t, Detail(&b, sample(), Options{Reproduce: reproduce}))
	golden.Assert(t, b.String(), "detail.golden")
}

func TestProfile(t *testing.T) {
	var b strings.Builder
	assert.NilError(t, Profile(&b, sample()))
	golden.Assert(t, b.String(), "profile.golden")
}

func TestRuns(t *testing.T) {
	a, b, c := *sample(), *sample(), *sample()
	b.ID, b.State, b.Cases, b.Build.Release = "20261124T043001Z-aaaa", results.Unfinished, b.Cases[:1], "6.1.0\t\x1b-56"
	c.Upstream, c.Failure = results.Unknown, "no accelerator"
	var out strings.Builder
	assert.NilError(t, Runs(&out, []results.Run{a, b, c}))
	golden.Assert(t, out.String(), "runs.golden")
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"plain\tüber 漢":       "plain\tüber 漢",
		"\x1b[31mred\x07\x7f": `\x1b[31mred\x07\x7f`,
		"a\r\b\x00":           `a\x0d\x08\x00`,
		"\xc3\x28\xff":        `\xc3(\xff`,
		"\u202eabc\u2066":     `\u202eabc\u2066`,
		"\u200b\u2028\u0085":  `\u200b\u2028\u0085`,
		"\U000e0041":          `\U000e0041`,
		"\ufffd":              "\ufffd",
	} {
		assert.Equal(t, Escape(in), want)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("\x1b[0m\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		assert.Equal(t, Escape(got), got)
		assert.Assert(t, !strings.ContainsAny(got, "\x1b\r\n\x00\u202e"))
	})
}

// A full disk must not look like a written report.
func TestTextTellsOfAWriteError(t *testing.T) {
	assert.ErrorContains(t, Text(broken{}, sample(), Options{}), "write the report")
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left on device")
