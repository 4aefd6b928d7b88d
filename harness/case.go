package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
)

// kernelFacility is the facility of records that the kernel itself wrote; user
// space cannot write any under it.
const kernelFacility = 0

// reserve is how much slower than this host a guest may be before deadlines are
// stretched: they hold that much for a machine under load.
const reserve = 5

// consoleExcerpt bounds what a result keeps of the kernel's words, in bytes.
const consoleExcerpt = 64 << 10

// A witness hears one case from its beginning to its verdict.
type witness struct {
	*link
	session *Session
	suite   suites.Suite
	res     results.Result
	from    int64 // where the console stood when it began
	output  strings.Builder
	kmsg    strings.Builder // what the kernel said, one record a line
}

// An aftermath is what a case leaves of its machine.
type aftermath int

const (
	sound   aftermath = iota // fit for another case
	damaged                  // it lives, but the kernel complained or is tainted
	dead                     // it does not answer, or is gone
)

// runCase runs one case and judges it.
func (l *link) runCase(ctx context.Context, suite suites.Suite, c suites.Case, s *Session) (results.Result, aftermath) {
	w := &witness{link: l, session: s, suite: suite, from: l.console.mark()}
	w.res = results.Result{Suite: suite.Name, Case: c.Name, Params: c.Taken(s.plan.Params), Boot: l.number, Started: time.Now()}
	limit := s.plan.Timeout
	if limit == 0 {
		limit = time.Duration(float64(c.Deadline(s.plan.Params)) * max(1, l.stretch/reserve))
	}
	after := dead
	if err := l.conn.Send(event.Event{Kind: event.Run, Case: suite.FullName(c), Alone: c.Alone, Params: suites.Params(w.res.Params).String(), WallNS: time.Now().UnixNano()}); err != nil {
		w.res.Verdict, w.res.Reason = results.Error, "tell the guest to run the case: "+err.Error()
	} else {
		after = w.follow(ctx, limit)
	}
	w.res.Duration = time.Since(w.res.Started)
	w.res.Output = w.output.String()
	pin(w.res.Records, w.name())
	if w.res.Verdict != results.Pass && w.res.Verdict != results.Skip {
		w.res.Console = w.excerpt()
	}
	return w.res, after
}

// follow listens until the case has a verdict.
func (w *witness) follow(ctx context.Context, limit time.Duration) aftermath {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	var suspect <-chan time.Time // a panic was read; passes if nobody proves it wrong
	for {
		select {
		case e, ok := <-w.events:
			switch {
			case !ok:
				w.silent()
				return dead
			case e.Kind == event.Finish && e.Case == w.name():
				return w.finished(e)
			case e.Kind == event.Pong && suspect != nil:
				suspect = nil // the agent lives, so it was no panic
				w.console.rearm()
			}
			w.hear(e)
		case <-w.console.fatal:
			suspect = time.After(witnessWait)
			go w.conn.Send(event.Event{Kind: event.Ping})
		case <-suspect:
			w.dead("")
			return dead
		case <-w.machine.Panicked():
			w.dump()
			w.dead("")
			return dead
		case <-w.machine.Done():
			w.drain()
			w.dead(w.machine.Ending().Cause)
			return dead
		case <-deadline.C:
			w.hung(limit)
			return dead
		case <-ctx.Done():
			w.res.Verdict, w.res.Reason = results.Miss, "interrupted"
			return dead
		}
	}
}

func (w *witness) name() string { return w.suite.Name + "/" + w.res.Case }

func (w *witness) hear(e event.Event) {
	switch e.Kind {
	case event.Output:
		w.output.WriteString(e.Text)
		w.session.plan.Watch.Output(w.name(), e.Text)
	case event.Kmsg:
		if e.Facility == kernelFacility {
			w.kmsg.WriteString(e.Text + "\n")
		}
	}
}

// drain hears what the guest had said before its machine ended.
func (w *witness) drain() {
	for {
		select {
		case e, ok := <-w.events:
			if !ok {
				return
			}
			w.hear(e)
		case <-time.After(witnessWait):
			return
		}
	}
}

