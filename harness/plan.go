package harness

import (
	"time"

	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
)

// What a machine is given if a Plan does not say.
const (
	DefaultMemory = 512 // MiB
	DefaultCPUs   = 1
	// MinMemory is the least that a distribution kernel, the agent and a case
	// fit into, in MiB.
	MinMemory = 128
)

// Auto leaves the accelerator to be found out by booting.
const Auto = "auto"

// A Plan says what is to be done with a build.
type Plan struct {
	Build    *kernel.Build
	Suites   []suites.Suite    // with the cases that were chosen
	Replace  map[string]string // module name to a .ko file that takes its place
	Accel    string            // Auto, "kvm" or "tcg"
	Memory   int               // MiB; 0 means DefaultMemory
	CPUs     int               // 0 means DefaultCPUs
	Timeout  time.Duration     // of every case, by the host's clock; 0 means its own, stretched as the guest is slow
	Upstream string            // overrides what the build says, as "v6.18-rc5"
	Profile  bool              // have the guest tell more of where its boot's time went
	Cache    string            // directory for what can be made again
	Results  string            // directory to save the run in; empty means not to save it
	Args     []string          // the command line, for the record
	Version  string            // of this program, for the record
	Watch    Watcher           // may be nil
}

// A Watcher is told what happens while it happens. Its methods are called from
// one goroutine at a time.
type Watcher interface {
	// Notice is given one line that is worth a person's while.
	Notice(line string)
	// Started says that a case begins, Output what it prints.
	Started(name string)
	Output(name, text string)
	// Ended is given the verdict.
	Ended(results.Result)
}

// Deaf is a Watcher that ignores everything.
type Deaf struct{}

// Notice does nothing.
func (Deaf) Notice(string) {}

// Started does nothing.
func (Deaf) Started(string) {}

// Output does nothing.
func (Deaf) Output(string, string) {}

// Ended does nothing.
func (Deaf) Ended(results.Result) {}

func (p Plan) withDefaults() Plan {
	if p.Accel == "" {
		p.Accel = Auto
	}
	if p.Memory == 0 {
		p.Memory = DefaultMemory
	}
	if p.CPUs == 0 {
		p.CPUs = DefaultCPUs
	}
	if p.Watch == nil {
		p.Watch = Deaf{}
	}
	if p.Upstream == "" {
		p.Upstream = p.Build.Upstream.String()
	}
	if p.Upstream == "" {
		p.Upstream = "unknown"
	}
	return p
}

// modules are the kernel modules the plan's suites need, and those their cases
// like to have.
func (p Plan) modules() (names []string) {
	for _, s := range p.Suites {
		names = append(names, s.Modules...)
		for _, c := range s.Cases {
			names = append(names, c.Helpful...)
		}
	}
	for name := range p.Replace {
		names = append(names, name)
	}
	return names
}
