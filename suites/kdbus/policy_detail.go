package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// policyDetailCases are about who acts, and what a policy is matched with.
var policyDetailCases = []suites.Case{
	{
		Name: "policy-supplementary-group",
		Doc:  "A grant to a group is for who has it as a supplementary group (kdbus.policy(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(holder(nameA, group(kc.PolicyOwn, 4242)))
			p := f.peerAs(nobody, nobody)
			_, err := p.acquire(nameA, 0)
			f.refused("acquire without the group", err, unix.EPERM)
			f.do("acquire with the group", as(nobody, nobody, func() error { _, err := p.Acquire(nameA, 0); return err }, 1, 4242, 7000))
		},
	},
	{
		Name: "policy-setuid-after-hello",
		Doc:  "Who connected as the bus's owner stays so without privileges (kdbus.policy(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, q := f.peer(), f.peerAs(other, other)
			f.do("act without privileges", as(nobody, nobody, func() error {
				if _, err := p.Acquire(nameA, 0); err != nil {
					return err
				}
				return p.Send(to(q, 1))
			}))
			q.gets("of the owner's connection", 1)
		},
	},
	{
		Name: "policy-euid-counts",
		Doc:  "It is the effective user ID of who acts that a policy is about (kdbus.policy(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(holder(nameA, user(kc.PolicyOwn, 1234)))
			p := f.peerAs(nobody, nobody)
			act := func(ruid, euid, suid int) error {
				return onThread(func() error {
					if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(ruid), uintptr(euid), uintptr(suid)); e != 0 {
						return e
					}
					_, err := p.Acquire(nameA, 0)
					return err
				})
			}
			f.refused("acquire as real user", act(1234, 77, 0), unix.EPERM)
			f.refused("acquire as saved user", act(0, 77, 1234), unix.EPERM)
			f.do("acquire as effective user", act(0, 1234, 0))
		},
	},
	{
		Name: "policy-wildcard-one-label",
		Doc:  "A wildcard is for one label more (kdbus.policy(7)); in the 2015 code it is for none (policy.c), which is told, not judged.",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(holder("com.example.*", world(kc.PolicyOwn)))
			p := f.peerAs(nobody, nobody)
			if _, err := p.acquire("com.example.x", 0); err != nil {
				f.refused("acquire one label", err, unix.EPERM)
				t.Log("quirk: wildcards grant nothing")
			}
			for _, name := range []string{"com.example.x.y", "com.example", "com.examplex.y"} {
				_, err := p.acquire(name, 0)
				f.refused("acquire "+name, err, unix.EPERM)
			}
		},
	},
	{
		Name: "policy-exact-over-wildcard",
		Doc:  "A policy for the name itself goes before one for a wildcard (kdbus.policy(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(holder("com.example.*", world(kc.PolicyOwn)))
			f.peer(holder(nameA))
			_, err := f.peerAs(nobody, nobody).acquire(nameA, 0)
			f.refused("acquire", err, unix.EPERM)
		},
	},
	{
		Name: "policy-queued-name-no-talk",
		Doc:  "A name that one waits for opens no way to one (policy.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, p := f.peer(), f.peer(), f.peerAs(nobody, nobody)
			f.talkable(a, nameA)
			_, err := b.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			f.refused("send to who waits", p.send(to(b, 1)), unix.EPERM)
			a.releases(nameA)
			p.sends(to(b, 2))
			b.gets("as the owner", 2)
		},
	},
	{
		Name: "policy-talk-any-owned-name",
		Doc:  "Who may talk to one of a connection's names may talk to it by any (kdbus.policy(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peerAs(nobody, nobody)
			a.acquires(nameB, 0)
			f.refused("send to a name without a policy", p.sendName(nameB, 1), unix.EPERM)
			f.talkable(a, nameA)
			for n, err := range []error{p.sendName(nameA, 0), p.sendName(nameB, 1), p.send(to(a, 2))} {
				f.do("send", err)
				a.gets("the message", uint64(n))
			}
		},
	},
	{
		Name: "policy-revoked-mid-call",
		Doc:  "A call that was let through is answered, whatever the policy is by then (kdbus.policy(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			h := f.peer(holder(nameA, world(kc.PolicyTalk)))
			a, p := f.peer(), f.peerAs(nobody, nobody)
			a.acquires(nameA, 0)
			p.sends(call(a, 7, 600*second))
			f.do("revoke", h.Update(kc.Name(nameA)))
			a.sends(reply(a.gets("the call", 7), 8))
			p.gets("the reply", 8)
			f.refused("call again", p.send(call(a, 9, 600*second)), unix.EPERM)
		},
	},
	{
		Name: "ep-empty-policy-blocks",
		Doc:  "Through an endpoint without a policy nobody is reached, not by root either: EPERM; an unknown name is ESRCH (kdbus.endpoint(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.newEndpoint("foo", 0)
			a, p := f.peer(), f.peerAt("foo")
			a.acquires(nameA, 0)
			f.refused("send by ID", p.send(to(a, 1)), unix.EPERM)
			f.refused("send by name", p.sendName(nameA, 1), unix.EPERM)
			f.refused("send to an unknown name", p.sendName(nameB, 1), unix.ESRCH)
			_, err := p.acquire(nameB, 0)
			f.refused("acquire", err, unix.EPERM)
			a.nothing("after the refusals")
			f.do("grant TALK", kc.UpdateEndpoint(fd, kc.Name(nameA), world(kc.PolicyTalk)))
			p.sends(to(a, 2))
			a.gets("when it is granted", 2)
			_, err = p.InfoOf(nameA, 0)
			f.do("see what one may talk to", err)
			f.do("clear the policy", kc.UpdateEndpoint(fd))
			f.refused("send when it is cleared", p.send(to(a, 3)), unix.EPERM)
			_, err = p.InfoOf(nameA, 0)
			f.refused("see when it is cleared", err, unix.ESRCH)
		},
	},
	{
		Name: "ep-own-needs-both",
		Doc:  "A name is owned through an endpoint if its policy and the bus's grant it (kdbus.endpoint(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.newEndpoint("foo", kc.AccessWorld)
			p, err := f.tryPeer(endpointName("foo"), nobody, nobody)
			f.do("connect", err)
			own := []kc.Item{kc.Name(nameA), world(kc.PolicyOwn)}
			f.do("grant it on the endpoint", kc.UpdateEndpoint(fd, own...))
			_, err = p.acquire(nameA, 0)
			f.refused("acquire by the endpoint's policy", err, unix.EPERM)
			h := f.peer(holder(nameA, world(kc.PolicyOwn)))
			p.acquires(nameA, 0)
			p.releases(nameA)
			f.do("take it from the endpoint", kc.UpdateEndpoint(fd))
			_, err = p.acquire(nameA, 0)
			f.refused("acquire by the bus's policy", err, unix.EPERM)
			h.close()
		},
	},
	{
		Name: "ep-no-owner-powers",
		Doc:  "Through a custom endpoint nobody is the bus's owner: EPERM (kdbus.endpoint(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.newEndpoint("foo", 0)
			for what, o := range map[string]option{
				"an activator": activator(nameA), "a policy holder": holder(nameA),
				"other credentials": with(kc.Words(kc.ItemCreds, 1, 1, 1, 1, 1, 1, 1, 1)),
			} {
				_, err := f.tryPeer(endpointName("foo"), 0, 0, o)
				f.refused("connect as "+what, err, unix.EPERM)
			}
			fd := f.open(f.bus.Name + "/" + endpointName("foo"))
			f.refused("make an endpoint", kc.MakeEndpoint(fd, endpointName("bar"), 0), unix.EPERM)
		},
	},
	{
		Name: "ep-update-atomic",
		Doc:  "A policy with a bad entry changes nothing (kdbus.endpoint(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.newEndpoint("foo", 0)
			a, p := f.peer(), f.peerAt("foo")
			a.acquires(nameA, 0)
			f.do("show a name", kc.UpdateEndpoint(fd, kc.Name(nameA), world(kc.PolicySee)))
			f.refused("set a bad policy", kc.UpdateEndpoint(fd, kc.Name(nameB), world(kc.PolicySee), kc.Name("bad")), unix.EINVAL)
			f.refused("set a name twice", kc.UpdateEndpoint(fd, kc.Name(nameB), kc.Name(nameB)), unix.EEXIST)
			_, err := p.InfoOf(nameA, 0)
			f.do("see the name", err)
		},
	},
	{
		Name: "ep-duplicate",
		Doc:  "There is one endpoint of a name: EEXIST, until it is closed (kdbus.endpoint(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd, second := f.newEndpoint("foo", 0), f.endpoint()
			f.refused("make another", kc.MakeEndpoint(second, endpointName("foo"), 0), unix.EEXIST)
			f.shut(fd)
			f.do("make it again", kc.MakeEndpoint(second, endpointName("foo"), 0))
			f.dirHas(f.bus.Dir, endpointName("foo"), "bus")
		},
	},
	{
		Name: "ep-list-filter",
		Doc:  "LIST on an endpoint has no names that its policy does not show; whether their owner is there without them is open (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.newEndpoint("foo", 0)
			a, b, p := f.peer(), f.peer(), f.peerAt("foo")
			a.acquires(nameA, 0)
			all, err := p.List(kc.ListAll)
			f.do("list", err)
			seen := make(map[uint64]bool)
			for _, r := range all {
				want(f, "items of a record", len(r.Items), 0)
				seen[r.ID] = true
			}
			if !seen[b.ID] || !seen[p.ID] {
				t.Errorf("connections without names are not listed: %v", seen)
			}
			t.Logf("the owner of a hidden name is listed: %v", seen[a.ID])
		},
	},
}
