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
			a.Message, err = p.Conn.Call(m, cancel, items...)
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

// An ending is a way for a call that waits to end without a reply.
type ending struct {
	name, doc string
	timeout   uint64 // nanoseconds
	end       func(f *fixture, requester, service *peer, cancel int)
	want      []unix.Errno
	late      unix.Errno // what a reply is then; 0 if the service cannot reply
}

var endings = []ending{
	{"sync-timeout", "A call that nobody answers ends at its deadline: ETIMEDOUT (kdbus.message(7), test-sync.c)", 200 * milli,
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
	{
		Name: "reply-consumes-slot",
		Doc:  "A call is answered once: EBADSLT (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(call(b, 7, 600*second))
			m := b.gets("the call", 7)
			b.sends(reply(m, 8))
			f.refused("reply again", b.send(reply(m, 9)), unix.EBADSLT, unix.EPERM)
			a.gets("the reply", 8)
		},
	},
	{
		Name: "reply-by-third-party",
		Doc:  "Only who was called may answer: EBADSLT (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c := f.peer(), f.peer(), f.peer()
			a.sends(call(b, 7, 600*second))
			m := b.gets("the call", 7)
			f.refused("reply by another", c.send(reply(m, 8)), unix.EBADSLT, unix.EPERM)
			a.nothing("a reply of another")
			b.sends(reply(m, 9))
			a.gets("the reply", 9)
		},
	},
	{
		Name: "reply-after-timeout",
		Doc:  "A reply after the deadline is EBADSLT (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(call(b, 7, milli))
			a.notifies("the timeout", kc.ItemReplyTimeout)
			f.refused("reply", b.send(reply(b.gets("the call", 7), 8)), unix.EBADSLT, unix.EPERM)
			a.nothing("a late reply")
		},
	},
	{
		Name: "reply-ignores-policy",
		Doc:  "Who was called may answer, whether it may talk or not (kdbus.policy(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peerAs(nobody, nobody)
			a.sends(call(b, 7, 600*second))
			m := b.gets("the call", 7)
			f.refused("a plain message", b.send(to(a, 9)), unix.EPERM)
			b.sends(reply(m, 8))
			a.gets("the reply", 8)
		},
	},
	{
		Name: "reply-by-name",
		Doc:  "A reply may name who asked (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			a.sends(call(b, 7, 600*second))
			r := reply(b.gets("the call", 7), 8)
			r.DstID = kc.DstName
			b.sends(r, kc.To(nameA))
			a.gets("the reply", 8)
		},
	},
	{
		Name: "reply-cookie-zero",
		Doc:  "A call with cookie 0 cannot be answered: what would is a plain message (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(call(b, 0, 600*second))
			b.sends(reply(b.gets("the call", 0), 8))
			a.gets("what is no reply", 8)
			b.close()
			m, _ := a.notifies("the call's end", kc.ItemReplyDead)
			want(f, "the call that was not answered", m.CookieReply(), 0)
		},
	},
	{
		Name: "reply-duplicate-cookies",
		Doc:  "Two calls with one cookie are answered one by one (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(call(b, 7, 600*second))
			a.sends(call(b, 7, 600*second))
			m := b.gets("the first call", 7)
			b.gets("the second call", 7)
			b.sends(reply(m, 8))
			b.sends(reply(m, 9))
			f.refused("reply a third time", b.send(reply(m, 10)), unix.EBADSLT, unix.EPERM)
			a.gets("the first reply", 8)
			a.gets("the second reply", 9)
		},
	},
	{
		Name: "call-past-deadline",
		Doc:  "A call whose deadline has passed is delivered, and told to have timed out (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			m := call(b, 7, 0)
			m.Timeout = 1
			a.sends(m)
			b.gets("the call", 7)
			n, _ := a.notifies("the timeout", kc.ItemReplyTimeout)
			want(f, "the call that timed out", n.CookieReply(), 7)
		},
	},
	{
		Name: "sync-past-deadline",
		Doc:  "A call that waits is not sent when its deadline has passed: ETIMEDOUT; one beyond 2^63 has (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for _, at := range []uint64{1, 1 << 63, 1<<64 - 1} {
				m := call(b, 7, 0)
				m.Timeout = at
				_, err := a.Call(m, -1)
				f.refused("call with deadline "+hex(at), err, unix.ETIMEDOUT)
				b.nothing("a call that was not sent")
			}
		},
	},
	{
		Name: "sync-timeout-accuracy",
		Doc:  "A call that nobody answers ends not before its deadline, by the guest's clock (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			m := call(b, 7, 200*milli)
			_, err := a.Call(m, -1)
			at := kc.Deadline(0)
			f.refused("call", err, unix.ETIMEDOUT)
			if at < m.Timeout-10*milli {
				t.Errorf("the call ended %d ms before its deadline", (m.Timeout-at)/milli)
			}
			t.Logf("the call ended %d µs after its deadline", (int64(at)-int64(m.Timeout))/1000)
			b.gets("the call", 7)
		},
	},
	{
		Name: "sync-timeout-leaves-request",
		Doc:  "A call that has timed out stays in the queue, and is read (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			_, err := a.Call(call(b, 7, 20*milli), -1)
			f.refused("call", err, unix.ETIMEDOUT)
			b.gets("the call", 7)
		},
	},
	{
		Name: "requester-dies-pending",
		Doc:  "A reply to who has gone is refused: ENXIO (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(call(b, 7, 600*second))
			m := b.gets("the call", 7)
			a.close()
			f.refused("reply", b.send(reply(m, 8)), unix.ENXIO)
		},
	},
	{
		Name: "call-cycle",
		Doc:  "Two that call each other and wait do not lock each other: each can be answered (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			doneA := a.calls(call(b, 1, 600*second), -1)
			doneB := b.calls(call(a, 2, 600*second), -1)
			b.sends(reply(b.waits("the call of a"), 3))
			a.sends(reply(a.waits("the call of b"), 4))
			a.answered("the call of a", doneA, 3)
			b.answered("the call of b", doneB, 4)
		},
	},
	{
		Name: "call-storm",
		Doc:  "Many that call one service and wait are each answered once, with their own answer (kdbus.message(7)).",
		Run:  callStorm,
	},
	{
		Name: "timeout-storm",
		Doc:  "128 calls with deadlines a millisecond apart are each told to have timed out, once (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(bigPool), f.peer(bigPool, plain)
			at := kc.Deadline(100 * milli)
			for cookie := uint64(1); cookie <= kc.MaxCalls; cookie++ {
				m := call(b, cookie, 0)
				m.Timeout = at + cookie*milli
				a.sends(m)
			}
			seen := make(map[uint64]bool)
			for range kc.MaxCalls {
				m, _ := a.notifies("a timeout", kc.ItemReplyTimeout)
				if seen[m.CookieReply()] {
					t.Errorf("call %d is told twice to have timed out", m.CookieReply())
				}
				seen[m.CookieReply()] = true
			}
			want(f, "calls that timed out", len(seen), kc.MaxCalls)
			b.drain()
		},
	},
	{
		Name: "quota-sync-reply-full",
		Doc:  "A reply that does not fit into the pool of who waits fails for both, and nobody is stuck (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(plain), f.peer()
			done := a.calls(call(b, 7, 600*second), -1)
			m := b.waits("the call")
			full := []unix.Errno{unix.ENOBUFS, unix.EXFULL}
			f.refused("reply with more than fits", b.send(reply(m, 8), kc.Payload(make([]byte, 1<<20))), full...)
			f.refused("the call", (<-done).err, full...)
			f.refused("reply again", b.send(reply(m, 9)), unix.EBADSLT, unix.EPERM)
			a.nothing("after the refusal")
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
