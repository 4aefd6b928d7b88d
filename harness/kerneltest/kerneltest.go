// Package kerneltest shows the cases of a suite as subtests of `go test`. The
// test binary itself is the guest's agent, so nothing is compiled for the guest
// and an edited case runs as soon as the test is built:
//
//	func TestMain(m *testing.M)       { kerneltest.Main(m, Suite()) }
//	func TestOverlayfs(t *testing.T) { kerneltest.Run(t, Suite()) }
//
// Nothing is booted before the first case that -run selects.
package kerneltest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/disk"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/results/report"
	"github.com/kernel-playground/kplay/suites"
)

// The environment chooses what the flags do not.
const (
	KernelVar = "KPLAY_KERNEL" // what kplay run takes as KERNEL
	AccelVar  = "KPLAY_ACCEL"  // auto, kvm or tcg
	LongVar   = "KPLAY_LONG"   // 1 runs the long cases, too
	SeedVar   = "KPLAY_SEED"   // what cases that act at random begin from
	OpsVar    = "KPLAY_OPS"    // how many acts they do
	ModuleVar = "KPLAY_MODULE" // what kplay run takes as --module, separated by commas
	// RequireVar makes a missing QEMU or kernel, or a missing program that makes
	// disks, a failure instead of a skip.
	RequireVar = "KPLAY_REQUIRE"
)

var (
	kernelFlag = flag.String("kernel", os.Getenv(KernelVar), "kernel to test, as `KERNEL` of kplay run (default $"+KernelVar+")")
	accelFlag  = flag.String("accel", os.Getenv(AccelVar), "auto, kvm or tcg (default $"+AccelVar+")")
	longFlag   = flag.Bool("long", os.Getenv(LongVar) == "1", "run the long cases, too (default $"+LongVar+" = 1)")
	seedFlag   = flag.String("seed", os.Getenv(SeedVar), "what cases that act at random begin from, a `number` (default $"+SeedVar+")")
	opsFlag    = flag.String("ops", os.Getenv(OpsVar), "how many acts they do, a `number` (default $"+OpsVar+")")
	moduleFlag = flag.String("module", os.Getenv(ModuleVar), "load modules instead of the build's own, as `NAME=FILE.ko,...` (default $"+ModuleVar+")")
)

// Main runs the tests. It belongs in TestMain, with the suites whose cases the
// tests run.
func Main(m *testing.M, all ...suites.Suite) {
	harness.BeGuest(all)
	os.Exit(m.Run())
}

// Run runs each case of the suite as a subtest. A machine is kept from one case
// to the next until one damages it.
func Run(t *testing.T, suite suites.Suite) {
	ctx := t.Context() // not a subtest's: machines outlive those
	var s *harness.Session
	w := &watcher{}
	var broken error
	for _, c := range suite.Cases {
		t.Run(c.Name, func(t *testing.T) {
			w.t = t
			if c.Long && !*longFlag {
				t.Skip("a long case: run with -long, or " + LongVar + "=1")
			}
			if s == nil && broken == nil {
				s, broken = open(ctx, t, suite, w)
			}
			if broken != nil {
				unavailable(t, broken)
			}
			var res results.Result
			if res, broken = s.Case(ctx, suite, c); broken != nil {
				t.Fatal(broken)
			}
			tell(t, res)
		})
	}
	if s != nil {
		w.t = t
		if _, err := s.Close(broken); err != nil {
			t.Error(err)
		}
	}
}

// Build opens the kernel the flags or the environment name, or the default one.
// Without one the test is skipped, or fails where RequireVar is set.
func Build(t testing.TB) (b *kernel.Build, cache string) {
	t.Helper()
	b, cache, err := build(t)
	if err == nil {
		_, err = vm.Find()
	}
	if err != nil {
		unavailable(t, err)
	}
	return b, cache
}

