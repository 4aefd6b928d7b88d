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
