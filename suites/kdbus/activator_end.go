package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// activatorEndCases are about activators that go, and what waits for them.
var activatorEndCases = []suites.Case{
	{
		Name: "activator-dies-with-queue",
		Doc:  "When an activator goes with calls in its queue, they are dead and the name is gone (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a, b := f.peer(activator(nameA)), f.peer(), f.peer()
			done := b.calls(calling(byName(7), 600*second), -1, kc.To(nameA))
			act.awaits("the call that waits")
			a.sends(calling(byName(1), 600*second), kc.To(nameA))
			act.close()
			f.refused("the call that waits", (<-done).err, unix.EPIPE)
			m, _ := a.notifies("the dead call", kc.ItemReplyDead)
			want(f, "the dead call", m.CookieReply(), 1)
			a.drain() // the 2015 code may tell twice
			b.drain()
			f.listed(a, nameA, nil)
			f.refused("send to the name", a.sendName(nameA, 2), unix.ESRCH)
		},
	},
	{
		Name: "activator-dies-under-service",
		Doc:  "Nobody is told when an activator goes whose service runs; the name then ends with the service (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, service, watcher := f.peer(activator(nameA)), f.peer(), f.peer()
			service.acquires(nameA, 0)
			for n, kind := range []uint64{kc.ItemNameAdd, kc.ItemNameChange, kc.ItemNameRemove} {
				watcher.matches(uint64(n), kc.OfName(kind, kc.MatchAnyID, kc.MatchAnyID, ""))
			}
			act.close()
			watcher.nothing("the activator went")
			service.releases(nameA)
			_, i := watcher.notifies("the end of the name", kc.ItemNameRemove)
			f.isChange(i, service, nil, nameA)
		},
	},
	{
		Name: "activator-peek",
		Doc:  "An activator may look at a message, which moves all the same (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a, service := f.peer(activator(nameA)), f.peer(), f.peer()
			f.do("send to the name", a.sendName(nameA, 7))
			m, err := act.Recv(kc.RecvPeek, 0)
			f.do("peek", err)
			want(f, "source", m.SrcID, a.ID)
			service.acquires(nameA, 0)
			service.gets("what was looked at", 7)
			act.nothing("after the move")
		},
	},
	{
		Name: "activator-drop",
		Doc:  "A call that an activator drops is dead (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a := f.peer(activator(nameA)), f.peer()
			done := a.calls(calling(byName(7), 600*second), -1, kc.To(nameA))
			act.awaits("the call")
			_, err := act.Recv(kc.RecvDrop, 0)
			f.do("drop", err)
			f.refused("the call", (<-done).err, unix.EPIPE)
		},
	},
	{
		Name: "activator-two-names-one-service",
		Doc:  "When a service releases one of its names, only what was sent to that goes back (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a, service := f.peer(activator(nameA)), f.peer(), f.peer()
			service.acquires(nameA, 0)
			service.acquires(nameB, 0)
			f.do("send to one", a.sendName(nameA, 1))
			f.do("send to the other", a.sendName(nameB, 2))
			a.sends(to(service, 3))
			service.releases(nameA)
			act.gets("to the released name", 1)
			service.gets("to the other name", 2)
			service.gets("by ID", 3)
		},
	},
	{
		Name: "activator-wildcard-name",
		Doc:  "An activator stands in for one name: a wildcard is EINVAL; the 2015 code takes it (policy.c), which is told, not judged.",
		Run: func(t *suites.T) {
			f := newBus(t)
			_, err := f.tryPeer("bus", 0, 0, activator("a.b.*"))
			if err == nil {
				t.Log("quirk: an activator with a wildcard is taken")
				return
			}
			f.refused("connect", err, unix.EINVAL)
		},
	},
	{
		Name: "activator-unprivileged",
		Doc:  "Only the bus's owner has activators: EPERM (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			_, err := f.tryPeer("bus", nobody, nobody, activator(nameA))
			f.refused("connect as an activator", err, unix.EPERM)
			f.listed(p, nameA, nil)
		},
	},
	{
		Name: "fd-move-to-nonaccepting-service",
		Doc:  "Descriptors that move to a service without ACCEPT_FD are lost with their message, and are closed (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(activator(nameA))
			a, service := f.peer(), f.peer(noFDs)
			r, w := f.pipe()
			f.do("send to the name", a.sendName(nameA, 1, kc.FDs(w)))
			f.shut(w)
			service.acquires(nameA, 0)
			m, err := service.Fetch(0, 0)
			f.refused("receive", err, unix.EAGAIN)
			want(f, "dropped", m.Dropped, 1)
			f.eof("after the loss", r)
		},
	},
}
