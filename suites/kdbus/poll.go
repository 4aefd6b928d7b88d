package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// polls wants poll(2) to tell this at once.
func (p *peer) polls(what string, wanted int16) {
	p.f.t.Helper()
	got, err := p.Poll(unix.POLLIN|unix.POLLOUT, 0)
	p.f.do("poll", err)
	want(p.f, "poll, "+what, got, wanted)
}

// A waker is what wakes somebody who waits for messages.
type waker struct {
	name, doc string
	wake      func(f *fixture, p *peer)
	want      int16
	leaves    bool
}

var wakers = []waker{
	{"message", "Who waits is woken by a message", func(f *fixture, p *peer) { f.peer().sends(to(p, 1)) }, unix.POLLIN, false},
	{"notification", "Who waits is woken by a notification", func(f *fixture, p *peer) {
		p.matches(1, kc.OfName(kc.ItemNameAdd, 0, kc.MatchAnyID, ""))
		f.peer().acquires(nameA, 0)
	}, unix.POLLIN, false},
	{"byebye", "Who waits is woken by its own end", func(f *fixture, p *peer) { f.do("byebye", p.Byebye()) }, unix.POLLERR | unix.POLLHUP, false},
	{"bus-close", "Who waits is woken by the end of the bus", func(f *fixture, _ *peer) {
		f.do("close the bus", f.bus.Close())
		f.bus = nil
	}, unix.POLLERR | unix.POLLHUP, false},
	{"moved-messages", "Who waits is woken by messages that move to it", func(f *fixture, p *peer) {
		f.peer(activator(nameA))
		f.do("send to the activator", f.peer().sendName(nameA, 1))
		p.acquires(nameA, 0)
	}, unix.POLLIN, false},
}

func pollCases() (cases []suites.Case) {
	for _, w := range wakers {
		cases = append(cases, suites.Case{Name: "poll-wakes-on-" + w.name, Doc: w.doc + " (kdbus.connection(7)).", Run: w.run})
	}
	return append(cases, pollOtherCases...)
}

func (w waker) run(t *suites.T) {
	f := newBus(t)
	p := f.peer()
	woken := make(chan int16, 1)
	asleep := make(chan int)
	go func() {
		_ = onThread(func() error {
			asleep <- unix.Gettid()
			got, err := p.Poll(unix.POLLIN, patience)
			woken <- got
			return err
		})
	}()
	f.sleeps(<-asleep)
	w.wake(f, p)
	want(f, "poll", <-woken, w.want)
	p.drain()
}

var pollOtherCases = []suites.Case{
	{
		Name: "poll-fresh-fd",
		Doc:  "What is no connection has nothing to wait for: POLLERR and POLLHUP at once (handle.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			for what, fd := range map[string]int{"control": f.control(), "endpoint": f.endpoint(), "bus owner": f.bus.FD, "endpoint owner": f.newEndpoint("a", 0)} {
				got, err := kc.Poll(fd, unix.POLLIN|unix.POLLOUT, 0)
				f.do("poll", err)
				want(f, "poll of "+what, got, unix.POLLERR|unix.POLLHUP)
			}
		},
	},
	{
		Name: "poll-idle",
		Doc:  "One can always send: an idle connection is POLLOUT, and POLLIN as long as a message is queued (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			p.polls("idle", unix.POLLOUT)
			a.sends(to(p, 1))
			a.sends(to(p, 2))
			p.polls("two queued", unix.POLLIN|unix.POLLOUT)
			p.gets("the first", 1)
			p.polls("one queued", unix.POLLIN|unix.POLLOUT)
			p.gets("the second", 2)
			p.polls("none queued", unix.POLLOUT)
			a.polls("of the sender", unix.POLLOUT)
		},
	},
	{
		Name: "poll-dropped-only",
		Doc:  "Messages that were lost are something to be told: POLLIN, until RECV tells it (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer(plain, pool(4096))
			p.anyMatch()
			a.sends(broadcast(1), zeroFilter(), kc.Payload(make([]byte, 2048)))
			p.polls("one was lost", unix.POLLIN|unix.POLLOUT)
			m, err := p.Fetch(0, 0)
			f.refused("receive", err, unix.EAGAIN)
			want(f, "dropped", m.Dropped, 1)
			want(f, "return flags", m.ReturnFlags, kc.DroppedMsgs)
			p.polls("the loss was told", unix.POLLOUT)
		},
	},
	{
		Name: "epoll-edge",
		Doc:  "Edge-triggered epoll(7) tells of each message that arrives (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			f.do("make an epoll descriptor", err)
			f.own(fd)
			edge := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(p.FD)}
			f.do("watch", unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, p.FD, &edge))
			events := make([]unix.EpollEvent, 4)
			for cookie := uint64(1); cookie <= 2; cookie++ {
				a.sends(to(p, cookie))
				n, err := unix.EpollWait(fd, events, 0)
				f.do("wait", err)
				want(f, "events after a message", n, 1)
				n, err = unix.EpollWait(fd, events, 0)
				f.do("wait", err)
				want(f, "events without a message", n, 0)
			}
			want(f, "messages", p.drain(), 2)
		},
	},
	{
		Name: "poll-many-waiters",
		Doc:  "A message wakes all who wait for one; one of them gets it (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			const waiters = 16
			got := make(chan bool, waiters)
			for range waiters {
				go func() {
					if ev, err := p.Poll(unix.POLLIN, patience); err != nil || ev&unix.POLLIN == 0 {
						// Another has taken it by then: it was woken, which is what counts.
						got <- false
						return
					}
					_, err := p.Recv(0, 0)
					got <- err == nil
				}()
			}
			// Each takes one, or waits for the next.
			n := 0
			for range waiters {
				a.sends(to(p, 1))
				if <-got {
					n++
				}
			}
			want(f, "messages received and left", n+p.drain(), waiters)
		},
	},
}
