package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// has wants a message to have, or not to have, an item of a type.
func (f *fixture) has(what string, m *kc.Message, kind uint64, wanted int) {
	f.t.Helper()
	want(f, what+": items of type "+hex(kind), kc.Count(m.Items, kind), wanted)
}

// monitorCases are about connections that see everything and do nothing.
var monitorCases = []suites.Case{
	{
		Name: "monitor-no-id-add",
		Doc:  "Nobody is told of a monitor's coming and going, and LIST does not tell of it (kdbus.connection(7), test-monitor.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.matches(1, kc.OfID(kc.ItemIDAdd, kc.MatchAnyID))
			p.matches(2, kc.OfID(kc.ItemIDRemove, kc.MatchAnyID))
			m := f.peer(monitor)
			p.nothing("a monitor came")
			want(f, "connections", f.unique(p), 1)
			m.close()
			p.nothing("a monitor went")
			f.peer()
			p.notifies("a connection that is no monitor", kc.ItemIDAdd)
		},
	},
	{
		Name: "monitor-sees-unicast",
		Doc:  "A monitor sees what is sent from one to another, who gets it all the same (kdbus.connection(7), test-monitor.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, m := f.peer(), f.peer(), f.peer(monitor)
			a.sends(to(b, 7), kc.Payload([]byte("payload")))
			for _, p := range []*peer{b, m} {
				got := p.gets("a unicast", 7)
				want(f, "source", got.SrcID, a.ID)
				want(f, "destination", got.DstID, b.ID)
				data, err := got.Data()
				f.do("read the payload", err)
				want(f, "payload", string(data), "payload")
			}
			a.nothing("what one has sent")
		},
	},
	{
		Name: "monitor-sees-broadcast",
		Doc:  "A monitor sees broadcasts without a match (kdbus.connection(7), test-monitor.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, m := f.peer(), f.peer(), f.peer(monitor)
			a.signals(7)
			m.gets("a broadcast", 7)
			b.nothing("a broadcast without a match")
		},
	},
	{
		Name: "monitor-attach-none",
		Doc:  "A monitor that wants no metadata gets none (kdbus.connection(7), test-monitor.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, m := f.peer(), f.peer(monitor)
			f.do("update", m.Update(kc.Words(kc.ItemAttachRecv, 0)))
			a.signals(1)
			got := m.gets("a broadcast", 1)
			want(f, "items besides the filter", len(got.Items)-kc.Count(got.Items, kc.ItemBloomFilter), 0)
		},
	},
	{
		Name: "monitor-attach-some",
		Doc:  "A monitor gets the metadata it wants, and no other (kdbus.connection(7), test-monitor.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, m := f.peer(), f.peer(monitor)
			f.do("update", m.Update(kc.Words(kc.ItemAttachRecv, kc.AttachTimestamp|kc.AttachCreds)))
			a.signals(1)
			got := m.gets("a broadcast", 1)
			f.has("a broadcast", got, kc.ItemTimestamp, 1)
			f.has("a broadcast", got, kc.ItemCreds, 1)
			f.has("a broadcast", got, kc.ItemPIDComm, 0)
		},
	},
	{
		Name: "monitor-unprivileged",
		Doc:  "Only the bus's owner monitors: EPERM (kdbus.connection(7), test-monitor.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			_, err := f.tryPeer("bus", nobody, nobody, monitor)
			f.refused("connect as a monitor", err, unix.EPERM)
		},
	},
	{
		Name: "monitor-sees-failed",
		Doc:  "What a monitor may have seen of a refused message does not make it delivered (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, m := f.peer(), f.peer(noFDs), f.peer(monitor)
			m.leaves = true
			f.refused("send", a.send(to(b, 1), kc.FDs(f.nulls(1)...)), unix.ECOMM)
			b.nothing("a refused message")
			t.Logf("the monitor saw %d messages", m.drain())
		},
	},
	{
		Name: "monitor-full",
		Doc:  "A monitor that does not read loses messages and is told how many; nobody else is affected (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, m := f.peer(), f.peer(), f.peer(monitor, plain, pool(4096))
			const sent = 40
			for cookie := uint64(1); cookie <= sent; cookie++ {
				a.sends(to(b, cookie))
				b.gets("a message while the monitor sleeps", cookie)
			}
			m.leaves = true
			first := m.takes("the first in the monitor's queue")
			if first.Dropped == 0 || first.ReturnFlags&kc.DroppedMsgs == 0 {
				t.Errorf("the full monitor is told of %d dropped messages, flags %#x", first.Dropped, first.ReturnFlags)
			}
			if n := m.drain() + 1; first.Dropped+uint64(n) != sent {
				t.Errorf("of %d messages the monitor got %d and lost %d", sent, n, first.Dropped)
			}
		},
	},
	{
		Name: "monitor-sees-replies-and-notifications",
		Doc:  "A monitor sees replies and what the kernel says, whomever it says it to (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, m := f.peer(), f.peer(), f.peer(monitor)
			a.sends(call(b, 1, 60*second))
			m.gets("the call", 1)
			b.sends(reply(b.gets("the call", 1), 2))
			want(f, "cookie the reply answers", m.gets("the reply", 2).CookieReply(), 1)
			a.gets("the reply", 2)
			a.acquires(nameA, 0)
			_, i := m.notifies("a name", kc.ItemNameAdd)
			f.isChange(i, nil, a, nameA)
			a.sends(call(b, 3, 60*second))
			m.gets("the second call", 3)
			b.drain()
			b.close()
			n, _ := m.notifies("the callee's death", kc.ItemReplyDead)
			want(f, "cookie of the dead call", n.CookieReply(), 3)
			a.notifies("the callee's death", kc.ItemReplyDead)
			m.notifies("the callee is gone", kc.ItemIDRemove)
		},
	},
	{
		Name: "monitor-order",
		Doc:  "A monitor sees messages in the order of their sequence numbers (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, m := f.peer(), f.peer(), f.peer(monitor)
			var last uint64
			for cookie := uint64(1); cookie <= 20; cookie++ {
				a.sends(to(b, cookie))
			}
			b.drain()
			for cookie := uint64(1); cookie <= 20; cookie++ {
				at := f.timestamp(m.gets("a message", cookie))
				if at.Seqnum <= last {
					t.Errorf("message %d has number %d after %d", cookie, at.Seqnum, last)
				}
				last = at.Seqnum
			}
		},
	},
	{
		Name: "monitor-in-conn-info",
		Doc:  "A monitor can be asked about by its ID (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, m := f.peer(), f.peer(monitor)
			r, err := a.Info(m.ID, kc.AttachCreds)
			f.do("ask about the monitor", err)
			want(f, "flags", r.Flags, kc.AcceptFD|kc.Monitor)
		},
	},
}

// timestamp reads the TIMESTAMP of a message.
func (f *fixture) timestamp(m *kc.Message) kc.Timestamp {
	f.t.Helper()
	i, ok := kc.Find(m.Items, kc.ItemTimestamp)
	if !ok {
		f.t.Fatalf("message %d has no TIMESTAMP", m.Cookie)
	}
	at, err := kc.As[kc.Timestamp](i)
	f.do("read TIMESTAMP", err)
	return at
}
