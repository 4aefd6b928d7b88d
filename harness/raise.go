package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/results"
)

// A raising is a guest on its way to be a frozen: stopped at the loader, its
// memory in the spec's RAM and free to be written to.
type raising struct {
	newborn
	spec   vm.Spec
	note   baseNote
	booted bool // by this program, which is its /init then
	boot   *results.Boot
}

// raise hands a guest at its loader what it needs, has it become the agent,
// freezes it for good, and keeps the template. The machine itself is then the
// first clone: it has run what a new one would have to translate first.
func (s *Session) raise(ctx context.Context, r *raising) (*frozen, error) {
	f, err := s.makeReady(ctx, r)
	if err == nil {
		begin := time.Now()
		f.State, err = r.machine.Freeze(ctx)
		if err == nil {
			s.settle(f, r)
		}
		r.boot.Phases = append(r.boot.Phases, results.Phase{Name: "freeze and keep", Wall: time.Since(begin)})
	}
	if err != nil || f.first == nil {
		r.end()
	}
	s.born(r, f, err)
	if err != nil {
		r.spec.RAM.Close()
		if key, e := s.shape(r.accel); e == nil && !r.booted {
			s.store().Remove(key) // it may be the base that is bad
		}
		return nil, err
	}
	return f, nil
}

// settle has clones start from the template as it was kept, so that the machine
// can go on in its memory. Where it cannot be kept they start from that.
func (s *Session) settle(f *frozen, r *raising) {
	if err := s.keep(f); err != nil {
		s.plan.Watch.Notice(err.Error())
		return
	}
	kept, err := s.recallFrozen()
	if kept == nil || err != nil {
		return
	}
	f.Template = kept.Template
	f.first = &spare{r.newborn, nil}
	r.spec.RAM.Close()
}

func (s *Session) makeReady(ctx context.Context, r *raising) (*frozen, error) {
	order, content := event.Event{Kind: event.Go, Size: s.delivery.size(), Program: s.delivery.program.Size(), Entropy: fresh()}, s.delivery.reader()
	if r.booted { // by this very program
		order.Size, order.Program = int64(len(s.delivery.parcel)), 0
		content = s.delivery.parcelReader()
	}
	begin := time.Now()
	if err := land(r.spec.RAM, r.note.Landing, content); err != nil {
		return nil, err
	}
	if err := r.machine.Resume(); err != nil {
		return nil, err
	}
	conn, line, err := r.open()
	if err != nil {
		return nil, err
	}
	f := &frozen{Template: vm.Template{Spec: r.spec}, frozenNote: frozenNote{Line: line.Name, QEMU: r.machine.Version, Args: r.machine.Args}}
	answers := make(chan answer, 1)
	go func() {
		if err := conn.Send(order); err != nil {
			answers <- answer{err: err}
			return
		}
		conn.Rekey(event.ReadyKey)
		a := f.hear(line, conn)
		if a.err == nil {
			a.err = rehearse(conn)
		}
		answers <- a
	}()
	ready, err := r.await(ctx, answers, bootLimit[r.accel])
	if err != nil {
		return nil, err
	}
	conn.Close()
	f.Ready = ready.event
	r.boot.Phases = append(r.boot.Phases, f.phases(ready.at.Sub(begin))...)
	return f, nil
}

// phases splits what it took to make the agent ready by the agent's marks. Of the
// guest's clock only the proportions are believed.
func (f *frozen) phases(wall time.Duration) (ps []results.Phase) {
	marks := f.Ready.Marks
	first, last := marks[0].NS, marks[len(marks)-1].NS
	for i, m := range marks[1:] {
		share := float64(m.NS-marks[i].NS) / float64(max(1, last-first))
		ps = append(ps, results.Phase{Name: m.Name, Wall: time.Duration(share * float64(wall))})
	}
	return ps
}

// open returns the line the loader has opened.
func (r *raising) open() (*event.Conn, vm.Line, error) {
	for _, line := range r.machine.Lines {
		if line.Name == r.note.Line {
			return event.NewConn(line, event.BootKey, line.Lossy), line, nil
		}
	}
	return nil, vm.Line{}, &vm.HostError{Deed: "speak to the guest", Err: errors.New("there is no line " + r.note.Line)}
}

// rehearse has the agent do once what each clone begins with.
func rehearse(conn *event.Conn) error {
	if err := conn.Send(event.Event{Kind: event.Ping, WallNS: time.Now().UnixNano(), Entropy: fresh(), Name: "kplay"}); err != nil {
		return err
	}
	e, err := conn.Recv()
	if err == nil && e.Kind != event.Pong {
		err = fmt.Errorf("wait for the agent: got %q", e.Kind)
	}
	return err
}

// hear takes what the agent says until it is ready.
func (f *frozen) hear(line vm.Line, conn *event.Conn) answer {
	var pace time.Time
	for {
		a := receive(line, conn)
		switch {
		case a.err != nil:
			return a
		case a.event.Kind == event.Pace:
			pace = a.at
		case a.event.Kind == event.Kmsg:
			f.BootLog = append(f.BootLog, a.event)
		case a.event.Kind == event.Ready && a.event.Facts != nil:
			f.Stretch = max(1, float64(a.at.Sub(pace))/float64(ownPace()))
			return a
		default:
			return answer{err: fmt.Errorf("wait for the agent: got %q", a.event.Kind)}
		}
	}
}

// ownPace is how long the guest's measure of its speed takes on this host; the
// best of a few, for others use the host too.
var ownPace = sync.OnceValue(func() time.Duration {
	best := time.Duration(1 << 62)
	for range 5 {
		begin := time.Now()
		guest.Calibrate()
		best = min(best, time.Since(begin))
	}
	return best
})
