package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/overlayfs"
)

// A lab tries the suite on modules.
type lab struct {
	src     *source
	cache   string
	build   *kernel.Build
	suite   suites.Suite
	killers killers
}

// An ending is what became of a mutant.
type ending struct {
	killer string // the case that failed; empty if none did
	reason string
	took   time.Duration
}

func newLab(ctx context.Context, src *source, cache string) (*lab, error) {
	build, err := kernel.Open(ctx, src.kernel, kernel.Options{Cache: cache, Progress: func(line string) { fmt.Fprintln(os.Stderr, line) }})
	if err != nil {
		return nil, err
	}
	suite := overlayfs.Suite()
	// More of the broad ones would take longer than they find.
	suite.Cases = slices.DeleteFunc(suite.Cases, func(c suites.Case) bool { return c.Long && strings.HasPrefix(c.Name, broad) })
	return &lab{src: src, cache: cache, build: build, suite: suite, killers: make(killers)}, nil
}

// trial runs the suite on the module with m in it until a case fails.
func (l *lab) trial(ctx context.Context, m mutant) (ending, error) {
	return l.try(ctx, m, l.killers.order(m, l.suite.Cases))
}

// try is trial with some of the cases.
func (l *lab) try(ctx context.Context, m mutant, cases []suites.Case) (end ending, err error) {
	suite := l.suite
	suite.Cases = cases
	begin := time.Now()
	s, err := harness.Open(ctx, harness.Plan{
		Build: l.build, Suites: []suites.Suite{suite}, Cache: l.cache,
		Replace: map[string]string{"overlay": l.src.module(m)},
	})
	if err != nil {
		return end, err
	}
	end, err = judge(ctx, s, suite)
	_, closed := s.Close(err)
	end.took = time.Since(begin)
	var dead *harness.KernelError
	if errors.As(err, &dead) {
		end.killer, end.reason = "the boot", dead.Reason
		return end, nil
	}
	return end, errors.Join(err, closed)
}

// judge runs the cases of the suite up to the first that fails.
func judge(ctx context.Context, s *harness.Session, suite suites.Suite) (ending, error) {
	for _, c := range suite.Cases {
		res, err := s.Case(ctx, suite, c)
		if err != nil {
			return ending{}, err
		}
		switch res.Verdict {
		case results.Pass, results.Skip:
		case results.Error:
			return ending{}, errors.New(res.FullName() + ": " + res.Reason)
		default:
			return ending{killer: c.Name, reason: string(res.Verdict) + ": " + res.Reason}, nil
		}
	}
	return ending{}, nil
}
