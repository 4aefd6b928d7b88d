package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// An answer is what a call that waited came back with.
type answer struct {
	*kc.Message
	err error
}

// calls has a call wait on a thread of its own.
func (p *peer) calls(m kc.Msg, cancel int, items ...kc.Item) <-chan answer {
	done := make(chan answer, 1)
	go func() {
		var a answer
		a.err = p.run(func() (err error) {
			a.Message, err = p.Call(m, cancel, items...)
			return err
		})
		done <- a
	}()
	return done
}

// answered wants a call to have been answered with that cookie, and frees it.
func (p *peer) answered(what string, done <-chan answer, cookie uint64) *kc.Message {
	p.f.t.Helper()
	a := <-done
	p.f.do(what, a.err)
	want(p.f, what+": cookie", a.Cookie, cookie)
	p.f.do("free the answer", p.FreeMessage(a.Message))
	p.nothing("besides the answer")
	return a.Message
}

// eventfd makes an event descriptor; it is closed with the case.
func (f *fixture) eventfd(value uint) int {
	f.t.Helper()
	fd, err := unix.Eventfd(value, unix.EFD_CLOEXEC)
	f.do("make an event descriptor", err)
	return f.own(fd)
}

// awake makes an event descriptor readable.
func (f *fixture) awake(fd int) {
	f.t.Helper()
	_, err := unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	f.do("write to a descriptor", err)
}

const milli = uint64(1e6)

// waitable is a deadline that is worth waiting for, and not past before the call is
// sent: an emulated guest's clock can run 20 times too fast.
const waitable = 2 * second

// An ending is a way for a call that waits to end without a reply.
type ending struct {
	name, doc string
	timeout   uint64 // nanoseconds
	end       func(f *fixture, requester, service *peer, cancel int)
	want      []unix.Errno
	late      unix.Errno // what a reply is then; 0 if the service cannot reply
}

var endings = []ending{
	{"sync-timeout", "A call that nobody answers ends at its deadline: ETIMEDOUT (kdbus.message(7), test-sync.c)", waitable,
		func(*fixture, *peer, *peer, int) {}, []unix.Errno{unix.ETIMEDOUT}, unix.EBADSLT},
	{"sync-peer-byebye", "A call to who goes without an answer ends: EPIPE (kdbus.message(7), test-sync.c)", 600 * second,
		func(f *fixture, _, s *peer, _ int) { f.do("byebye", s.Byebye()) }, []unix.Errno{unix.EPIPE}, unix.ECONNRESET},
	{"sync-peer-close", "A call to who closes its connection ends: EPIPE (kdbus.message(7), test-sync.c)", 600 * second,
		func(_ *fixture, _, s *peer, _ int) { s.close() }, []unix.Errno{unix.EPIPE}, 0},
	{"sync-byebye-self", "A call ends when its own connection goes: ECONNRESET (test-sync.c)", 600 * second,
		func(f *fixture, r, _ *peer, _ int) { f.do("byebye", r.Byebye()) }, []unix.Errno{unix.ECONNRESET}, unix.ENXIO},
	{"sync-cancel-fd", "A call ends when its CANCEL_FD is readable: ECANCELED (kdbus.message(7), test-sync.c)", 600 * second,
		func(f *fixture, _, _ *peer, fd int) { f.awake(fd) }, []unix.Errno{unix.ECANCELED}, unix.EBADSLT},
	{"bus-dies-sync", "A call ends when the bus does: ECONNRESET or EPIPE (bus.c)", 600 * second,
		func(f *fixture, _, _ *peer, _ int) { f.do("close the bus", f.bus.Close()); f.bus = nil },
		[]unix.Errno{unix.ECONNRESET, unix.EPIPE}, unix.ECONNRESET},
}

func callCases() (cases []suites.Case) {
	for _, e := range endings {
		cases = append(cases, suites.Case{Name: e.name, Doc: e.doc + ", and a reply after that is refused.", Run: e.run})
	}
	return append(cases, callOtherCases...)
}

func (e ending) run(t *suites.T) {
	f := newBus(t)
	requester, service := f.peer(), f.peer()
	fd := f.eventfd(0)
	done := requester.calls(call(service, 7, e.timeout), fd)
	m := service.waits("the call")
	want(f, "flags of the call", m.Flags, kc.ExpectReply)
	e.end(f, requester, service, fd)
	f.refused("the call", (<-done).err, e.want...)
	if e.late != 0 {
		f.refused("a late reply", service.send(reply(m, 8)), e.late, unix.EPERM)
	}
	if e.late == unix.EBADSLT {
		requester.nothing("after the end")
		service.sends(to(requester, 9))
		requester.gets("a plain message", 9)
	}
}

