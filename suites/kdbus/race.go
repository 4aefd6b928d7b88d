package kdbus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// rounds is how often each of a race's runners does its part.
const rounds = 150

// A race is several things done at once, again and again, each of which succeeds
// or fails with an error that the others explain.
type race struct {
	name, doc string
	setup     func(f *fixture) []runner
}

// A runner is one part of a race: what it does in a round, and the errors it may
// see.
type runner struct {
	do      func(round int) error
	allowed []unix.Errno
}

var races = []race{
	{"send-vs-close", "Messages to who comes and goes are delivered or refused: ENXIO, ECONNRESET", func(f *fixture) []runner {
		a := f.peer()
		var at atomic.Uint64
		return []runner{
			{func(n int) error { return a.Send(toID(max(at.Load(), 1), uint64(n))) }, []unix.Errno{unix.ENXIO, unix.ECONNRESET, unix.ENOBUFS}},
			{func(int) error {
				c, err := kc.Dial(f.bus.Path("bus"), kc.Options{PoolSize: smallPool})
				if err != nil {
					return err
				}
				at.Store(c.ID)
				if _, err := c.Recv(0, 0); err != nil && !errors.Is(err, unix.EAGAIN) {
					return err
				}
				return c.Close()
			}, nil},
		}
	}},
	{"bus-death", "Connections to a bus that ends are made, or are refused: ENOENT, ESHUTDOWN, ECONNRESET", func(f *fixture) []runner {
		gone := []unix.Errno{unix.ENOENT, unix.ESHUTDOWN, unix.ECONNRESET}
		s := f.aBus("mortal")
		dir := filepath.Join(f.root, s.Name)
		return []runner{
			{func(int) error {
				b, err := kc.NewBus(f.root, s)
				if err != nil {
					return err
				}
				return b.Close()
			}, nil},
			{func(int) error {
				c, err := kc.Dial(dir+"/bus", kc.Options{PoolSize: 4096})
				if err != nil {
					return err
				}
				defer c.Close()
				return c.Send(toID(c.ID, 1))
			}, gone},
			{func(int) error {
				fd, err := kc.Open(dir + "/bus")
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				return kc.MakeEndpoint(fd, endpointName("ep"), 0)
			}, gone},
			{func(int) error {
				for _, path := range []string{f.root, dir} {
					if _, err := os.ReadDir(path); err != nil {
						return err
					}
				}
				return nil
			}, gone},
		}
	}},
	{"policy-update-vs-talk", "A message while the policy changes is delivered or refused: EPERM", func(f *fixture) []runner {
		h, a, p := f.peer(holder(nameA)), f.peer(), f.peerAs(nobody, nobody)
		a.acquires(nameA, 0)
		return []runner{
			{func(int) error { return p.send(to(a, 1)) }, []unix.Errno{unix.EPERM, unix.ENOBUFS}},
			{func(n int) error {
				if n%2 == 0 {
					return h.Update(kc.Name(nameA))
				}
				return h.Update(kc.Name(nameA), world(kc.PolicyTalk))
			}, nil},
			{func(int) error { _, err := a.Recv(0, 0); return err }, []unix.Errno{unix.EAGAIN}},
		}
	}},
	{"match-vs-broadcast", "Broadcasts while matches come and go harm nobody", func(f *fixture) []runner {
		a, p := f.peer(), f.peer()
		return []runner{
			{func(n int) error { return a.Send(broadcast(uint64(n)), zeroFilter()) }, nil},
			{func(n int) error { return p.Match(uint64(n), 0, kc.OfID(kc.ItemID, kc.MatchAnyID)) }, nil},
			{func(n int) error { return p.Unmatch(uint64(n)) }, []unix.Errno{unix.EBADSLT}},
			{func(int) error { _, err := p.Recv(0, 0); return err }, []unix.Errno{unix.EAGAIN}},
		}
	}},
	{"handover-vs-send", "A message to a name that is handed over is delivered once, or refused: ESRCH", func(f *fixture) []runner {
		a, p, q := f.peer(), f.peer(bigPool), f.peer(bigPool)
		p.leaves, q.leaves = true, true
		var taken atomic.Int64
		f.t.Cleanup(func() { want(f, "messages in both queues, of those taken", int64(p.drain()+q.drain()), taken.Load()) })
		own := func(x *peer) runner {
			return runner{func(int) error {
				if _, err := x.Acquire(nameA, kc.NameQueue); err != nil {
					return err
				}
				return x.Release(nameA)
			}, nil}
		}
		return []runner{own(p), own(q), {func(n int) error {
			err := a.sendName(nameA, uint64(n))
			if err == nil {
				taken.Add(1)
			}
			return err
		}, []unix.Errno{unix.ESRCH, unix.ENOBUFS}}}
	}},
	{"peek-recv-free", "Who looks at, receives and frees messages at once gets each once", func(f *fixture) []runner {
		a, p := f.peer(), f.peer()
		p.leaves = true
		var taken, received atomic.Int64
		f.t.Cleanup(func() { want(f, "messages received, of those taken", received.Load()+int64(p.drain()), taken.Load()) })
		recv := runner{func(int) error {
			m, err := p.Fetch(0, 0)
			if err != nil {
				return err
			}
			received.Add(1)
			// One that was looked at may have been freed by the other already.
			if err := p.FreeMessage(m); err != nil && !errors.Is(err, unix.ENXIO) {
				return err
			}
			return nil
		}, []unix.Errno{unix.EAGAIN}}
		return []runner{recv, recv, {func(n int) error {
			err := a.Send(to(p, uint64(n)))
			if err == nil {
				taken.Add(1)
			}
			return err
		}, []unix.Errno{unix.ENOBUFS}}, {func(int) error {
			_, err := p.Fetch(kc.RecvPeek, 0)
			return err
		}, []unix.Errno{unix.EAGAIN}}}
	}},
	{"names", "A name that several want has one owner at a time", func(f *fixture) []runner {
		var all []runner
		var owners atomic.Int32
		for range 4 {
			p := f.peer()
			all = append(all, runner{func(int) error {
				if _, err := p.Acquire(nameA, 0); err != nil {
					return err
				}
				if n := owners.Add(1); n != 1 {
					return fmt.Errorf("%s has %d owners", nameA, n)
				}
				owners.Add(-1)
				return p.Release(nameA)
			}, []unix.Errno{unix.EEXIST}})
		}
		return all
	}},
	{"free-free", "A slice is freed once, however many try: ENXIO for the others", func(f *fixture) []runner {
		p := f.peer()
		var freed, made atomic.Int64
		free := runner{func(int) error {
			err := p.Free(0)
			if err == nil {
				freed.Add(1)
			}
			return err
		}, []unix.Errno{unix.ENXIO}}
		f.t.Cleanup(func() { want(f, "slices freed, of those made", freed.Load(), made.Load()) })
		return []runner{free, free, {func(int) error {
			cmd := kc.Encode(kc.InfoCmd{ID: p.ID})
			if err := kc.Ioctl(p.FD, kc.ConnInfo, cmd); err != nil {
				return err
			}
			made.Add(1)
			for freed.Load() < made.Load() {
				if p.Free(0) == nil {
					freed.Add(1)
				}
			}
			return nil
		}, nil}}
	}},
	{"endpoint-close-vs-traffic", "An endpoint that ends under load resets its connections and harms nobody", func(f *fixture) []runner {
		a := f.peer()
		a.leaves = true
		return []runner{
			{func(int) error {
				fd, err := kc.Open(f.bus.Path("bus"))
				if err != nil {
					return err
				}
				defer unix.Close(fd)
				return kc.MakeEndpoint(fd, endpointName("ep"), 0)
			}, nil},
			{func(int) error {
				c, err := kc.Dial(f.bus.Path(endpointName("ep")), kc.Options{PoolSize: 4096})
				if err != nil {
					return err
				}
				defer c.Close()
				return c.Send(to(a, 1))
			}, []unix.Errno{unix.ENOENT, unix.ESHUTDOWN, unix.ECONNRESET, unix.EPERM}},
			{func(int) error { _, err := a.List(kc.ListAll); return err }, nil},
		}
	}},
}

func raceCases() (cases []suites.Case) {
	for _, r := range races {
		cases = append(cases, suites.Case{Name: "race-" + r.name, Doc: r.doc + " (connection.c).", Timeout: time.Minute, Run: r.run})
	}
	return append(cases, raceOtherCases...)
}

func (r race) run(t *suites.T) {
	f := newBus(t)
	var wait sync.WaitGroup
	for i, run := range r.setup(f) {
		wait.Go(func() {
			for n := range rounds {
				if err := run.do(n); err != nil && !allowed(err, run.allowed) {
					t.Errorf("runner %d, round %d: %s", i, n, said(err))
					return
				}
			}
		})
	}
	wait.Wait()
	for _, p := range f.peers {
		if !p.closed && !p.leaves && p.flags&kc.PolicyHolder == 0 {
			p.drain()
		}
	}
}

func allowed(err error, list []unix.Errno) bool {
	for _, e := range list {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
