package kdbus

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

func hex(v uint64) string { return fmt.Sprintf("%#x", v) }

// standard are the items of the original selftests' message: 131075 bytes, a hole
// of 5, 13 bytes, and a part of a memfd.
func (f *fixture) standard() []kc.Item {
	big := make([]byte, 131075)
	for i := range big {
		big[i] = byte(i * 7)
	}
	return []kc.Item{
		kc.Payload(big), kc.PayloadAt(0, 5), kc.Payload([]byte("kdbus payload")),
		kc.PayloadMemfd(f.memfd(make([]byte, 4096)), 0, 16),
	}
}

// priorities are sent in this order, as in test-message.c.
var priorities = []int64{25, -600, 10, -35, -100, 20, -15, -800, -150, 10, -800, -10}

var messageCases = []suites.Case{
	{
		Name: "bcast-reaches-sender",
		Doc:  "A broadcast reaches its own sender, if that has a match (test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			if !f.variant().dstID {
				t.Skip("this kernel's kdbus is older than broadcasts to oneself (2015-07-14)")
			}
			a, b := f.peer(), f.peer()
			a.anyMatch()
			b.anyMatch()
			a.signals(7)
			want(f, "source", a.gets("one's own broadcast", 7).SrcID, a.ID)
			b.gets("the broadcast", 7)
		},
	},
	{
		Name: "bcast-reaches-peer",
		Doc:  "A broadcast reaches who has a match, with its payload and the sender's ID, and nobody else (kdbus.message(7), test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c := f.peer(), f.peer(), f.peer()
			b.anyMatch()
			a.sends(broadcast(7), zeroFilter(), kc.Payload([]byte("to all")))
			m := b.gets("the broadcast", 7)
			want(f, "source", m.SrcID, a.ID)
			want(f, "destination", m.DstID, kc.DstBroadcast)
			want(f, "flags", m.Flags, kc.Signal)
			f.has("the broadcast", m, kc.ItemBloomFilter, 1)
			data, err := m.Data()
			f.do("read the payload", err)
			want(f, "payload", string(data), "to all")
			a.nothing("without a match")
			c.nothing("without a match")
		},
	},
	{
		Name: "call-without-timeout",
		Doc:  "A call says when it ends: EXPECT_REPLY without a deadline is EINVAL (kdbus.message(7), test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			m := to(b, 1)
			m.Flags = kc.ExpectReply
			f.refused("call", a.send(m), unix.EINVAL)
			b.nothing("after the refusal")
		},
	},
	{
		Name: "reply-without-slot",
		Doc:  "A reply to what was not asked is refused: EBADSLT, EPERM before August 2015 (test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			m := to(a, 1)
			m.Timeout = 4711
			f.refused("reply", b.send(m), unix.EBADSLT, unix.EPERM)
			a.nothing("after the refusal")
			a.sends(call(b, 5, 60*second))
			got := b.gets("the call", 5)
			got.Cookie++
			f.refused("reply with another cookie", b.send(reply(got, 1)), unix.EBADSLT, unix.EPERM)
			got.Cookie--
			b.sends(reply(got, 6))
			want(f, "the cookie answered", a.gets("the reply", 6).CookieReply(), 5)
		},
	},
	{
		Name: "prio-recv",
		Doc:  "RECV by priority takes the lowest value up to the one asked for, the oldest first, or is EAGAIN (kdbus.message(7), test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for i, prio := range priorities {
				m := to(b, uint64(i))
				m.Priority = prio
				a.sends(m)
			}
			for _, r := range []struct {
				limit, want int64
				cookie      uint64
			}{{-200, -800, 7}, {-100, -800, 10}, {-400, -600, 1}, {-400, 0, 0}, {10, -150, 8}, {10, -100, 4}} {
				m, err := b.Recv(kc.RecvUsePriority, r.limit)
				if r.want == 0 {
					f.refused("receive up to "+fmt.Sprint(r.limit), err, unix.EAGAIN)
					continue
				}
				f.do("receive up to "+fmt.Sprint(r.limit), err)
				want(f, "priority", m.Priority, r.want)
				want(f, "cookie", m.Cookie, r.cookie)
			}
			// Without a priority it is the order of arrival.
			for _, cookie := range []uint64{0, 2, 3, 5, 6, 9, 11} {
				b.gets("the oldest that is left", cookie)
			}
		},
	},
	{
		Name: "prio-plain-recv-after",
		Doc:  "RECV without a priority takes the oldest, whatever its priority (kdbus.message(7), test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for i, prio := range []int64{5, -5, 0} {
				m := to(b, uint64(i))
				m.Priority = prio
				a.sends(m)
			}
			for cookie := range uint64(3) {
				b.gets("in order", cookie)
			}
		},
	},
	{
		Name: "vec-kernel-address",
		Doc:  "Payload at an address of the kernel is EFAULT, and nothing is delivered (test-message.c, memory access).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for _, at := range []uintptr{0xffffffff81000000, 1<<64 - 8, 1 << 47, 1 << 63} {
				f.refused("send from "+hex(uint64(at)), a.send(to(b, 1), kc.PayloadAt(at, 8)), unix.EFAULT)
				b.nothing("after the refusal")
			}
		},
	},
	{
		Name: "message-standard",
		Doc:  "The original selftests' message arrives whole: long data, a hole, short data and a memfd (kdbus-util.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(bigPool)
			items := f.standard()
			a.sends(to(b, 1), items...)
			m := b.gets("the message", 1)
			defer closeAll(m)
			f.has("the message", m, kc.ItemPayloadOff, 3)
			f.has("the message", m, kc.ItemPayloadMemfd, 1)
			data, err := m.Data()
			f.do("read the payload", err)
			want(f, "length of the payload", len(data), 131075+5+13)
			for i, c := range data[:131075] {
				if c != byte(i*7) {
					t.Fatalf("byte %d is %d, want %d", i, c, byte(i*7))
				}
			}
			want(f, "the end of the payload", string(data[131075:]), "\x00\x00\x00\x00\x00kdbus payload")
		},
	},
}
