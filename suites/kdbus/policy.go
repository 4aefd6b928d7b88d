package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A grant is a policy of nameA and what it gives a user without privileges.
type grant struct {
	name      string
	accesses  []kc.Item
	own, talk bool
	doc       string
}

func user(access, id uint64) kc.Item  { return kc.Access(kc.PolicyUser, access, id) }
func group(access, id uint64) kc.Item { return kc.Access(kc.PolicyGroup, access, id) }
func world(access uint64) kc.Item     { return kc.Access(kc.PolicyWorld, access, 0) }

// grants are tried by acquiring the name, and by sending to who has it.
var grants = []grant{
	{"none", nil, false, false, "A name without a policy is nobody's but the bus owner's"},
	{"own-world", []kc.Item{world(kc.PolicyOwn)}, true, true, "OWN for the world is for everybody, and includes TALK"},
	{"own-group-match", []kc.Item{group(kc.PolicyOwn, nobody)}, true, true, "OWN for a group is for who is in it"},
	{"own-group-mismatch", []kc.Item{group(kc.PolicyOwn, 1)}, false, false, "OWN for a group is not for who is not in it"},
	{"own-user-match", []kc.Item{user(kc.PolicyOwn, nobody)}, true, true, "OWN for a user is for that user"},
	{"own-user-mismatch", []kc.Item{user(kc.PolicyOwn, 1)}, false, false, "OWN for a user is not for another"},
	{"own-root-only", []kc.Item{user(kc.PolicyOwn, 0)}, false, false, "OWN for root is not for another"},
	{"talk-world", []kc.Item{world(kc.PolicyTalk)}, false, true, "TALK for the world does not let own"},
	{"talk-group", []kc.Item{group(kc.PolicyTalk, nobody)}, false, true, "TALK for a group is for who is in it"},
	{"talk-user", []kc.Item{user(kc.PolicyTalk, nobody)}, false, true, "TALK for a user is for that user"},
	{"talk-group-as-user", []kc.Item{group(kc.PolicyTalk, 1), user(kc.PolicyTalk, 1)}, false, false, "An ID is a user's or a group's, as the entry says"},
	{"see-world", []kc.Item{world(kc.PolicySee)}, false, false, "SEE lets neither own nor talk"},
	{"own-middle-of-list", []kc.Item{user(kc.PolicyOwn, 1), user(kc.PolicyOwn, 2), user(kc.PolicyOwn, nobody), user(kc.PolicyOwn, 4), user(kc.PolicyOwn, 5)},
		true, true, "Every entry of a policy counts"},
	{"talk-no-suitable", []kc.Item{user(kc.PolicyOwn, 1), user(kc.PolicyTalk, 2), user(kc.PolicySee, nobody), group(kc.PolicyOwn, 3), user(kc.PolicyOwn, 0)},
		false, false, "What others are granted does not count"},
	{"highest-of-several", []kc.Item{user(kc.PolicySee, nobody), world(kc.PolicyTalk), group(kc.PolicySee, nobody)},
		false, true, "Of several entries that apply the highest counts"},
}

// A badPolicy is one that is refused.
type badPolicy struct {
	name, doc string
	items     []kc.Item
	want      unix.Errno
}

var badPolicies = []badPolicy{
	{"bad-name-dot", "A policy is for a well-formed name: EINVAL", []kc.Item{kc.Name(".example.a")}, unix.EINVAL},
	{"bad-name-single", "A policy is for a well-formed name: EINVAL", []kc.Item{kc.Name("example")}, unix.EINVAL},
	{"bad-name-wildcard", "A policy is for a well-formed name: EINVAL", []kc.Item{kc.Name(".example.*")}, unix.EINVAL},
	{"access-before-name", "An access belongs to the name before it: EINVAL", []kc.Item{world(kc.PolicyOwn), kc.Name(nameB)}, unix.EINVAL},
	{"bad-type-zero", "An access is for a user, a group or the world: EINVAL", []kc.Item{kc.Name(nameB), kc.Access(0, kc.PolicyOwn, 0)}, unix.EINVAL},
	{"bad-type-four", "An access is for a user, a group or the world: EINVAL", []kc.Item{kc.Name(nameB), kc.Access(4, kc.PolicyOwn, 0)}, unix.EINVAL},
	{"bad-access", "An access is to see, to talk or to own: EINVAL", []kc.Item{kc.Name(nameB), world(3)}, unix.EINVAL},
	{"two-names-update", "A policy holder holds one name's policy: E2BIG", []kc.Item{kc.Name(nameA), kc.Name(nameB)}, unix.E2BIG},
}

