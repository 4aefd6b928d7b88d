package harness

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
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
	Params   suites.Params     // what the cases that take them are told
	Replace  map[string]string // module name to a .ko file that takes its place
	Accel    string            // Auto, "kvm" or "tcg"
	Memory   int               // MiB; 0 means DefaultMemory
	CPUs     int               // 0 means DefaultCPUs
	Isolate  Isolation         // empty means ByBatch
	Parallel int               // clones that run cases at once; 0 means as many as processors and memory carry
	Vmcore   bool              // keep the guest's memory after a panic or a hang
	Timeout  time.Duration     // of every case, by the host's clock; 0 means its own, stretched as the guest is slow
	Upstream string            // overrides what the build says, as "v6.18-rc5"
	Profile  bool              // have the guest tell more of where its boot's time went
	Cache    string            // directory for what can be made again
	Results  string            // directory to save the run in; empty means not to save it
	Args     []string          // the command line, for the record
	Version  string            // of this program, for the record
	Watch    Watcher           // may be nil
}

// An Isolation says what cases share a machine.
type Isolation string

// The isolations.
const (
	// ByBatch has cases share a clone until one of them leaves it damaged.
	ByBatch Isolation = "batch"
	// ByCase gives every case a clone of its own.
	ByCase Isolation = "case"
	// BySuite has a suite's cases share a clone, whatever state it is in, as
	// long as it lives.
	BySuite Isolation = "suite"
)

// Isolations are all of them.
var Isolations = []string{string(ByBatch), string(ByCase), string(BySuite)}

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
	if p.Isolate == "" {
		p.Isolate = ByBatch
	}
	if p.Parallel == 0 {
		p.Parallel = carry(p.Memory)
	}
	if p.Watch == nil {
		p.Watch = Deaf{}
	}
	p.Watch = &inTurn{Watcher: p.Watch}
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

// loads are the kernel modules that the plan's cases load themselves.
func (p Plan) loads() (names []string) {
	for _, s := range p.Suites {
		for _, c := range s.Cases {
			names = append(names, c.Loads...)
		}
	}
	for _, d := range p.disks() {
		names = append(names, d.Modules...)
	}
	return names
}

// disks are those that the plan's cases ask for.
func (p Plan) disks() (all []suites.Disk) {
	for _, s := range p.Suites {
		for _, d := range s.Disks {
			if slices.ContainsFunc(s.Cases, func(c suites.Case) bool { return slices.Contains(c.Disks, d.Name) }) {
				all = append(all, d)
			}
		}
	}
	return all
}

// carry is how many clones with so much memory, in MiB, this host can run at
// once: one for each processor, as long as the worst case, all their memory
// their own, fits into half of what is free.
func carry(memory int) int {
	n := runtime.NumCPU()
	var free uint64
	b, _ := os.ReadFile("/proc/meminfo")
	if _, after, ok := strings.Cut(string(b), "MemAvailable:"); ok {
		if _, err := fmt.Sscan(after, &free); err == nil { // KiB
			n = min(n, int(free>>11)/memory)
		}
	}
	return max(1, n)
}

// sort puts results into the order in which the plan has their cases.
func (p Plan) sort(all []results.Result) {
	place := make(map[string]int)
	for _, s := range p.Suites {
		for _, c := range s.Cases {
			place[s.FullName(c)] = len(place)
		}
	}
	slices.SortStableFunc(all, func(a, b results.Result) int { return place[a.FullName()] - place[b.FullName()] })
}
