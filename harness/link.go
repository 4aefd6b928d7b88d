package harness

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/results"
)

// A link is a clone that runs cases, and what the host hears of it.
type link struct {
	newborn
	number  int // of the machine in this run, from 1
	conn    *event.Conn
	stretch float64 // how many times slower than this host the guest is
	greeted time.Time
	phases  []results.Phase

	events chan event.Event // closed when nothing more will come; then lost says why
	lost   error
	taint  uint64 // of the kernel, as last heard
	log    func(event.Event)
}

// A spare is a clone that has not begun.
type spare struct {
	newborn
	phases []results.Phase
}

// spare starts a clone up to where it can begin at once.
func (f *frozen) spare(ctx context.Context) (*spare, error) {
	if s := f.takeFirst(); s != nil {
		return s, nil
	}
	c := newConsole()
	m, err := f.Clone(ctx, c)
	if err != nil {
		return nil, err
	}
	phases := []results.Phase{
		{Name: "QEMU start", Wall: m.Running.Sub(m.Started)},
		{Name: "load", Wall: time.Since(m.Running)},
	}
	return &spare{newborn{m, c, f.Spec.Accel}, phases}, nil
}

// takeFirst gives the machine that was frozen, once.
func (f *frozen) takeFirst() *spare {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.first
	f.first = nil
	return s
}

// begin has a spare begin: it gets a name, the time, fresh randomness and a key
// of its own. Whatever is left in its channel from before is under another key.
func (f *frozen) begin(ctx context.Context, s *spare, number int) (*link, error) {
	begin := time.Now()
	if err := s.machine.Resume(); err != nil {
		s.end()
		return nil, err
	}
	i := slices.IndexFunc(s.machine.Lines, func(l vm.Line) bool { return l.Name == f.Line })
	line := s.machine.Lines[i]
	conn := event.NewConn(line, event.ReadyKey, line.Lossy)
	key := fresh()
	welcome := event.Event{
		Kind: event.Welcome, Key: key, WallNS: time.Now().UnixNano(), Entropy: fresh(), Name: fmt.Sprintf("kplay-%d", number),
	}
	answers := make(chan answer, 1)
	go func() {
		if err := conn.Send(welcome); err != nil {
			answers <- answer{err: err}
			return
		}
		conn.Rekey(key)
		answers <- receive(line, conn)
	}()
	hello, err := s.await(ctx, answers, bootLimit[s.accel])
	if err == nil && hello.event.Kind != event.Hello {
		err = &vm.HostError{Deed: "wait for the agent's hello", Err: fmt.Errorf("got %q", hello.event.Kind)}
	}
	if err != nil {
		s.end()
		return nil, err
	}
	return &link{
		newborn: s.newborn, number: number, conn: conn, stretch: f.Stretch, greeted: hello.at,
		phases: append(s.phases, results.Phase{Name: "hello", Wall: hello.at.Sub(begin)}),
		events: make(chan event.Event, 64), taint: f.Ready.Taint, log: func(event.Event) {},
	}, nil
}

// fresh makes random bytes: a key, or what a guest's own are made from.
func fresh() []byte {
	b := make([]byte, event.KeySize)
	rand.Read(b)
	return b
}

// listen passes on what the guest says until it says no more.
func (l *link) listen() {
	for {
		e, err := l.conn.Recv()
		if err != nil {
			l.lost = err
			close(l.events)
			return
		}
		l.log(e)
		l.events <- e
	}
}

// stop hears the last of what the guest has to say, and ends it.
func (l *link) stop() {
	if l.conn.Send(event.Event{Kind: event.Stop}) == nil {
		l.until(event.Bye, witnessWait)
	}
	l.kill()
}

// until takes events until one of the kind comes, the guest falls silent, or
// the time is up. It returns the kernel's records among them.
func (l *link) until(kind event.Kind, limit time.Duration) (records []event.Event, came bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-l.events:
			if !ok || e.Kind == kind {
				return records, ok
			}
			if e.Kind == event.Kmsg {
				records = append(records, e)
			}
		case <-timer.C:
			return records, false
		}
	}
}

// kill ends the machine, and takes what the guest still had said.
func (l *link) kill() {
	l.end()
	l.conn.Close()
	for range l.events {
	}
}
