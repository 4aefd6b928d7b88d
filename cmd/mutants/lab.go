package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/overlayfs"
)

// A lab builds modules in a directory of its own and tries the suite on them.
type lab struct {
	src   *source
	dir   string // a copy of the sources
	cache string
	build *kernel.Build
	suite suites.Suite
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
	dir, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return nil, err
	}
	if err := os.CopyFS(dir, os.DirFS(src.dir)); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	suite := overlayfs.Suite()
	// More of the broad ones would take longer than they find.
	suite.Cases = strided(slices.DeleteFunc(suite.Cases, func(c suites.Case) bool {
		return c.Long && strings.HasPrefix(c.Name, broad)
	}))
	return &lab{src: src, dir: dir, cache: cache, build: build, suite: suite}, nil
}

func (l *lab) close() { os.RemoveAll(l.dir) }

// stride leads from one case to the next: those of one theme are neighbours in
// the suite, and the theme that sees a mutant is to be met early.
const stride = 61

// broad is how the names of cases begin that do a little of everything.
const broad = "fuzz-"

// strided is all of the cases: the broad ones, then the others in steps of
// stride.
func strided(all []suites.Case) (out []suites.Case) {
	var cases []suites.Case
	for _, c := range all {
		if strings.HasPrefix(c.Name, broad) {
			out = append(out, c)
		} else {
			cases = append(cases, c)
		}
	}
	taken := make([]bool, len(cases))
	for at := 0; len(out) < len(all); at = (at + stride) % len(cases) {
		for taken[at] {
			at = (at + 1) % len(cases)
		}
		taken[at] = true
		out = append(out, cases[at])
	}
	return out
}

// trial builds the module with m and runs the suite until a case fails.
func (l *lab) trial(ctx context.Context, m mutant) (end ending, err error) {
	if err := l.make(ctx, m); err != nil {
		return end, err
	}
	begin := time.Now()
	s, err := harness.Open(ctx, harness.Plan{
		Build: l.build, Suites: []suites.Suite{l.suite}, Cache: l.cache,
		Replace: map[string]string{"overlay": filepath.Join(l.dir, "overlay.ko")},
	})
	if err != nil {
		return end, err
	}
	end, err = l.judge(ctx, s)
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
func (l *lab) judge(ctx context.Context, s *harness.Session) (ending, error) {
	for _, c := range l.suite.Cases {
		res, err := s.Case(ctx, l.suite, c)
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

// make builds the module, with m in it if it is one, and puts the sources back.
func (l *lab) make(ctx context.Context, m mutant) error {
	if m.file != "" {
		text, err := l.src.planted(m)
		if err != nil {
			return err
		}
		whole, err := os.ReadFile(filepath.Join(l.src.dir, m.file))
		if err != nil {
			return err
		}
		path := filepath.Join(l.dir, m.file)
		defer func() { _ = os.WriteFile(path, whole, 0o644) }()
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	_, err := output(ctx, l.dir, "make", "-C", l.src.headers, "M="+l.dir, "CONFIG_OVERLAY_FS=m", "modules")
	return err
}
