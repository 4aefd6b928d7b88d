// Package harness takes one build through its suites: it plans what the guest
// needs, boots it once and freezes it, has the cases run in clones, judges each
// by what the guest and the kernel say, takes a new clone after one that was
// damaged, and records everything.
//
// The story is told by Execute; Session is the same for a caller that asks for
// cases one at a time.
package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
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
	broken := s.all(ctx)
	run, err := s.Close(broken)
	if broken != nil {
		err = broken
	}
	return run, err
}

// all has workers run all cases, and returns why they stopped early, if they did.
func (s *Session) all(ctx context.Context) error {
	batches := s.plan.batches()
	queue := make(chan batch, len(batches))
	for _, b := range batches {
		queue <- b
	}
	close(queue)
	var first struct {
		sync.Mutex
		err error
	}
	broken := func() error {
		first.Lock()
		defer first.Unlock()
		return first.err
	}
	var workers sync.WaitGroup
	for range min(s.plan.Parallel, len(batches)) {
		workers.Go(func() {
			err := (&worker{s: s}).work(ctx, queue, broken)
			first.Lock()
			defer first.Unlock()
			if first.err == nil {
				first.err = err
			}
		})
	}
	workers.Wait()
	return first.err
}

// Case runs one case, on the machine of the case before if that one left it
// sound, else on a new one. With an error there is no use in going on; the
// result is then MISS. It is for one goroutine.
func (s *Session) Case(ctx context.Context, suite suites.Suite, c suites.Case) (results.Result, error) {
	return s.worker.run(ctx, suite, c)
}

// feature gives the case's result if the build breaks its promise of the
// suite's feature. Where nobody has promised anything, for the modules were left
// at home, it is the user's error.
func (s *Session) feature(suite suites.Suite, c suites.Case, l *link) (*results.Result, error) {
	f, ok, err := carried(suite)
	facts := s.frozen.Ready.Facts
	if err != nil || !ok || f.present(facts.Filesystems) {
		return nil, nil
	}
	reason := f.absence(facts.Release)
	if s.plan.Build.Modules == "" {
		return nil, kernel.UserError(fmt.Sprintf("%s; name the package or directory that %s came with, or the modules by --module NAME=FILE.ko",
			reason, s.plan.Build.Image))
	}
	return &results.Result{Suite: suite.Name, Case: c.Name, Verdict: results.Fail, Reason: reason, Boot: l.number, Started: time.Now()}, nil
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
	s.mu.Lock()
	s.run.Cases = append(s.run.Cases, res)
	s.save()
	s.mu.Unlock()
	s.plan.Watch.Ended(res)
	return res
}

// save keeps the first error; the run goes on without a record rather than not
// at all. s.mu is held, or nothing else runs.
func (s *Session) save() {
	if s.writer == nil || s.saveErr != nil {
		return
	}
	if s.saveErr = s.writer.Save(s.run); s.saveErr != nil {
		s.plan.Watch.Notice("the run is not saved any further: " + s.saveErr.Error())
	}
}
