package kdbus

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// plain has a connection get no metadata, so that the size of a slice is known.
func plain(o *kc.Options) { o.AttachRecv = 0 }

// until sends messages until one is refused, and returns how many were not, and
// why that one was.
func (p *peer) until(limit int, m kc.Msg, items ...kc.Item) (n int, err error) {
	for n < limit {
		if err = p.send(m, items...); err != nil {
			return n, err
		}
		n++
		m.Cookie++
	}
	return n, nil
}

// fills wants a user to be able to have exactly so many messages more in a queue.
func (p *peer) fills(at *peer, count int) {
	p.f.t.Helper()
	n, err := p.until(count+1, to(at, 1))
	want(p.f, "messages until one is refused", n, count)
	p.f.refused("the one after", err, unix.ENOBUFS)
}

// talkable has everybody be allowed to talk to a peer, by a name.
func (f *fixture) talkable(p *peer, name string) {
	f.t.Helper()
	f.peer(holder(name, kc.Access(kc.PolicyWorld, kc.PolicyTalk, 0)))
	p.acquires(name, 0)
}

// block is a payload of the size the original selftests use.
func block() kc.Item { return kc.Payload(make([]byte, 131075)) }

var quotaCases = []suites.Case{
	{
		Name: "quota-256-messages",
		Doc:  "A user has 256 messages in a connection's queue at most: ENOBUFS (kdbus.message(7), test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(bigPool, plain)
			a.fills(b, kc.MaxQueued)
			want(f, "messages received", b.drain(), kc.MaxQueued)
		},
	},
	{
		Name: "quota-drain-refill",
		Doc:  "Messages that were read make room for as many (kdbus.message(7), test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(bigPool, plain)
			for range 2 {
				a.fills(b, kc.MaxQueued)
				b.gets("the first", 1)
				a.fills(b, 1)
				want(f, "messages received", b.drain(), kc.MaxQueued)
			}
		},
	},
	{
		Name: "quota-memory-third",
		Doc:  "The first user may fill a third of half a pool: ENOBUFS beyond (test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c := f.peer(), f.peer(), f.peer(bigPool)
			n, err := a.until(10, to(c, 1), kc.Payload(make([]byte, kc.MaxPayload)))
			f.refused("send 2 MiB again", err, unix.ENOBUFS)
			want(f, "messages of 2 MiB", n, 1)
			b.sends(to(c, 2), block())
			want(f, "the first received", c.takes("2 MiB").SrcID, a.ID)
			want(f, "the second received", c.gets("of another connection", 2).SrcID, b.ID)
		},
	},
	{
		Name: "quota-kernel-notifications",
		Doc:  "The kernel has 256 messages in a queue at most, and what is lost beyond is counted and told once; users have their own count (test-message.c).",
		Run:  kernelQuota,
	},
	{
		Name: "quota-requests-128",
		Doc:  "A connection waits for 128 replies at most: EMLINK (kdbus.message(7), test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			for n := range 8 {
				b := f.peer(plain)
				for cookie := range uint64(16) {
					a.sends(call(b, uint64(n)*16+cookie+1, 600*second))
				}
				defer b.drain()
			}
			ninth := f.peer()
			f.refused("the 129th call", a.send(call(ninth, 1000, 600*second)), unix.EMLINK)
			ninth.nothing("the 129th call")
			a.sends(to(ninth, 1001))
			ninth.gets("a plain message", 1001)
		},
	},
	{
		Name: "quota-activator",
		Doc:  "Messages to an activator's name fill its queue like any other's, for a user, not a connection (test-message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, act := f.peer(), f.peer(), f.peer(bigPool, activator(nameA))
			n, err := a.until(kc.MaxQueued, byName(1), kc.To(nameA), block())
			f.refused("fill the activator", err, unix.ENOBUFS)
			if n < 2 || n > 22 {
				t.Errorf("%d messages of 128 KiB fit into a third of 8 MiB", n)
			}
			f.refused("send to the activator's ID", a.send(to(act, 1)), unix.ENXIO)
			f.refused("send by another connection", b.send(byName(1), kc.To(nameA), block()), unix.ENOBUFS)
			b.signals(9)
			m := act.gets("the first", 1)
			want(f, "dropped", m.Dropped, 0)
			want(f, "messages left", act.drain(), n-1)
		},
	},
	{
		Name: "quota-activator-move",
		Doc:  "Messages that move to a service are counted as its own, and are lost and told if they do not fit; those unread go back (test-message.c).",
		Run:  moveAndLose,
	},
	{
		Name: "quota-user-isolation",
		Doc:  "One user's full share leaves another's alone (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			x, same, y, c := f.peerAs(nobody, nobody), f.peerAs(nobody, nobody), f.peerAs(other, other), f.peer(bigPool, plain)
			f.talkable(c, nameA)
			x.fills(c, kc.MaxQueued)
			f.refused("another connection of the user", same.send(to(c, 1)), unix.ENOBUFS)
			y.sends(to(c, 7))
			want(f, "messages received", c.drain(), kc.MaxQueued+1)
		},
	},
	{
		Name: "quota-byte-formula",
		Doc:  "A user may have in a queue a third of the half of the pool that others have not filled (connection.c).",
		Run:  byteFormula,
	},
}

