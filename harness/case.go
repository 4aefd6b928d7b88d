package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	watch  Watcher
	suite  suites.Suite
	res    results.Result
	from   int64 // where the console stood when it began
	output strings.Builder
	kmsg   strings.Builder // what the kernel said, one record a line
}

// runCase runs one case and judges it. sound says that the machine is fit for
// another one.
func (l *link) runCase(ctx context.Context, suite suites.Suite, c suites.Case, limit time.Duration, watch Watcher) (res results.Result, sound bool) {
	w := &witness{link: l, watch: watch, suite: suite, from: l.console.mark()}
	w.res = results.Result{Suite: suite.Name, Case: c.Name, Boot: l.number, Started: time.Now()}
	for _, e := range l.early {
		w.hear(e)
	}
	l.early = nil
	if limit == 0 {
		limit = time.Duration(float64(c.Deadline()) * max(1, l.stretch/reserve))
	}
	if err := l.conn.Send(event.Event{Kind: event.Run, Case: suite.FullName(c), Alone: c.Alone}); err != nil {
		w.res.Verdict, w.res.Reason = results.Error, "tell the guest to run the case: "+err.Error()
	} else {
		sound = w.follow(ctx, limit)
	}
	w.res.Duration = time.Since(w.res.Started)
	w.res.Output = w.output.String()
	if w.res.Verdict != results.Pass && w.res.Verdict != results.Skip {
		w.res.Console = w.excerpt()
	}
	return w.res, sound
}

// follow listens until the case has a verdict.
func (w *witness) follow(ctx context.Context, limit time.Duration) (sound bool) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	var suspect <-chan time.Time // a panic was read; passes if nobody proves it wrong
	for {
		select {
		case e, ok := <-w.events:
			switch {
			case !ok:
				w.silent()
				return false
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
			return false
		case <-w.machine.Done():
			w.drain()
			w.dead(w.machine.Ending().Cause)
			return false
		case <-deadline.C:
			w.hung(limit)
			return false
		case <-ctx.Done():
			w.res.Verdict, w.res.Reason = results.Miss, "interrupted"
			return false
		}
	}
}

func (w *witness) name() string { return w.suite.Name + "/" + w.res.Case }

func (w *witness) hear(e event.Event) {
	switch e.Kind {
	case event.Output:
		w.output.WriteString(e.Text)
		w.watch.Output(w.name(), e.Text)
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
func (w *witness) finished(e event.Event) (sound bool) {
	if e.Dropped > 0 {
		fmt.Fprintf(&w.output, "[%d more bytes of output]\n", e.Dropped)
	}
	w.res.Records = crash.Scan([]byte(w.kmsg.String()))
	fresh := e.Taint &^ w.taint
	w.taint = e.Taint
	w.res.Verdict, w.res.Reason = verdictOf(e, w.res.Records, fresh)
	return len(w.res.Records) == 0 && fresh == 0 && w.res.Verdict != results.Error
}

// dead judges a case during which the machine ended, or no longer answers after
// the text of a panic.
func (w *witness) dead(cause string) {
	if cause == "" {
		w.machine.Kill()
		<-w.machine.Done()
		w.drain()
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
	if !answered {
		w.res.Reason += "; the guest does not answer"
	}
	w.res.Records = crash.Scan([]byte(w.kmsg.String()))
	if worst := crash.Worst(w.res.Records); worst != nil && worst.Damaging() {
		w.res.Verdict, w.res.Reason = results.Crash, worst.Summary()+" (and "+w.res.Reason+")"
	}
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
