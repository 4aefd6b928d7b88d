// Package results keeps what was found out: a Run is one build through its
// suites, a Result is one case in it. A run lies in a directory of its own,
// filed under the upstream release its build was cut from.
package results

import (
	"maps"
	"slices"
	"time"

	"github.com/kernel-playground/kplay/harness/crash"
)

// Schema is the version of run.json this program writes. Readers accept it and
// every version before it.
const Schema = 1

// A Verdict is what became of a case.
type Verdict string

// The verdicts. MISS and ERROR say nothing about the kernel: the case was not
// reached, or the harness could not do its job.
const (
	Pass    Verdict = "PASS"
	Fail    Verdict = "FAIL"
	Skip    Verdict = "SKIP"
	XFail   Verdict = "XFAIL" // failed as a known issue says it does
	XPass   Verdict = "XPASS" // passed although a known issue says it does not
	Crash   Verdict = "CRASH" // the kernel died or oopsed
	Timeout Verdict = "TIMEOUT"
	Miss    Verdict = "MISS"
	Error   Verdict = "ERROR"
)

// Verdicts lists all verdicts in the order they are shown.
var Verdicts = []Verdict{Pass, Fail, Skip, XFail, XPass, Crash, Timeout, Miss, Error}

// A State says how far a run got.
type State string

// A run that was killed stays Running on disk; List shows it as Unfinished.
const (
	Running    State = "running"
	Finished   State = "finished"
	Unfinished State = "unfinished"
)

// A Run is one build through its suites. It is the content of run.json.
type Run struct {
	Schema   int       `json:"schema"`
	ID       string    `json:"id"` // "20261124T053001Z-4f2a", unique on this machine
	State    State     `json:"state"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"`
	Upstream string    `json:"upstream"` // "v6.1.192"; "unknown" if nothing says
	Build    Build     `json:"build"`
	Host     Host      `json:"host"`
	Machine  Machine   `json:"machine"`
	Args     []string  `json:"args,omitempty"` // kplay's own command line
	Boots    []Boot    `json:"boots"`
	Cases    []Result  `json:"cases"`
	// Failure is why the harness gave up; empty if it did not.
	Failure string `json:"failure,omitempty"`
	// Dir is where the run is stored; empty if it is not.
	Dir string `json:"-"`
}

// A Build identifies the kernel under test.
type Build struct {
	NVR     string            `json:"nvr,omitempty"`
	Release string            `json:"release"`           // what uname -r prints
	Digest  string            `json:"digest"`            // SHA-256 of the kernel image, hex
	Source  string            `json:"source"`            // what the user named
	Modules map[string]string `json:"modules,omitempty"` // modules replaced by --module, with the SHA-256 of each
}

// Host is the machine the run ran on.
type Host struct {
	Name   string `json:"name"`
	Kernel string `json:"kernel"`
	CPU    string `json:"cpu"`
	CPUs   int    `json:"cpus"`
	Kplay  string `json:"kplay"` // version of this program
}

// Machine is what the guest ran on.
type Machine struct {
	QEMU        string   `json:"qemu"`  // version
	Args        []string `json:"args"`  // command line of the first boot
	Accel       string   `json:"accel"` // "kvm" or "tcg"
	AccelReason string   `json:"accel_reason"`
	Cmdline     string   `json:"cmdline"` // of the kernel
}

// The kinds of boots.
const (
	KindBoot  = "boot"  // of the kernel, up to where the guest was frozen
	KindThaw  = "thaw"  // of a guest that an earlier run had booted and frozen
	KindClone = "clone" // of a frozen guest, to run cases in
)

// A Boot is one start of a machine.
type Boot struct {
	Number int           `json:"number"` // from 1
	Kind   string        `json:"kind,omitempty"`
	Phases []Phase       `json:"phases,omitempty"`
	End    string        `json:"end"` // "frozen", "bye", "crash", "timeout", "error"
	Reason string        `json:"reason,omitempty"`
	Wall   time.Duration `json:"wall_ns"`
	CPU    time.Duration `json:"cpu_ns"`           // user and system time of the QEMU process
	Vmcore string        `json:"vmcore,omitempty"` // file with the guest's memory, beside the console log
}

// A Phase is a named stretch of a boot's wall time.
type Phase struct {
	Name string        `json:"name"`
	Wall time.Duration `json:"wall_ns"`
}

// A Result is one case in a run.
type Result struct {
	Suite    string            `json:"suite"`
	Case     string            `json:"case"`
	Params   map[string]string `json:"params,omitempty"` // what the case was told
	Verdict  Verdict           `json:"verdict"`
	Reason   string            `json:"reason,omitempty"` // one line
	Boot     int               `json:"boot,omitempty"`   // the boot it ran in
	Started  time.Time         `json:"started,omitzero"`
	Duration time.Duration     `json:"duration_ns"`       // by the host's clock
	Output   string            `json:"output,omitempty"`  // what the case logged and printed
	Console  string            `json:"console,omitempty"` // what the kernel said meanwhile, if the verdict is not PASS
	Records  []crash.Record    `json:"records,omitempty"`
}

// FullName is "suite/case".
func (r Result) FullName() string { return r.Suite + "/" + r.Case }

// Again are the words by which kplay run runs the case again as it was run.
func (r Result) Again() string {
	words := "--case " + r.FullName()
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		words += " --" + name + " " + r.Params[name]
	}
	return words
}
