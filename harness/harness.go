// Package harness takes one build through its suites: it plans what the guest
// needs, boots it, has the cases run one by one, judges each by what the guest
// and the kernel say, starts a new machine after one that was damaged, and
// records everything.
//
// The story is told by Execute; Session is the same for a caller that asks for
// cases one at a time.
package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
)

// A KernelError says that the kernel under test failed outside of any case: it
// died or hung while booting.
type KernelError struct {
	Reason  string // one line
	Console string // everything it wrote to its console
	Silent  bool   // it wrote nothing at all
}

func (e *KernelError) Error() string { return e.Reason }

// Execute takes the plan's build through the plan's suites. The run it returns
// is complete as far as it got, also with an error: cases that were not reached
// are MISS. An error is a kernel.UserError, a vm.HostError, a KernelError, or
// that of ctx.
func Execute(ctx context.Context, p Plan) (*results.Run, error) {
	s, err := Open(ctx, p)
	if err != nil {
		return nil, err
	}
	var broken error
	for _, suite := range p.Suites {
		for _, c := range suite.Cases {
			if broken != nil {
				s.miss(suite, c, broken)
				continue
			}
			if _, err := s.Case(ctx, suite, c); err != nil {
				broken = err
			}
		}
	}
	run, err := s.Close(broken)
	if broken != nil {
		err = broken
	}
	return run, err
}

// Case runs one case, on the machine of the case before if that one left it
// sound, else on a new one. With an error there is no use in going on; the
// result is then MISS.
func (s *Session) Case(ctx context.Context, suite suites.Suite, c suites.Case) (results.Result, error) {
	l, err := s.machine(ctx)
	if err != nil {
		return s.miss(suite, c, err), err
	}
	reason := s.broken(suite, l)
	if reason != "" && s.plan.Build.Modules == "" {
		// Nobody has promised anything: the modules were left at home.
		err := kernel.UserError(fmt.Sprintf("%s; name the package or directory that %s came with, or the modules by --module NAME=FILE.ko",
			reason, s.plan.Build.Image))
		return s.miss(suite, c, err), err
	}
	if reason != "" {
		res := results.Result{Suite: suite.Name, Case: c.Name, Verdict: results.Fail, Reason: reason, Boot: l.number, Started: time.Now()}
		return s.record(res), nil
	}
	s.plan.Watch.Started(suite.FullName(c))
	res, sound := l.runCase(ctx, suite, c, s.plan.Timeout, s.plan.Watch)
	if !sound {
		s.retire(l, res)
	}
	return s.record(res), ctx.Err()
}

// broken says how the build breaks its promise of the suite's feature, if it
// does.
func (s *Session) broken(suite suites.Suite, l *link) string {
	f, ok, err := carried(suite)
	if err != nil || !ok || f.present(l.hello.Filesystems) {
		return ""
	}
	return f.absence(l.hello.Release)
}

// miss records a case that was not reached.
func (s *Session) miss(suite suites.Suite, c suites.Case, why error) results.Result {
	return s.record(results.Result{
		Suite: suite.Name, Case: c.Name, Verdict: results.Miss, Started: time.Now(), Reason: missReason(why),
	})
}

func missReason(why error) string {
	if errors.Is(why, context.Canceled) {
		return "interrupted"
	}
	return why.Error()
}

func (s *Session) record(res results.Result) results.Result {
	s.run.Cases = append(s.run.Cases, res)
	s.save()
	s.plan.Watch.Ended(res)
	return res
}

// save keeps the first error; the run goes on without a record rather than not
// at all.
func (s *Session) save() {
	if s.writer == nil || s.saveErr != nil {
		return
	}
	if s.saveErr = s.writer.Save(s.run); s.saveErr != nil {
		s.plan.Watch.Notice("the run is not saved any further: " + s.saveErr.Error())
	}
}