// exhaust sends messages that are received and not freed until the pool is full,
// and returns where they are.
func (f *fixture) exhaust(from, at *peer, size int) (offsets []uint64) {
	f.t.Helper()
	for {
		err := from.send(to(at, 1), kc.Payload(make([]byte, size-96)))
		if err != nil {
			f.refused("send until the pool is full", err, unix.EXFULL)
			break
		}
		m, err := at.Fetch(0, 0)
		f.do("receive", err)
		offsets = append(offsets, m.Info.Offset)
	}
	if n := at.Pool.Size()/uint64(size) - 1; uint64(len(offsets)) < n {
		f.t.Errorf("%d slices of %d fill a pool of %d", len(offsets), size, at.Pool.Size())
	}
	return offsets
}

func kernelQuota(t *suites.T) {
	f := newBus(t)
	reader, sender := f.peer(bigPool), f.peer()
	for n, kind := range []uint64{kc.ItemIDAdd, kc.ItemIDRemove} {
		reader.matches(uint64(n), kc.OfID(kind, kc.MatchAnyID))
	}
	for range kc.MaxQueued / 2 {
		f.peer().close()
	}
	sender.sends(to(reader, 7))
	f.peer().close()
	f.peer()
	m := reader.takes("the first notification")
	want(f, "DROPPED_MSGS", m.ReturnFlags, kc.DroppedMsgs)
	want(f, "dropped", m.Dropped, 3)
	for n := range kc.MaxQueued - 1 {
		m := reader.takes("a notification")
		if m.SrcID != kc.SrcKernel || m.Dropped != 0 || m.ReturnFlags != 0 {
			t.Fatalf("notification %d: source %d, %d dropped, flags %#x", n, m.SrcID, m.Dropped, m.ReturnFlags)
		}
	}
	want(f, "source of the last", reader.gets("the user's message", 7).SrcID, sender.ID)
}

func moveAndLose(t *suites.T) {
	f := newBus(t)
	a, act, service := f.peer(), f.peer(bigPool, activator(nameA)), f.peer(bigPool)
	service.leaves = true
	queued, err := a.until(kc.MaxQueued, byName(1), kc.To(nameA), block())
	f.refused("fill the activator", err, unix.ENOBUFS)
	_, err = a.until(kc.MaxQueued, to(service, 1000), block())
	f.refused("fill the service", err, unix.ENOBUFS)
	service.gets("the service's first", 1000)
	service.acquires(nameA, kc.NameReplaceExisting)
	m := service.takes("after the move")
	if m.Dropped == 0 || m.Dropped >= uint64(queued) || m.ReturnFlags&kc.DroppedMsgs == 0 {
		t.Errorf("of %d messages that moved %d are told lost, flags %#x", queued, m.Dropped, m.ReturnFlags)
	}
	act.nothing("after the move")
	service.releases(nameA)
	want(f, "source of what came back", act.takes("what came back").SrcID, a.ID)
	rest := act.drain()
	want(f, "messages that came back and those told lost", uint64(rest+1)+m.Dropped, uint64(queued))
	service.drain()

	a.fills(service, kc.MaxQueued)
	for n := range 5 {
		a.sends(byName(uint64(n)), kc.To(nameA))
	}
	service.acquires(nameA, kc.NameReplaceExisting)
	m = service.takes("after all were lost")
	want(f, "lost", m.Dropped, 5)
	want(f, "the service's own", service.drain(), kc.MaxQueued-1)
	act.nothing("after all were lost")
}

// byteFormula has three users send messages of many sizes, and works out for each
// whether there is room.
func byteFormula(t *suites.T) {
	f := newBus(t)
	c := f.peer(plain, pool(1<<20))
	f.talkable(c, nameA)
	senders := []*peer{f.peerAs(1001, 1001), f.peerAs(1002, 1002), f.peerAs(1003, 1003)}
	all, used := uint64(0), make([]uint64, 3)
	half, seed, refused := c.Pool.Size()/2, uint64(1), 0
	for step := range 200 {
		seed = seed*6364136223846793005 + 1442695040888963407
		who, size := int(seed>>33)%3, (seed>>40)%60000+1
		slice := 96 + (size+7)&^7
		limit := uint64(0)
		if half >= all {
			limit = (half - all + used[who]) / 3
		}
		fits := half >= all && used[who] <= limit && slice <= limit-used[who]
		err := senders[who].send(to(c, uint64(step)), kc.Payload(make([]byte, size)))
		if fits != (err == nil) || err != nil && !errors.Is(err, unix.ENOBUFS) {
			t.Fatalf("step %d: user %d sends %d bytes, has %d queued of %d: %s, want room: %v", step, who, slice, used[who], all, said(err), fits)
		}
		if err != nil {
			refused++
		} else {
			all, used[who] = all+slice, used[who]+slice
		}
		if step%10 == 9 {
			m := c.takes("what is queued")
			for i, s := range senders {
				if s.ID == m.SrcID {
					all, used[i] = all-m.Info.MsgSize, used[i]-m.Info.MsgSize
				}
			}
		}
	}
	if refused == 0 || refused == 200 {
		t.Error(fmt.Sprint("of 200 messages were refused ", refused))
	}
	c.drain()
}