func policyCases() (cases []suites.Case) {
	for _, g := range grants {
		cases = append(cases, suites.Case{Name: "priv-" + g.name, Doc: g.doc + " (kdbus.policy(7), test-policy-priv.c).", Run: g.run})
	}
	for _, b := range badPolicies {
		cases = append(cases, suites.Case{Name: "policy-" + b.name, Doc: b.doc + ", and the policy before it stays (kdbus.policy(7), test-policy.c).", Run: b.run})
	}
	return append(cases, policyOtherCases...)
}

// run tries the grant by a policy that is there at HELLO, that is taken away, and
// that is set by UPDATE.
func (g grant) run(t *suites.T) {
	f := newBus(t)
	p := f.peerAs(nobody, nobody)
	h := f.peer(holder(nameA, g.accesses...))
	g.try(f, p, "by HELLO")
	f.do("clear the policy", h.Update(kc.Name(nameA)))
	grant{}.try(f, p, "when it is cleared")
	f.do("set the policy again", h.Update(append([]kc.Item{kc.Name(nameA)}, g.accesses...)...))
	g.try(f, p, "by UPDATE")
	h.close()
	grant{}.try(f, p, "when the holder is gone")
}

// try acquires the name and sends to it.
func (g grant) try(f *fixture, p *peer, when string) {
	f.t.Helper()
	allowed := func(what string, err error, wanted bool) {
		f.t.Helper()
		if wanted && err != nil {
			f.t.Errorf("%s %s: %s, want success", what, when, said(err))
		} else if !wanted {
			f.refused(what+" "+when, err, unix.EPERM)
		}
	}
	_, err := p.acquire(nameA, 0)
	allowed("acquire", err, g.own)
	if err == nil {
		p.releases(nameA)
	}
	owner := f.peer()
	owner.acquires(nameA, 0)
	allowed("send by name", p.sendName(nameA, 1), g.talk)
	allowed("send by ID", p.send(to(owner, 2)), g.talk)
	if g.talk {
		owner.gets("by name", 1)
		owner.gets("by ID", 2)
	}
	owner.nothing("after the tries")
	owner.close()
}

func (b badPolicy) run(t *suites.T) {
	f := newBus(t)
	h, p := f.peer(holder(nameA, world(kc.PolicyOwn))), f.peerAs(nobody, nobody)
	f.refused("update the policy", h.Update(b.items...), b.want)
	p.acquires(nameA, 0)
	p.releases(nameA)
	if b.want == unix.EINVAL {
		_, err := f.tryPeer("bus", 0, 0, flags(kc.PolicyHolder), with(b.items...))
		f.refused("connect with that policy", err, unix.EINVAL)
		fd := f.newEndpoint("foo", 0)
		f.refused("update an endpoint's policy", kc.UpdateEndpoint(fd, b.items...), unix.EINVAL)
	}
}

