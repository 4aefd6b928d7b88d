package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// quotaDetailCases are about what counts, and for whom.
var quotaDetailCases = []suites.Case{
	{
		Name: "quota-half-reserved",
		Doc:  "However many users send, half of a pool stays for its owner (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			c := f.peer(plain)
			f.talkable(c, nameA)
			sum, size := uint64(0), uint64(4096)
			for uid := 1000; uid < 1040; uid++ {
				p := f.peerAs(uid, uid)
				n, err := p.until(100, to(c, 1), kc.Payload(make([]byte, size-96)))
				f.refused("fill", err, unix.ENOBUFS)
				sum += uint64(n) * size
			}
			if half := c.Pool.Size() / 2; sum > half || sum < half/2 {
				t.Errorf("40 users have filled %d of a pool of %d bytes", sum, c.Pool.Size())
			}
			_, err := c.List(kc.ListAll)
			f.do("list in the other half", err)
			c.drain()
		},
	},
	{
		Name: "quota-recv-releases",
		Doc:  "A message that is read is no longer counted, freed or not (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(bigPool, plain)
			a.fills(b, kc.MaxQueued)
			m, err := b.Fetch(0, 0)
			f.do("receive", err)
			a.fills(b, 1)
			f.do("free", b.FreeMessage(m))
			a.fills(b, 0)
			b.drain()
		},
	},
	{
		Name: "quota-unread-free-slices",
		Doc:  "Slices that were received and not freed fill the pool: EXFULL for the sender, until they are freed (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(plain)
			slices := f.exhaust(a, b, 4096)
			for _, s := range slices {
				f.do("free", b.Free(s))
			}
			a.sends(to(b, 1), kc.Payload(make([]byte, 4000)))
			b.gets("after all was freed", 1)
		},
	},
	{
		Name: "quota-exfull-no-leak",
		Doc:  "A message that finds no room in the pool does not count: the 2015 code counted it for ever (connection.c), which is told, not judged.",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(plain, pool(64<<10))
			slices := f.exhaust(a, b, 4096)
			for range 300 {
				f.refused("send to a full pool", a.send(to(b, 1), kc.Payload(make([]byte, 4000))), unix.EXFULL, unix.ENOBUFS)
			}
			for _, s := range slices {
				f.do("free", b.Free(s))
			}
			if err := a.send(to(b, 2)); err != nil {
				f.refused("send when all was freed", err, unix.ENOBUFS)
				t.Log("quirk: messages that found no room are counted for ever")
				return
			}
			b.gets("after all was freed", 2)
		},
	},
	{
		Name: "quota-attacker-blocks-replies",
		Doc:  "A user that fills a connection's queue does not keep another from answering it (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			client, service, attacker := f.peer(bigPool, plain), f.peerAs(other, other), f.peerAs(nobody, nobody)
			f.talkable(client, nameA)
			client.sends(call(service, 5, 600*second))
			m := service.gets("the call", 5)
			attacker.fills(client, kc.MaxQueued)
			service.sends(reply(m, 6))
			want(f, "messages of the attacker", client.drain(), kc.MaxQueued+1)
		},
	},
	{
		Name: "quota-requests-released-on-reply",
		Doc:  "A call that is answered makes room for another (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(bigPool, plain)
			for cookie := range uint64(kc.MaxCalls) {
				a.sends(call(b, cookie+1, 600*second))
			}
			f.refused("the 129th call", a.send(call(b, 1000, 600*second)), unix.EMLINK)
			b.sends(reply(b.gets("a call", 1), 7))
			a.gets("the reply", 7)
			a.sends(call(b, 1001, 600*second))
			f.refused("one more", a.send(call(b, 1002, 600*second)), unix.EMLINK)
			b.drain()
		},
	},
	{
		Name: "quota-requests-held-by-unread",
		Doc:  "A call that has timed out counts until it is read (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(bigPool, plain), f.peer(bigPool, plain)
			for cookie := range uint64(kc.MaxCalls) {
				m := call(b, cookie+1, 0)
				m.Timeout = 1
				a.sends(m)
			}
			for range kc.MaxCalls {
				a.notifies("a timeout", kc.ItemReplyTimeout)
			}
			err := a.send(call(b, 1000, 600*second))
			f.refused("a call while the old ones are unread", err, unix.EMLINK)
			b.drain()
			a.sends(call(b, 1001, 600*second))
			b.drain()
		},
	},
	{
		Name: "quota-custom-ep-shared",
		Doc:  "Those who come by a custom endpoint share one user's quota, apart from every other (kdbus.endpoint(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.newEndpoint("foo", kc.AccessWorld)
			c := f.peer(bigPool, plain)
			f.talkable(c, nameA)
			f.do("set the policy", kc.UpdateEndpoint(fd, kc.Name(nameA), kc.Access(kc.PolicyWorld, kc.PolicyTalk, 0)))
			x, err := f.tryPeer(endpointName("foo"), nobody, nobody)
			f.do("connect", err)
			y, err := f.tryPeer(endpointName("foo"), other, other)
			f.do("connect", err)
			normal := f.peerAs(nobody, nobody)
			x.fills(c, kc.MaxQueued)
			f.refused("another user on the endpoint", y.send(to(c, 1)), unix.ENOBUFS)
			normal.sends(to(c, 7))
			want(f, "messages received", c.drain(), kc.MaxQueued+1)
		},
	},
}
