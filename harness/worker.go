package harness

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
)

// A worker runs cases one after the other, on a clone as long as that is fit for
// it.
type worker struct {
	s    *Session
	link *link // nil if the next case needs a new clone

	// next is the clone after this one, being made ready, or nil. One is made
	// once it is likely to be needed.
	next chan spared
	used bool // a clone of this worker has ended
}

// spared is a spare, or why there is none.
type spared struct {
	spare *spare
	from  *frozen
	err   error
}

// machine gives a clone that is fit for a case.
func (w *worker) machine(ctx context.Context) (*link, error) {
	if w.link != nil {
		return w.link, nil
	}
	l, from, err := w.clone(ctx)
	if err != nil && from != nil && from.kept && ctx.Err() == nil {
		// Whatever a kept template is worth, the build is not judged by it.
		w.s.plan.Watch.Notice("a template is thrown away: no clone of it could be started: " + err.Error())
		w.s.forget(from)
		l, _, err = w.clone(ctx)
	}
	if err != nil {
		return nil, err
	}
	w.link = l
	if w.used || w.s.plan.Isolate == ByCase {
		w.next = w.prepare(ctx)
	}
	return l, nil
}

// prepare starts a spare in the background.
func (w *worker) prepare(ctx context.Context) chan spared {
	c := make(chan spared, 1)
	go func() { c <- w.spare(ctx) }()
	return c
}

func (w *worker) spare(ctx context.Context) spared {
	f, err := w.s.template(ctx)
	if err != nil {
		return spared{err: err}
	}
	sp, err := f.spare(ctx)
	return spared{sp, f, err}
}

// clone starts a clone, the spare if there is one, and begins its record.
func (w *worker) clone(ctx context.Context) (*link, *frozen, error) {
	var got spared
	if w.next != nil {
		got, w.next = <-w.next, nil
	} else {
		got = w.spare(ctx)
	}
	if got.err != nil {
		return nil, got.from, got.err
	}
	n := w.s.number(results.Boot{Kind: results.KindClone})
	l, err := got.from.begin(ctx, got.spare, n)
	if err != nil {
		w.s.amend(n, func(b *results.Boot) { b.End, b.Reason = "error", err.Error() })
		return nil, got.from, err
	}
	w.s.admit(l)
	return l, got.from, nil
}

// admit has what the machine says recorded.
func (s *Session) admit(l *link) {
	s.amend(l.number, func(b *results.Boot) { b.Phases = l.phases })
	if s.writer != nil {
		l.console.keep(func() (io.WriteCloser, error) { return s.writer.Console(l.number) })
		l.log = func(e event.Event) { s.writer.Event(l.number, e) }
	}
	go l.listen()
}

// amend changes the record of a machine.
func (s *Session) amend(number int, change func(*results.Boot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.run.Boots[number-1])
}

// run runs one case. With an error there is no use in going on; the result is
// then MISS.
func (w *worker) run(ctx context.Context, suite suites.Suite, c suites.Case) (results.Result, error) {
	s := w.s
	l, err := w.machine(ctx)
	if err != nil {
		return s.miss(suite, c, err), err
	}
	if res, err := s.feature(suite, c, l); res != nil || err != nil {
		if err != nil {
			return s.miss(suite, c, err), err
		}
		return s.record(*res), nil
	}
	s.plan.Watch.Started(suite.FullName(c))
	res, after := l.runCase(ctx, suite, c, s)
	if after == dead || s.plan.Isolate != BySuite && after == damaged || s.plan.Isolate == ByCase {
		w.retire(res)
	}
	return s.record(res), ctx.Err()
}

// retire ends the machine that a case has damaged, or had for itself.
func (w *worker) retire(res results.Result) {
	w.end(strings.ToLower(string(res.Verdict)), strings.TrimSuffix(res.FullName()+": "+res.Reason, ": "))
}

// end ends the worker's machine and completes its record.
func (w *worker) end(how, why string) {
	l := w.link
	l.kill()
	l.console.close()
	w.link, w.used = nil, true
	ending := l.machine.Ending()
	w.s.amend(l.number, func(b *results.Boot) {
		b.End, b.Reason, b.Wall, b.CPU = how, why, ending.Wall, ending.CPU
		b.Phases = append(b.Phases, results.Phase{Name: "cases", Wall: time.Since(l.greeted)})
	})
}

// close ends what the worker has running.
func (w *worker) close() {
	if w.link != nil {
		w.link.stop()
		w.end("bye", "")
	}
	if w.next != nil {
		if got := <-w.next; got.spare != nil {
			got.spare.end()
		}
		w.next = nil
	}
}

// A batch is cases that are run by one worker.
type batch struct {
	suite suites.Suite
	cases []suites.Case
}

// batches divides the plan's cases among workers.
func (p Plan) batches() (all []batch) {
	for _, s := range p.Suites {
		if p.Isolate == BySuite {
			all = append(all, batch{s, s.Cases})
			continue
		}
		for i := range s.Cases {
			all = append(all, batch{s, s.Cases[i : i+1]})
		}
	}
	return all
}

// work runs batches until there are no more, or an error comes up. What was not
// reached is MISS.
func (w *worker) work(ctx context.Context, queue <-chan batch, broken func() error) error {
	defer w.close()
	var failed error
	for b := range queue {
		if w.link != nil && w.s.plan.Isolate == BySuite {
			w.link.stop()
			w.end("bye", "")
		}
		for _, c := range b.cases {
			if why := errors.Join(failed, broken()); why != nil {
				w.s.miss(b.suite, c, why)
				continue
			}
			if _, err := w.run(ctx, b.suite, c); err != nil {
				failed = err
			}
		}
	}
	return failed
}