var policyOtherCases = []suites.Case{
	{
		Name: "policy-holder-ok",
		Doc:  "A policy holder holds the policy of a name, is listed, and is nobody to send to (kdbus.policy(7), test-policy.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, h := f.peer(), f.peer(holder(nameA))
			f.peer(holder(nameB))
			want(f, "connections", f.unique(a), 3)
			f.listed(a, nameA, nil)
			f.refused("send to it", a.send(to(h, 1)), unix.ENXIO)
			want(f, "flags", f.about(a, h, 0).Flags, kc.AcceptFD|kc.PolicyHolder)
		},
	},
	{
		Name: "policy-duplicate-names",
		Doc:  "A name's policy, or a wildcard's, is held by one: EEXIST, and what both held before stays (kdbus.policy(7), test-policy.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peerAs(nobody, nobody)
			h1 := f.peer(holder(nameA, world(kc.PolicyOwn)))
			h2 := f.peer(holder(nameB, world(kc.PolicyOwn)))
			f.refused("hold another's name", h2.Update(kc.Name(nameA)), unix.EEXIST)
			for _, name := range []string{nameA, nameB} {
				p.acquires(name, 0)
				p.releases(name)
			}
			f.do("hold a wildcard of the name", h2.Update(kc.Name(nameA+".*")))
			f.refused("hold another's wildcard", h1.Update(kc.Name(nameA+".*")), unix.EEXIST)
			f.do("hold another wildcard", h1.Update(kc.Name("com.example.*")))
			f.do("hold what another has given up", h2.Update(kc.Name(nameA)))
			f.refused("hold another's wildcard", h2.Update(kc.Name("com.example.*")), unix.EEXIST)
			_, err := f.tryPeer("bus", 0, 0, holder(nameA))
			f.refused("connect to hold another's name", err, unix.EEXIST)
			want(f, "connections after a refusal", f.unique(f.peer()), 4)
		},
	},
	{
		Name: "priv-talk-default-deny",
		Doc:  "Users do not talk to each other without a policy: EPERM, and nothing is delivered (kdbus.policy(7), test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			root, p, q := f.peer(), f.peerAs(nobody, nobody), f.peerAs(other, other)
			f.refused("send to root", p.send(to(root, 1)), unix.EPERM)
			f.refused("send to another user", p.send(to(q, 1)), unix.EPERM)
			f.refused("send to another user", q.send(to(p, 1)), unix.EPERM)
			f.refused("call root", p.send(call(root, 1, 600*second)), unix.EPERM)
			for _, x := range []*peer{root, p, q} {
				x.nothing("after the refusals")
			}
			root.sends(to(p, 2))
			p.gets("of the bus's owner", 2)
		},
	},
	{
		Name: "priv-talk-same-uid",
		Doc:  "A user's connections talk to each other without a policy (kdbus.policy(7), test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(holder(nameA, user(kc.PolicyOwn, nobody)))
			p, q := f.peerAs(nobody, nobody), f.peerAs(nobody, nobody)
			p.acquires(nameA, 0)
			q.sends(to(p, 1))
			p.gets("by ID", 1)
			f.do("send by name", q.sendName(nameA, 2))
			p.gets("by name", 2)
		},
	},
	{
		Name: "priv-bcast-expect-reply",
		Doc:  "A broadcast expects no reply: ENOTUNIQ (test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, root := f.peerAs(nobody, nobody), f.peer()
			root.anyMatch()
			f.refused("send", p.send(calling(broadcast(1), second), zeroFilter()), unix.ENOTUNIQ)
			root.nothing("after the refusal")
		},
	},
	{
		Name: "priv-broadcasts",
		Doc:  "A broadcast reaches who may talk to its sender: root and the same user, not another user (kdbus.policy(7), test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			all := []*peer{f.peer(), f.peerAs(nobody, nobody), f.peerAs(nobody, nobody), f.peerAs(other, other)}
			for _, p := range all {
				p.anyMatch()
			}
			silent := f.peerAs(nobody, nobody)
			for from := range all {
				all[from].signals(uint64(from))
				for at, p := range all {
					switch {
					case at == 0 || all[at].uid == all[from].uid:
						p.gets("who may talk to the sender", uint64(from))
					default:
						p.nothing("who may not talk to the sender")
					}
				}
			}
			silent.nothing("without a match")
		},
	},
	{
		Name: "priv-bcast-talk-granted",
		Doc:  "Who is granted TALK to a sender's name receives its broadcasts, until the name is released (kdbus.policy(7), test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			root, p := f.peer(), f.peerAs(nobody, nobody)
			f.talkable(root, nameA)
			root.anyMatch()
			p.anyMatch()
			root.signals(1)
			p.gets("of who it may talk to", 1)
			root.gets("one's own", 1)
			p.signals(2)
			root.gets("of the user", 2)
			p.gets("one's own", 2)
			root.releases(nameA)
			root.signals(3)
			root.gets("one's own", 3)
			p.nothing("of who it may no longer talk to")
			p.signals(4)
			root.gets("of the user", 4)
			p.gets("one's own", 4)
		},
	},
	{
		Name: "priv-bcast-from-unpriv-name-owner",
		Doc:  "Broadcasts of an unprivileged owner of a name reach those with a match only (test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(holder(nameB, world(kc.PolicyOwn)))
			a, b := f.peer(), f.peer()
			p, same, silent := f.peerAs(nobody, nobody), f.peerAs(nobody, nobody), f.peerAs(nobody, nobody)
			p.acquires(nameB, 0)
			for _, x := range []*peer{a, b, same} {
				x.anyMatch()
			}
			p.signals(1)
			for _, x := range []*peer{a, b, same} {
				x.gets("with a match", 1)
			}
			silent.nothing("without a match")
		},
	},
	{
		Name: "priv-holder-refused",
		Doc:  "Only the bus's owner holds policies: EPERM (kdbus.policy(7), test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			w := f.peer()
			_, err := f.tryPeer("bus", nobody, nobody, holder(nameA, world(kc.PolicyOwn)))
			f.refused("connect as a policy holder", err, unix.EPERM)
			want(f, "connections", f.unique(w), 1)
		},
	},
	{
		Name: "priv-owner-acquires-any",
		Doc:  "The bus's owner owns any name and talks to any, whatever the policy (kdbus.policy(7), test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(holder(nameA))
			a, p := f.peer(), f.peerAs(nobody, nobody)
			a.acquires(nameA, 0)
			a.releases(nameA)
			_, err := p.acquire(nameA, 0)
			f.refused("acquire as another user", err, unix.EPERM)
			a.sends(to(p, 1))
			p.gets("of the owner", 1)
		},
	},
	{
		Name: "priv-update-policy-refused",
		Doc:  "Who is no policy holder has no policy to update: EOPNOTSUPP (kdbus.policy(7), test-policy-priv.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			for _, p := range []*peer{f.peer(), f.peerAs(nobody, nobody), f.peer(monitor), f.peer(activator(nameB))} {
				f.refused("update", p.Update(kc.Name(nameA), world(kc.PolicyOwn)), unix.EOPNOTSUPP)
			}
			_, err := f.peerAs(nobody, nobody).acquire(nameA, 0)
			f.refused("acquire", err, unix.EPERM)
		},
	},
	{
		Name: "ns-activator-vs-holder",
		Doc:  "A name whose policy is held has no activator with another: EEXIST, and the name stays free (kdbus.policy(7), test-policy-ns.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.peer(holder(nameA, world(kc.PolicyTalk)))
			w := f.peer()
			_, err := f.tryPeer("bus", 0, 0, activator(nameA, world(kc.PolicyTalk)))
			f.refused("connect as an activator", err, unix.EEXIST)
			f.listed(w, nameA, nil)
			want(f, "connections", f.unique(w), 2)
		},
	},
	{
		Name: "ns-world-talk-by-name-and-id",
		Doc:  "Who may talk to a name may send to its owner's ID, and is answered (kdbus.policy(7), test-policy-ns.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			root, p := f.peer(), f.peerAs(nobody, nobody)
			f.talkable(root, nameA)
			f.do("send by name", p.sendName(nameA, 1))
			p.sends(to(root, 2))
			root.gets("by name", 1)
			root.gets("by ID", 2)
			root.sends(to(p, 3))
			p.gets("of the owner", 3)
		},
	},
	{
		Name: "ns-many-senders",
		Doc:  "Many connections that send to a name at once are each received, or refused for its quota (test-policy-ns.c).",
		Run:  manySenders,
	},
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
				return p.Conn.Send(to(q, 1))
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

// manySenders has 63 connections send to a name while it is read.
func manySenders(t *suites.T) {
	f := newBus(t)
	root := f.peer(bigPool)
	f.talkable(root, nameA)
	const senders = 63
	sent := make(chan error, senders)
	for n := range senders {
		p := f.peerAs(nobody, nobody)
		go func() { sent <- p.sendName(nameA, uint64(n), kc.Payload(make([]byte, 1000))) }()
	}
	accepted := 0
	for range senders {
		if err := <-sent; err != nil {
			f.refused("send", err, unix.ENOBUFS, unix.EXFULL)
		} else {
			accepted++
		}
	}
	if accepted < 16 {
		t.Errorf("only %d of %d messages were taken", accepted, senders)
	}
	seen := make(map[uint64]bool)
	for range accepted {
		m := root.takes("one of many")
		if seen[m.Cookie] {
			t.Errorf("message %d was delivered twice", m.Cookie)
		}
		seen[m.Cookie] = true
	}
}
