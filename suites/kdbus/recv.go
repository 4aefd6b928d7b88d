package kdbus

import (
	"math"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// recvCases are about the order and the ways of receiving.
var recvCases = []suites.Case{
	{
		Name: "priority-extremes",
		Doc:  "Priorities are ordered over all of their range (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			order := []int64{math.MinInt64, math.MinInt64 + 1, -1, 0, 1, math.MaxInt64 - 1, math.MaxInt64}
			for _, i := range []int{3, 6, 0, 5, 1, 4, 2} {
				m := to(b, uint64(i))
				m.Priority = order[i]
				a.sends(m)
			}
			for i, prio := range order {
				m, err := b.Recv(kc.RecvUsePriority, math.MaxInt64)
				f.do("receive", err)
				want(f, "priority", m.Priority, prio)
				want(f, "cookie", m.Cookie, uint64(i))
			}
		},
	},
	{
		Name: "recv-peek-then-recv",
		Doc:  "PEEK shows the next message and leaves it where it is (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(to(b, 1))
			a.sends(to(b, 2))
			var where kc.MsgInfo
			for n := range 3 {
				m, err := b.Fetch(kc.RecvPeek, 0)
				f.do("peek", err)
				want(f, "cookie", m.Cookie, 1)
				if n > 0 {
					want(f, "where it is", m.Info, where)
				}
				where = m.Info
			}
			want(f, "where it was received", b.gets("what was shown", 1).Info, where)
			b.gets("the next", 2)
		},
	},
	{
		Name: "recv-peek-priority",
		Doc:  "PEEK by priority shows the lowest value and leaves it (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for cookie, prio := range []int64{5, -5} {
				m := to(b, uint64(cookie))
				m.Priority = prio
				a.sends(m)
			}
			m, err := b.Fetch(kc.RecvPeek|kc.RecvUsePriority, 0)
			f.do("peek", err)
			want(f, "cookie", m.Cookie, 1)
			_, err = b.Fetch(kc.RecvPeek|kc.RecvUsePriority, -6)
			f.refused("peek below all", err, unix.EAGAIN)
			b.gets("the oldest", 0)
			b.gets("what was shown", 1)
		},
	},
	{
		Name: "recv-drop",
		Doc:  "DROP throws the next message away with its memory and its descriptors (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			r, w := f.pipe()
			a.sends(to(b, 1), kc.FDs(w))
			a.sends(to(b, 2))
			f.shut(w)
			m, err := b.Recv(kc.RecvDrop, 0)
			f.do("drop", err)
			want(f, "where the dropped message is told to be", m.Info, kc.MsgInfo{Offset: b.Pool.Size()})
			f.eof("after the drop", r)
			b.gets("the next", 2)
			a.sends(to(b, 3))
			_, err = b.Recv(kc.RecvDrop|kc.RecvPeek, 0)
			f.do("drop and peek", err)
			b.nothing("after the drop")
			_, err = b.Recv(kc.RecvDrop, 0)
			f.refused("drop nothing", err, unix.EAGAIN)
		},
	},
	{
		Name: "recv-drop-priority",
		Doc:  "DROP does not go by priority: EINVAL, and nothing is dropped (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(to(b, 1))
			_, err := b.Recv(kc.RecvDrop|kc.RecvUsePriority, 0)
			f.refused("drop by priority", err, unix.EINVAL)
			b.gets("what was not dropped", 1)
		},
	},
	{
		Name: "recv-empty",
		Doc:  "RECV of an empty queue is EAGAIN, and tells the end of the pool (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			for _, flags := range []uint64{0, kc.RecvPeek, kc.RecvDrop, kc.RecvUsePriority} {
				m, err := p.Recv(flags, math.MaxInt64)
				f.refused("receive", err, unix.EAGAIN)
				want(f, "where a message is told to be", m.Info, kc.MsgInfo{Offset: p.Pool.Size()})
				want(f, "dropped", m.Dropped, 0)
			}
		},
	},
}
