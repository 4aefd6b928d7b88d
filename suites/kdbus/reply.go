package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// replyCases are about answers, and calls that get none.
var replyCases = []suites.Case{
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
			m := call(b, 7, waitable)
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
			_, err := a.Call(call(b, 7, waitable), -1)
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
