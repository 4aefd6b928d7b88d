package kdbus

import (
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

var raceOtherCases = []suites.Case{
	{
		Name: "race-byebye-vs-send", Timeout: time.Minute,
		Doc: "A message that was taken is in the queue of who could not go for it: EBUSY (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			for range rounds {
				p := f.peer()
				sent := make(chan error, 1)
				go func() { sent <- a.Send(to(p, 1)) }()
				gone := p.Byebye()
				err := <-sent
				switch {
				case gone == nil && err == nil:
					t.Error("a message was taken by who has gone")
				case gone == nil:
					f.refused("send", err, unix.ENXIO, unix.ECONNRESET)
				default:
					f.refused("byebye", gone, unix.EBUSY)
					f.do("send to who has not gone", err)
				}
				if err == nil && gone != nil {
					p.gets("what was taken", 1)
				} else if err == nil {
					p.drain()
				}
				p.close()
			}
		},
	},
	{
		Name: "race-recv-recv",
		Doc:  "Each message is received once, however many receive (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer(bigPool, plain)
			var mu sync.Mutex
			seen := make(map[uint64]int)
			for round := range uint64(5) {
				n, err := a.until(200, to(p, round*1000))
				f.do("send", err)
				var wait sync.WaitGroup
				for range 8 {
					wait.Go(func() {
						for {
							m, err := p.Recv(0, 0)
							if err != nil {
								return
							}
							mu.Lock()
							seen[m.Cookie]++
							mu.Unlock()
						}
					})
				}
				wait.Wait()
				for i := range uint64(n) {
					want(f, "times a message was received", seen[round*1000+i], 1)
				}
			}
		},
	},
	{
		Name: "race-bus-death-under-load", Timeout: time.Minute,
		Doc: "When a bus ends under load, all that wait on it end (bus.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			service := f.peer(bigPool)
			var done []<-chan answer
			for n := range uint64(16) {
				p := f.peer()
				done = append(done, p.calls(call(service, n, 600*second), -1))
			}
			service.awaits("a call")
			f.do("close the bus", f.bus.Close())
			f.bus = nil
			for _, d := range done {
				f.refused("a call", (<-d).err, unix.ECONNRESET, unix.EPIPE, unix.ESHUTDOWN, unix.ENXIO)
			}
		},
	},
	{
		Name: "race-sync-reply-vs-timeout", Timeout: time.Minute,
		Doc: "A reply at the deadline is taken by both or by neither (connection.c).",
		Run: func(t *suites.T) { f := newBus(t); f.replyAgainst(func(*peer, int) {}, unix.ETIMEDOUT, 2*milli) },
	},
	{
		Name: "race-sync-reply-vs-cancel", Timeout: time.Minute,
		Doc: "A reply while the call is cancelled is taken by both or by neither (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.replyAgainst(func(_ *peer, fd int) { f.awake(fd) }, unix.ECANCELED, 600*second)
		},
	},
	{
		Name: "race-sync-reply-vs-byebye", Timeout: time.Minute,
		Doc: "A reply while the caller goes is taken by both or by neither (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.replyAgainst(func(p *peer, _ int) { _ = p.Byebye() }, unix.ECONNRESET, 600*second)
		},
	},
	{
		Name: "activator-restart-storm", Timeout: 2 * time.Minute,
		Doc: "Messages to a service that dies again and again are each received by somebody, or told to be lost (kdbus.connection(7)).",
		Run: restartStorm,
	},
}

// replyAgainst answers a call while something ends it, and wants both sides to see
// the same.
func (f *fixture) replyAgainst(end func(p *peer, cancel int), ended unix.Errno, ns uint64) {
	f.t.Helper()
	service := f.peer()
	both, neither := 0, 0
	for range rounds / 3 {
		p, fd := f.peer(), f.eventfd(0)
		done := p.calls(call(service, 7, ns), fd)
		if got, err := service.Poll(unix.POLLIN, 2000); err != nil || got&unix.POLLIN == 0 {
			f.refused("a call that was too late to be sent", (<-done).err, ended)
			p.close()
			f.shut(fd)
			continue
		}
		m := service.takes("the call")
		var wait sync.WaitGroup
		wait.Go(func() { end(p, fd) })
		err := service.send(reply(m, 8))
		wait.Wait()
		got := <-done
		switch {
		case err == nil && got.err == nil:
			both++
			// The connection may be gone by now, and its memory with it.
			if free := p.FreeMessage(got.Message); free != nil {
				f.refused("free", free, unix.ECONNRESET)
			}
		case err != nil && got.err != nil:
			neither++
			f.refused("reply", err, unix.EBADSLT, unix.EPERM, unix.ENXIO, unix.ECONNRESET)
			f.refused("the call", got.err, ended)
		default:
			f.t.Errorf("reply: %s, call: %s", said(err), said(got.err))
		}
		p.close()
		f.shut(fd)
	}
	f.t.Logf("%d replies were taken, %d were not", both, neither)
}

// restartStorm counts every message that was taken.
func restartStorm(t *suites.T) {
	f := newBus(t)
	act := f.peer(activator(nameA), bigPool)
	var taken atomic.Int64
	var stop atomic.Bool
	var wait sync.WaitGroup
	for range 2 {
		a := f.peer()
		wait.Go(func() {
			for !stop.Load() {
				err := a.sendName(nameA, 1)
				if err == nil {
					taken.Add(1)
				} else if !allowed(err, []unix.Errno{unix.ENOBUFS, unix.EXFULL, unix.ECONNRESET}) {
					t.Errorf("send: %s", said(err))
				}
			}
		})
	}
	var received, lost uint64
	for range 60 {
		s := f.peer(bigPool)
		s.acquires(nameA, 0)
		if m, err := s.Recv(0, 0); err == nil {
			received++
			lost += m.Dropped
		} else {
			lost += m.Dropped
		}
		s.close()
	}
	stop.Store(true)
	wait.Wait()
	for {
		m, err := act.Recv(0, 0)
		lost += m.Dropped
		if err != nil {
			break
		}
		received++
	}
	t.Logf("%d messages were taken, %d received, %d told lost", taken.Load(), received, lost)
	if uint64(taken.Load()) != received+lost {
		t.Errorf("of %d messages that were taken %d were received and %d told lost", taken.Load(), received, lost)
	}
}