// finished judges a case that came to its end.
func (w *witness) finished(e event.Event) aftermath {
	if e.Dropped > 0 {
		fmt.Fprintf(&w.output, "[%d more bytes of output]\n", e.Dropped)
	}
	w.res.Records = crash.Scan([]byte(w.kmsg.String()))
	fresh := e.Taint &^ w.taint
	w.taint = e.Taint
	w.res.Verdict, w.res.Reason = verdictOf(e, w.res.Records, fresh)
	if crash.Worst(w.res.Records) != nil || fresh != 0 || w.res.Verdict == results.Error {
		return damaged
	}
	return sound
}

// dead judges a case during which the machine ended, or no longer answers after
// the text of a panic.
func (w *witness) dead(cause string) {
	if cause == "" {
		w.machine.Kill()
		<-w.machine.Done()
		w.drain()
	}
	if w.machine.Starved() {
		w.res.Verdict, w.res.Reason = results.Timeout, "the kernel stopped, and with it the feeding of its watchdog"
		w.point()
		return
	}
	said := crash.Scan([]byte(w.kmsg.String()))
	w.res.Verdict, w.res.Reason, w.res.Records = verdictOfDead(w.console.since(w.from), said, cause)
}

// silent judges a case during which the channel broke. If the machine ended
// with it, that is what counts.
func (w *witness) silent() {
	select {
	case <-w.machine.Done():
		w.dead(w.machine.Ending().Cause)
		return
	case <-time.After(witnessWait):
	}
	why := w.lost
	if why == nil || errors.Is(why, io.EOF) {
		why = io.ErrUnexpectedEOF
	}
	w.res.Verdict, w.res.Reason = results.Error, "the guest's channel broke: "+why.Error()
}

// hung judges a case that did not end in time, and first has the kernel say
// what its tasks wait for.
func (w *witness) hung(limit time.Duration) {
	w.res.Verdict = results.Timeout
	w.res.Reason = fmt.Sprintf("not finished after %v", limit.Round(time.Millisecond))
	go w.conn.Send(event.Event{Kind: event.Dump})
	records, answered := w.until(event.Pong, 2*witnessWait)
	for _, e := range records {
		w.hear(e)
	}
	w.res.Records = crash.Scan([]byte(w.kmsg.String()))
	if worst := crash.Worst(w.res.Records); worst != nil && worst.Damaging() {
		w.res.Verdict, w.res.Reason = results.Crash, worst.Summary()+" (and "+w.res.Reason+")"
	}
	if !answered {
		w.res.Reason += "; the guest does not answer"
		w.interrupt()
	}
	w.dump()
}

// interrupt has a kernel that listens to nothing else say where it is: it was
// told to panic on an NMI. Its words then go with the result but, having been
// asked for, make no verdict.
func (w *witness) interrupt() {
	if err := w.machine.NMI(); err != nil {
		w.res.Reason += "; " + err.Error()
		return
	}
	select {
	case <-w.machine.Done():
	case <-w.machine.Panicked():
	case <-time.After(2 * witnessWait):
		return
	}
	w.point()
}

// point says where the kernel was when an NMI came.
func (w *witness) point() {
	said := crash.Scan(w.console.since(w.from))
	if len(said) == 0 {
		return
	}
	w.res.Records = said
	if where := said[0].Func; where != "" {
		w.res.Reason += "; it was in " + where
	}
}

// dump keeps the guest's memory, if that was asked for.
func (w *witness) dump() {
	s := w.session
	if !s.plan.Vmcore || s.writer == nil {
		return
	}
	name := fmt.Sprintf("vmcore-%d", w.number)
	path, err := filepath.Abs(filepath.Join(s.writer.Dir(), name))
	if err == nil {
		err = w.machine.Dump(path)
	}
	if err != nil {
		os.Remove(path)
		s.plan.Watch.Notice(fmt.Sprintf("no vmcore of %s: %v", w.name(), err))
		return
	}
	s.amend(w.number, func(b *results.Boot) { b.Vmcore = name })
}

// excerpt is what the kernel said during the case: its log as it reached the
// host, or the console if that knows more.
func (w *witness) excerpt() string {
	console, log := w.console.since(w.from), w.kmsg.String()
	text := string(console)
	if len(log) > len(text) {
		text = log
	}
	if over := len(text) - consoleExcerpt; over > 0 {
		text = fmt.Sprintf("[%d earlier bytes]\n", over) + text[over:]
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