var callOtherCases = []suites.Case{
	{
		Name: "timeout-notifications",
		Doc:  "Each call that is not answered by its deadline is told by REPLY_TIMEOUT, in the order of the deadlines (kdbus.message(7), test-timeout.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for cookie := uint64(4); cookie >= 1; cookie-- {
				a.sends(call(b, cookie, cookie*100*milli))
			}
			for cookie := uint64(1); cookie <= 4; cookie++ {
				m, i := a.notifies("a timeout", kc.ItemReplyTimeout)
				want(f, "destination", m.DstID, a.ID)
				want(f, "the cookie that timed out", m.CookieReply(), cookie)
				want(f, "payload of REPLY_TIMEOUT", len(i.Data), 0)
			}
			want(f, "calls left in the queue", b.drain(), 4)
		},
	},
	{
		Name: "sync-reply-ok",
		Doc:  "A call that waits gets the reply, in its own pool and not in its queue, and poll(2) does not tell of it (kdbus.message(7), test-sync.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			requester, service := f.peer(), f.peer()
			done := requester.calls(call(service, 7, 600*second), -1, kc.Payload([]byte("question")))
			m := service.waits("the call")
			service.sends(reply(m, 8), kc.Payload([]byte("answer")))
			got, err := requester.Poll(unix.POLLIN, 0)
			f.do("poll", err)
			want(f, "poll of the requester", got&unix.POLLIN, 0)
			a := requester.answered("the call", done, 8)
			want(f, "the cookie answered", a.CookieReply(), 7)
			data, err := a.Data()
			f.do("read the answer", err)
			want(f, "the answer", string(data), "answer")
			f.refused("reply again", service.send(reply(m, 9)), unix.EBADSLT, unix.EPERM)
		},
	},
	{
		Name: "sync-reply-unknown-cookie",
		Doc:  "A reply with a cookie nobody asked for is EBADSLT, and the right one is taken after it (test-sync.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			requester, service := f.peer(), f.peer()
			done := requester.calls(call(service, 7, 600*second), -1)
			m := service.waits("the call")
			wrong := *m
			wrong.Cookie = ^m.Cookie
			f.refused("reply with a wrong cookie", service.send(reply(&wrong, 8)), unix.EBADSLT, unix.EPERM)
			service.sends(reply(m, 9))
			requester.answered("the call", done, 9)
		},
	},
	{
		Name: "sync-cancel-fd-unused",
		Doc:  "A CANCEL_FD that is never readable changes nothing (test-sync.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			requester, service := f.peer(), f.peer()
			done := requester.calls(call(service, 7, 600*second), f.eventfd(0))
			service.sends(reply(service.waits("the call"), 8))
			requester.answered("the call", done, 8)
		},
	},
	{
		Name: "sync-cancel-already-readable",
		Doc:  "A call whose CANCEL_FD is readable from the start is sent, and ends: ECANCELED (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			requester, service := f.peer(), f.peer()
			_, err := requester.Call(call(service, 7, 600*second), f.eventfd(1))
			f.refused("call", err, unix.ECANCELED)
			f.refused("reply", service.send(reply(service.gets("the call", 7), 8)), unix.EBADSLT, unix.EPERM)
		},
	},
	{
		Name: "sync-cancel-with-pipe",
		Doc:  "A CANCEL_FD may be any file that can be polled: a pipe that is written to ends the call (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			requester, service := f.peer(), f.peer()
			r, w := f.pipe()
			done := requester.calls(call(service, 7, 600*second), r)
			service.waits("the call")
			f.awake(w)
			f.refused("the call", (<-done).err, unix.ECANCELED)
		},
	},
	{
		Name: "sync-peer-drop",
		Doc:  "A call that its receiver drops unread ends: EPIPE (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			requester, service := f.peer(), f.peer()
			done := requester.calls(call(service, 7, 600*second), -1)
			service.awaits("the call")
			_, err := service.Recv(kc.RecvDrop, 0)
			f.do("drop", err)
			f.refused("the call", (<-done).err, unix.EPIPE)
		},
	},
	{
		Name: "async-peer-drop",
		Doc:  "A call that its receiver drops unread is told by REPLY_DEAD (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(call(b, 7, 600*second))
			_, err := b.Recv(kc.RecvDrop, 0)
			f.do("drop", err)
			m, _ := a.notifies("the drop", kc.ItemReplyDead)
			want(f, "the dead call", m.CookieReply(), 7)
			want(f, "destination", m.DstID, a.ID)
		},
	},
	{
		Name: "async-peer-close-read",
		Doc:  "A call whose receiver goes after reading it is told by one REPLY_DEAD (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(call(b, 7, 600*second))
			b.gets("the call", 7)
			b.close()
			m, _ := a.notifies("the death", kc.ItemReplyDead)
			want(f, "the dead call", m.CookieReply(), 7)
			a.nothing("after the death")
		},
	},
	{
		Name: "async-peer-close-unread",
		Doc:  "A call whose receiver goes without reading it is told by REPLY_DEAD; the 2015 code tells twice (connection.c), which is told, not judged.",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(call(b, 7, 600*second))
			b.close()
			m, _ := a.notifies("the death", kc.ItemReplyDead)
			want(f, "the dead call", m.CookieReply(), 7)
			if n := a.drain(); n > 0 {
				want(f, "notifications more", n, 1)
				t.Log("quirk: REPLY_DEAD was told twice")
			}
		},
	},
}

// callers is how many call at once.
const callers = 32

func callStorm(t *suites.T) {
	f := newBus(t)
	service := f.peer(bigPool)
	var all []*peer
	var done []<-chan answer
	for n := range callers {
		p := f.peer()
		all, done = append(all, p), append(done, p.calls(call(service, uint64(n)+1, 600*second), -1))
	}
	for range callers {
		m := service.waits("a call")
		service.sends(reply(m, m.Cookie+1000))
	}
	for n, p := range all {
		p.answered("a call", done[n], uint64(n)+1001)
	}
	service.nothing("after all calls")
}