func build(t testing.TB) (*kernel.Build, string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return nil, "", err
	}
	cache := filepath.Join(dir, "kplay")
	b, err := kernel.Open(t.Context(), *kernelFlag, kernel.Options{Cache: cache, Progress: func(line string) { t.Log(line) }})
	return b, cache, err
}

func open(ctx context.Context, t *testing.T, suite suites.Suite, w harness.Watcher) (*harness.Session, error) {
	b, cache, err := build(t)
	if err == nil && os.Getenv(RequireVar) != "" {
		err = disk.Missing(suite.Disks)
	}
	if err != nil {
		return nil, err
	}
	p := harness.Plan{Build: b, Suites: []suites.Suite{suite}, Params: told(), Accel: *accelFlag, Cache: cache, Watch: w}
	if p.Replace, err = replacements(*moduleFlag); err != nil {
		return nil, err
	}
	absent, err := p.Absent(suite)
	if err != nil {
		return nil, err
	}
	if absent {
		return nil, absentError(fmt.Sprintf("%s has no %s: give it by -module %s=FILE.ko", b.Release, suite.Feature, suite.Feature))
	}
	return harness.Open(ctx, p)
}

// An absentError says that the kernel lacks a feature that nobody promised.
type absentError string

func (e absentError) Error() string { return string(e) }

// replacements reads NAME=FILE.ko pairs separated by commas.
func replacements(list string) (map[string]string, error) {
	replace := make(map[string]string)
	for pair := range strings.SplitSeq(list, ",") {
		if pair == "" {
			continue
		}
		name, file, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, kernel.UserError(fmt.Sprintf("-module %s: write NAME=FILE.ko", pair))
		}
		replace[name] = file
	}
	return replace, nil
}

// told are the parameters that the flags give.
func told() suites.Params {
	said := make(suites.Params)
	for name, value := range map[string]string{suites.Seed: *seedFlag, suites.Ops: *opsFlag} {
		if value != "" {
			said[name] = value
		}
	}
	return said
}

// unavailable ends a test that lacks what it needs on this host. A kernel that
// was there and died is another matter.
func unavailable(t testing.TB, err error) {
	t.Helper()
	var absent absentError
	if errors.As(err, &absent) {
		t.Skip(absent)
	}
	var user kernel.UserError
	var host *vm.HostError
	if os.Getenv(RequireVar) == "" && (errors.As(err, &user) || errors.As(err, &host)) {
		t.Skipf("no kernel can be tested here: %v; `kplay doctor` says how to mend it", err)
	}
	t.Fatal(err)
}

// tell gives a subtest its result.
func tell(t *testing.T, r results.Result) {
	t.Helper()
	switch r.Verdict {
	case results.Pass, results.XFail:
	case results.Skip:
		t.Skip(report.Escape(r.Reason))
	default:
		t.Error(text(r))
	}
}

// text is what a person wants to know of a case that went wrong.
func text(r results.Result) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s: %s\n", r.Verdict, report.Escape(r.Reason))
	excerpt := r.Console
	if len(r.Records) > 0 {
		excerpt = r.Records[0].Raw
	}
	for _, line := range strings.Split(strings.TrimRight(excerpt, "\n"), "\n") {
		if excerpt != "" {
			fmt.Fprintf(&s, "    kernel: %s\n", report.Escape(strings.TrimRight(line, "\r")))
		}
	}
	fmt.Fprintf(&s, "    reproduce: kplay run %s %s", *kernelFlag, r.Again())
	return s.String()
}

// A watcher passes output on to the subtest that is running.
type watcher struct {
	harness.Deaf
	t *testing.T
}

// Notice logs a line.
func (w *watcher) Notice(line string) { w.t.Log(line) }

// Output logs what the case printed.
func (w *watcher) Output(_, text string) {
	for line := range strings.Lines(text) {
		w.t.Log(report.Escape(strings.TrimRight(line, "\r\n")))
	}
}
