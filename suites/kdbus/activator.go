package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// sendName sends to a name.
func (p *peer) sendName(name string, cookie uint64, items ...kc.Item) error {
	return p.send(byName(cookie), append([]kc.Item{kc.To(name)}, items...)...)
}

// activatorCases are about who stands in for a service that does not run.
var activatorCases = []suites.Case{
	{
		Name: "activator-wakeup",
		Doc:  "A message to a name that only an activator has wakes it (kdbus.connection(7), test-activator.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a := f.peer(activator(nameA)), f.peer()
			f.listed(a, nameA, map[*peer]uint64{act: kc.NameActivator | kc.NamePrimary})
			f.do("send to the name", a.sendName(nameA, 7))
			act.awaits("the message")
			want(f, "source", act.gets("the message", 7).SrcID, a.ID)
		},
	},
	{
		Name: "activator-handover",
		Doc:  "Who acquires an activator's name gets the messages that wait for it, and is woken (kdbus.connection(7), test-activator.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a, service := f.peer(activator(nameA)), f.peer(), f.peer()
			a.matches(1, kc.OfName(kc.ItemNameChange, kc.MatchAnyID, kc.MatchAnyID, nameA))
			f.do("send to the name", a.sendName(nameA, 7, kc.Payload([]byte("early"))))
			service.acquires(nameA, kc.NameReplaceExisting)
			_, i := a.notifies("the handover", kc.ItemNameChange)
			f.isChange(i, act, service, nameA)
			service.awaits("what waited")
			m := service.gets("what waited", 7)
			data, err := m.Data()
			f.do("read the payload", err)
			want(f, "payload", string(data), "early")
			act.nothing("after the handover")
			f.listed(a, nameA, map[*peer]uint64{service: kc.NamePrimary, act: kc.NameActivator | kc.NameInQueue})
			f.do("send to the name", a.sendName(nameA, 8))
			service.gets("a later message", 8)
		},
	},
	{
		Name: "activator-talk-deny",
		Doc:  "The policy of an activator's name is in force before the service runs: EPERM, and it is not woken (kdbus.policy(7), test-activator.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act := f.peer(activator(nameA, kc.Access(kc.PolicyUser, kc.PolicyOwn, 0)))
			p := f.peerAs(nobody, nobody)
			f.refused("send to its ID", p.send(to(act, 1)), unix.ENXIO)
			f.refused("send to the name", p.sendName(nameA, 1), unix.EPERM)
			_, err := p.acquire(nameA, kc.NameReplaceExisting)
			f.refused("acquire the name", err, unix.EPERM)
			act.nothing("after the refusals")
			service := f.peer()
			service.acquires(nameA, 0)
			f.refused("send to the running service", p.sendName(nameA, 1), unix.EPERM)
			service.nothing("after the refusals")
		},
	},
	{
		Name: "activator-close-keeps-service",
		Doc:  "A service keeps its name when the activator goes; the activator's policy goes with it (kdbus.policy(7), test-activator.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act := f.peer(activator(nameA, kc.Access(kc.PolicyWorld, kc.PolicyTalk, 0)))
			service, same, p := f.peer(), f.peer(), f.peerAs(nobody, nobody)
			service.acquires(nameA, 0)
			f.do("send by policy", p.sendName(nameA, 1))
			act.close()
			service.gets("by policy", 1)
			f.do("send as the same user", same.sendName(nameA, 2))
			service.gets("of the same user", 2)
			f.refused("send without policy", p.sendName(nameA, 3), unix.EPERM)
			f.peer(holder(nameA, kc.Access(kc.PolicyWorld, kc.PolicyTalk, 0)))
			f.do("send by a later policy", p.sendName(nameA, 4))
			service.gets("by a later policy", 4)
			_, err := p.acquire(nameA, 0)
			f.refused("acquire by a policy to talk", err, unix.EPERM)
		},
	},
	{
		Name: "activator-only-one",
		Doc:  "A name has one activator: EEXIST, and who failed has come and gone (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(activator(nameA))
			watcher := f.peer()
			watcher.matches(1, kc.OfID(kc.ItemIDAdd, kc.MatchAnyID))
			watcher.matches(2, kc.OfID(kc.ItemIDRemove, kc.MatchAnyID))
			_, err := f.tryPeer("bus", 0, 0, activator(nameA))
			f.refused("connect as a second activator", err, unix.EEXIST)
			balance := 0
			for {
				m, err := watcher.Recv(0, 0)
				if err != nil {
					break
				}
				switch m.Items[0].Type {
				case kc.ItemIDAdd:
					balance++
				case kc.ItemIDRemove:
					balance--
				}
			}
			want(f, "connections that came and did not go", balance, 0)
			want(f, "connections", f.unique(watcher), 2)
		},
	},
	{
		Name: "activator-after-service",
		Doc:  "An activator may come after the service, and waits behind it without a word (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			service, watcher := f.peer(), f.peer()
			service.acquires(nameA, 0)
			for n, kind := range []uint64{kc.ItemNameAdd, kc.ItemNameChange, kc.ItemNameRemove} {
				watcher.matches(uint64(n), kc.OfName(kind, kc.MatchAnyID, kc.MatchAnyID, ""))
			}
			act := f.peer(activator(nameA))
			watcher.nothing("an activator came")
			f.listed(service, nameA, map[*peer]uint64{service: kc.NamePrimary, act: kc.NameActivator | kc.NameInQueue})
			service.releases(nameA)
			_, i := watcher.notifies("back to the activator", kc.ItemNameChange)
			f.isChange(i, service, act, nameA)
		},
	},
	{
		Name: "activator-order-preserved",
		Doc:  "Messages that move to a service keep their order and their priorities (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(activator(nameA), bigPool)
			a, service := f.peer(), f.peer(bigPool)
			for cookie := range uint64(50) {
				m := byName(cookie)
				m.Priority = int64(cookie % 7)
				a.sends(m, kc.To(nameA))
			}
			service.acquires(nameA, 0)
			for cookie := range uint64(50) {
				want(f, "priority", service.gets("in order", cookie).Priority, int64(cookie%7))
			}
		},
	},
	{
		Name: "activator-only-own-name",
		Doc:  "Only messages to the activator's name move (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			actA, actB := f.peer(activator(nameA)), f.peer(activator(nameB))
			a, service := f.peer(), f.peer()
			f.do("send to one", a.sendName(nameA, 1))
			f.do("send to the other", a.sendName(nameB, 2))
			service.acquires(nameA, 0)
			service.gets("of the one", 1)
			service.nothing("of the other")
			actA.nothing("of the one")
			actB.gets("of the other", 2)
		},
	},
	{
		Name: "activator-reply-after-move",
		Doc:  "A call to an activator's name is answered by the service that takes it over (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a, service := f.peer(activator(nameA)), f.peer(), f.peer()
			done := a.calls(calling(byName(7), 600*second), -1, kc.To(nameA))
			act.awaits("the call")
			service.acquires(nameA, 0)
			service.sends(reply(service.waits("the call"), 8))
			a.answered("the call", done, 8)
		},
	},
	{
		Name: "activator-service-crash-returns",
		Doc:  "When a service dies, what it has not read goes back to the activator; calls it has read are dead, or are the next service's to answer (kdbus.connection(7), connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a, service := f.peer(activator(nameA)), f.peer(), f.peer()
			service.acquires(nameA, 0)
			for cookie := uint64(1); cookie <= 5; cookie++ {
				a.sends(calling(byName(cookie), 600*second), kc.To(nameA))
			}
			service.gets("the first", 1)
			service.gets("the second", 2)
			service.close()
			dead := a.drain()
			if dead != 0 {
				want(f, "calls told to be dead", dead, 2)
			}
			t.Logf("%d calls that the service had read are dead", dead)
			successor := f.peer()
			for cookie := uint64(3); cookie <= 4; cookie++ {
				act.awaits("what came back")
				act.gets("what came back", cookie)
			}
			successor.acquires(nameA, 0)
			successor.sends(reply(successor.gets("what went on", 5), 9))
			want(f, "the call answered", a.gets("the reply", 9).CookieReply(), 5)
			late := toID(a.ID, 10)
			late.Timeout = 1
			if err := successor.send(late); dead == 0 {
				f.do("answer what the service had read", err)
				a.gets("the late reply", 10)
			} else {
				f.refused("answer what is dead", err, unix.EBADSLT, unix.EPERM)
			}
		},
	},
}
