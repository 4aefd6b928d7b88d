package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/results/report"
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/all"
)

// runFlags are what a person can say to kplay run.
type runFlags struct {
	suites, cases, modules []string
	features               []string
	accel, rc, results     string
	memory, smp, parallel  int
	isolate                string
	seed, ops              string
	vmcore, long           bool
	timeout                time.Duration
	json, verbose, profile bool
}

const runLong = `Boot a kernel in a throw-away machine, run the suites in it, and keep the run.

KERNEL is a bzImage, a .deb of a kernel image, a directory a kernel package is
installed or unpacked in, or apt:PACKAGE. Without it, this machine's own kernel
is tested if it can be read, else the newest one the distribution offers, which
is downloaded but not installed.

Exit status: 0 all as expected, 1 the kernel failed something, 2 bad usage or
input, 3 the harness could not do its job.`

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run [KERNEL]", Short: "Test a kernel", Long: runLong, Args: between(0, 1),
		RunE: f.run,
	}
	fs := c.Flags()
	fs.StringArrayVar(&f.suites, "suite", nil, "run only this suite (repeatable)")
	fs.StringArrayVar(&f.cases, "case", nil, "run only cases that match this `glob`, as suite/case or case (repeatable)")
	fs.BoolVar(&f.long, "long", false, "run the long cases, too, which are left out unless named in full")
	fs.StringVar(&f.seed, suites.Seed, "", "what cases that act at random begin from, a `number`")
	fs.StringVar(&f.ops, suites.Ops, "", "how many acts they do, a `number`")
	fs.StringVar(&f.accel, "accel", harness.Auto, "auto, kvm or tcg; auto finds out which one runs the kernel")
	fs.IntVar(&f.memory, "memory", harness.DefaultMemory, "memory of the guest, in `MiB`")
	fs.IntVar(&f.smp, "smp", harness.DefaultCPUs, "processors of the guest")
	fs.StringVar(&f.isolate, "isolate", string(harness.ByBatch), "what cases share a machine: batch, until one damages it; case, nothing; suite, as long as it lives")
	fs.IntVarP(&f.parallel, "parallel", "j", 0, "`machines` that run cases at once (default as many as processors and memory carry)")
	fs.BoolVar(&f.vmcore, "vmcore", false, "keep the guest's memory after a panic or a hang, for crash(8) and drgn")
	fs.DurationVar(&f.timeout, "timeout", 0, "deadline of every case, instead of its own")
	fs.StringArrayVar(&f.features, "feature", nil, "build the module of this feature, load it, and run its suite: `NAME` is kdbus (repeatable)")
	fs.StringArrayVar(&f.modules, "module", nil, "load this module instead of the build's own, as `NAME=FILE.ko` (repeatable)")
	fs.StringVar(&f.rc, "rc", "", "upstream release the build was cut from, as `TAG` v6.18-rc5, if it does not tell")
	fs.StringVar(&f.results, "results", "", "`directory` to keep runs in (default $XDG_STATE_HOME/kplay/results)")
	fs.BoolVar(&f.json, "json", false, "print the run as JSON")
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "show all output as it comes")
	fs.BoolVar(&f.profile, "profile", false, "show where the time of each boot went")
	c.RegisterFlagCompletionFunc("suite", completeSuites)
	c.RegisterFlagCompletionFunc("case", completeCases)
	c.RegisterFlagCompletionFunc("isolate", cobra.FixedCompletions(harness.Isolations, cobra.ShellCompDirectiveNoFileComp))
	c.RegisterFlagCompletionFunc("accel", cobra.FixedCompletions([]string{harness.Auto, "kvm", "tcg"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (f *runFlags) run(c *cobra.Command, args []string) error {
	p, err := f.plan()
	if err != nil {
		return err
	}
	show := newProgress(c.ErrOrStderr(), f.verbose, count(p.Suites))
	ref := strings.Join(args, "")
	p.Build, err = kernel.Open(c.Context(), ref, kernel.Options{Cache: p.Cache, Progress: show.Notice})
	if err != nil {
		show.close()
		return err
	}
	if err := f.deliver(c.Context(), &p, show.Notice); err != nil {
		show.close()
		return err
	}
	if len(f.suites)+len(f.cases) == 0 {
		if p.Suites, err = present(p, show.Notice); err != nil {
			show.close()
			return err
		}
		show.expect(count(p.Suites))
	}
	p.Watch, p.Args, p.Version = show, os.Args, version()
	show.Notice(fmt.Sprintf("kernel %s (%s)", p.Build.Release, nonEmpty(p.Upstream, p.Build.Upstream.String(), "upstream release unknown")))
	run, err := harness.Execute(c.Context(), p)
	show.close()
	var user kernel.UserError
	if run == nil || errors.As(err, &user) {
		return err
	}
	return errors.Join(f.show(c.OutOrStdout(), run, ref), err, judge(run, err))
}

// deliver builds the modules of the features that the run is to have besides what
// the build carries.
func (f *runFlags) deliver(ctx context.Context, p *harness.Plan, notice func(string)) error {
	for _, feature := range f.features {
		if _, given := p.Replace[feature]; given {
			continue
		}
		path, err := buildModule(ctx, p.Build, "", kernel.Options{Cache: p.Cache, Progress: notice})
		if err != nil {
			return err
		}
		if p.Replace == nil {
			p.Replace = make(map[string]string)
		}
		p.Replace[feature] = path
	}
	return nil
}

// present leaves out the suites of features that are surely not there, and says
// so: who names a suite or a case has them skipped one by one.
func present(p harness.Plan, notice func(string)) (kept []suites.Suite, err error) {
	for _, s := range p.Suites {
		absent, err := p.Absent(s)
		if err != nil {
			return nil, err
		}
		if absent {
			notice(fmt.Sprintf("suite %s is left out: this kernel has no %s; --feature %s gives it one", s.Name, s.Feature, s.Feature))
			continue
		}
		kept = append(kept, s)
	}
	return kept, nil
}

// plan checks everything that can be checked without a kernel.
func (f *runFlags) plan() (p harness.Plan, err error) {
	if p.Suites, err = choose(all.Suites(), f.suites, f.cases, f.long); err != nil {
		return p, err
	}
	if p.Params, err = f.params(p.Suites); err != nil {
		return p, err
	}
	if !slices.Contains([]string{harness.Auto, "kvm", "tcg"}, f.accel) {
		return p, usageError{fmt.Errorf("--accel %s: choose auto, kvm or tcg", f.accel)}
	}
	if !slices.Contains(harness.Isolations, f.isolate) {
		return p, usageError{fmt.Errorf("--isolate %s: choose batch, case or suite", f.isolate)}
	}
	if f.smp < 1 || f.timeout < 0 || f.parallel < 0 {
		return p, usageError{errors.New("--smp must be at least 1, and --timeout and -j positive")}
	}
	if f.rc != "" {
		v, err := kernel.ParseVersion(f.rc)
		if err != nil {
			return p, fmt.Errorf("--rc: %w", err)
		}
		p.Upstream = v.String()
	}
	for _, feature := range f.features {
		if err := carried(feature); err != nil {
			return p, err
		}
	}
	if p.Replace, err = replacements(f.modules); err != nil {
		return p, err
	}
	if p.Results = f.results; p.Results == "" {
		if p.Results, err = results.DefaultDir(); err != nil {
			return p, err
		}
	}
	p.Cache, err = cacheDir()
	p.Accel, p.Memory, p.CPUs, p.Timeout, p.Profile = f.accel, f.memory, f.smp, f.timeout, f.profile
	p.Isolate, p.Parallel, p.Vmcore = harness.Isolation(f.isolate), f.parallel, f.vmcore
	return p, err
}

func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(dir, "kplay"), nil
}

func replacements(flags []string) (map[string]string, error) {
	replace := make(map[string]string)
	for _, m := range flags {
		name, file, ok := strings.Cut(m, "=")
		if !ok || name == "" || file == "" {
			return nil, usageError{fmt.Errorf("--module %s: write NAME=FILE.ko", m)}
		}
		replace[strings.ReplaceAll(name, "-", "_")] = file
	}
	return replace, nil
}

// show prints what was found.
func (f *runFlags) show(w io.Writer, run *results.Run, ref string) error {
	if f.json {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(run)
	}
	o := textOptions(w)
	o.Verbose = f.verbose
	o.Reproduce = func(r results.Result) string { return f.reproduce(ref, r) }
	if err := report.Text(w, run, o); err != nil {
		return err
	}
	if f.profile {
		if err := report.Profile(w, run); err != nil {
			return err
		}
	}
	if run.Dir != "" {
		fmt.Fprintln(w, "run kept in", run.Dir)
	}
	return nil
}

// reproduce is the command that runs one case again as it was run.
func (f *runFlags) reproduce(ref string, r results.Result) string {
	words := []string{"kplay", "run"}
	if ref != "" {
		words = append(words, quote(ref))
	}
	for _, feature := range f.features {
		words = append(words, "--feature", quote(feature))
	}
	for _, m := range f.modules {
		words = append(words, "--module", quote(m))
	}
	if f.accel != harness.Auto {
		words = append(words, "--accel", f.accel)
	}
	if f.memory != harness.DefaultMemory {
		words = append(words, "--memory", fmt.Sprint(f.memory))
	}
	if f.smp != harness.DefaultCPUs {
		words = append(words, "--smp", fmt.Sprint(f.smp))
	}
	if f.isolate != string(harness.ByBatch) {
		words = append(words, "--isolate", f.isolate)
	}
	if f.timeout != 0 {
		words = append(words, "--timeout", f.timeout.String())
	}
	return strings.Join(append(words, r.Again()), " ")
}

// quote makes a word that a shell takes as it is.
func quote(word string) string {
	if !strings.ContainsAny(word, " \t\n'\"\\$&|;<>()*?[]{}~`#!") {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// judge is the verdict on the whole run.
func judge(run *results.Run, err error) error {
	if err != nil {
		return nil // it says more
	}
	for _, r := range run.Cases {
		if r.Verdict == results.Error {
			return fmt.Errorf("%s: %s", r.FullName(), r.Reason)
		}
	}
	if !run.Good() {
		return errKernelFailed
	}
	return nil
}

// textOptions suit what w is.
func textOptions(w io.Writer) report.Options {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return report.Options{}
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		width = 0
	}
	return report.Options{Color: os.Getenv("NO_COLOR") == "", Width: width}
}

func nonEmpty(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

func count(all []suites.Suite) int {
	n := 0
	for _, s := range all {
		n += len(s.Cases)
	}
	return n
}
