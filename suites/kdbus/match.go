package kdbus

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// bits are the bytes of a filter or a mask, by their place.
type bits map[int]byte

func (b bits) bytes() []byte {
	out := make([]byte, bloomSize)
	for at, v := range b {
		out[at] = v
	}
	return out
}

// The masks of test-match.c.
var (
	generation0 = bits{0: 0x55, 63: 0x80}
	generation1 = bits{1: 0xaa, 9: 0x02}
	both        = bits{0: 0x55, 63: 0x80, 1: 0xaa, 9: 0x02}
)

// blooms are signals that a mask of generation0 and generation1 lets through or not.
var blooms = []struct {
	name       string
	filter     bits
	generation uint64
	through    bool
	doc        string
}{
	{"zero-filter", bits{}, 0, false, "A filter without the mask's bits does not match"},
	{"exact", generation0, 0, true, "A filter with the mask's bits matches"},
	{"superset", bits{0: 0xff, 63: 0x80, 20: 1}, 0, true, "A filter with more than the mask's bits matches"},
	{"one-bit-short", bits{0: 0x54, 63: 0x80}, 0, false, "A filter that lacks one of the mask's bits does not match"},
	{"last-byte-short", bits{0: 0x55}, 0, false, "A filter that lacks a bit of the mask's last word does not match"},
	{"generation-miss", generation0, 1, false, "A filter is compared with its own generation of the mask"},
	{"generation-hit", both, 1, true, "A filter with the bits of its generation of the mask matches"},
	{"generation-beyond", generation1, 2, true, "A filter of a later generation is compared with the mask's last"},
	{"generation-huge", generation1, 1<<64 - 1, true, "A filter of any later generation is compared with the mask's last"},
	{"generation-huge-miss", generation0, 1<<64 - 1, false, "A filter of any later generation is compared with the mask's last"},
}

// changed is what a match rule about the kernel's notifications is tried with.
type changed struct {
	name, doc string
	rule      func(watcher, actor *peer) kc.Item
	through   bool
}

var changes = []changed{
	{"old-zero", "In a rule 0 is nobody, which a new name's old owner is",
		func(*peer, *peer) kc.Item { return kc.OfName(kc.ItemNameAdd, 0, kc.MatchAnyID, nameA) }, true},
	{"old-other", "A rule with an old owner does not match a name that had none",
		func(*peer, *peer) kc.Item { return kc.OfName(kc.ItemNameAdd, 5, kc.MatchAnyID, nameA) }, false},
	{"any-name", "A rule without a name matches any",
		func(*peer, *peer) kc.Item { return kc.OfName(kc.ItemNameAdd, kc.MatchAnyID, kc.MatchAnyID, "") }, true},
	{"other-name", "A rule with another name does not match",
		func(*peer, *peer) kc.Item { return kc.OfName(kc.ItemNameAdd, kc.MatchAnyID, kc.MatchAnyID, nameB) }, false},
	{"new-owner", "A rule with the new owner's ID matches",
		func(_, a *peer) kc.Item { return kc.OfName(kc.ItemNameAdd, kc.MatchAnyID, a.ID, nameA) }, true},
	{"new-other", "A rule with another new owner does not match",
		func(w, _ *peer) kc.Item { return kc.OfName(kc.ItemNameAdd, kc.MatchAnyID, w.ID, nameA) }, false},
	{"other-kind", "A rule about names removed does not match one that is added",
		func(*peer, *peer) kc.Item { return kc.OfName(kc.ItemNameRemove, kc.MatchAnyID, kc.MatchAnyID, nameA) }, false},
	{"user-rule", "A rule about users' messages does not match the kernel's",
		func(*peer, *peer) kc.Item { return kc.OfID(kc.ItemID, kc.MatchAnyID) }, false},
	{"name-rule", "A rule about a sender's name does not match the kernel's messages about it",
		func(*peer, *peer) kc.Item { return kc.Name(nameA) }, false},
}

func matchCases() (cases []suites.Case) {
	for _, b := range blooms {
		cases = append(cases, suites.Case{Name: "match-bloom-" + b.name, Doc: b.doc + " (kdbus.match(7), test-match.c).", Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			p.matches(1, kc.Mask(generation0.bytes(), generation1.bytes()))
			a.sends(broadcast(1), kc.Filter(b.generation, b.filter.bytes()))
			f.through(p, "the signal", b.through)
		}})
	}
	for _, c := range changes {
		cases = append(cases, suites.Case{Name: "match-change-" + c.name, Doc: c.doc + " (kdbus.match(7)).", Run: func(t *suites.T) {
			f := newBus(t)
			watcher, actor := f.peer(), f.peer()
			watcher.matches(1, c.rule(watcher, actor))
			actor.acquires(nameA, 0)
			f.through(watcher, "NAME_ADD", c.through)
		}})
	}
	return append(cases, matchOtherCases...)
}

// through wants a message to have been let through, or not.
func (f *fixture) through(p *peer, what string, wanted bool) {
	f.t.Helper()
	if wanted {
		p.takes(what)
	}
	p.nothing("after " + what)
}

var matchOtherCases = []suites.Case{
	{
		Name: "match-id-add",
		Doc:  "ID_ADD tells of a new connection, with the flags of its HELLO (kdbus.match(7), test-match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.matches(1, kc.OfID(kc.ItemIDAdd, kc.MatchAnyID))
			for _, o := range []option{flags(kc.AcceptFD), flags(0), holder(nameA), activator(nameB)} {
				n := f.peer(o)
				_, i := p.notifies("a new connection", kc.ItemIDAdd)
				change, err := kc.As[kc.IDChange](i)
				f.do("read ID_ADD", err)
				want(f, "who came", change, kc.IDChange{ID: n.ID, Flags: n.flags})
			}
		},
	},
	{
		Name: "match-id-remove",
		Doc:  "ID_REMOVE tells of the connection that goes, and a rule with its ID of no other (kdbus.match(7), test-match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a, b := f.peer(), f.peer(), f.peer()
			p.matches(1, kc.OfID(kc.ItemIDRemove, a.ID))
			b.close()
			p.nothing("another went")
			a.close()
			m, i := p.notifies("it went", kc.ItemIDRemove)
			change, err := kc.As[kc.IDChange](i)
			f.do("read ID_REMOVE", err)
			want(f, "who went", change, kc.IDChange{ID: a.ID, Flags: a.flags})
			want(f, "destination", m.DstID, kc.DstBroadcast)
			want(f, "flags", m.Flags, kc.Signal)
		},
	},
	{
		Name: "match-replace",
		Doc:  "REPLACE puts an entry in the place of those with its cookie (kdbus.match(7), test-match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.matches(1, kc.OfID(kc.ItemIDAdd, kc.MatchAnyID))
			f.do("replace", p.Match(1, kc.MatchReplace, kc.OfID(kc.ItemIDRemove, kc.MatchAnyID)))
			n := f.peer()
			p.nothing("the replaced rule")
			n.close()
			p.notifies("the new rule", kc.ItemIDRemove)
		},
	},
	{
		Name: "match-name-add",
		Doc:  "NAME_ADD tells of a name's first owner (kdbus.match(7), test-match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.matches(1, kc.OfName(kc.ItemNameAdd, kc.MatchAnyID, kc.MatchAnyID, nameA))
			p.acquires(nameA, 0)
			_, i := p.notifies("one's own name", kc.ItemNameAdd)
			f.isChange(i, nil, p, nameA)
		},
	},
	{
		Name: "match-name-remove",
		Doc:  "NAME_REMOVE tells of a name's last owner (kdbus.match(7), test-match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.acquires(nameA, 0)
			p.matches(1, kc.OfName(kc.ItemNameRemove, kc.MatchAnyID, kc.MatchAnyID, nameA))
			p.releases(nameA)
			_, i := p.notifies("one's own name", kc.ItemNameRemove)
			f.isChange(i, p, nil, nameA)
		},
	},
	{
		Name: "match-name-change",
		Doc:  "NAME_CHANGE tells of a name that goes to who waited for it (kdbus.match(7), test-match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := b.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			a.matches(1, kc.OfName(kc.ItemNameChange, kc.MatchAnyID, kc.MatchAnyID, nameA))
			a.releases(nameA)
			_, i := a.notifies("the change", kc.ItemNameChange)
			f.isChange(i, a, b, nameA)
		},
	},
	{
		Name: "match-empty-entry",
		Doc:  "An entry without rules matches everything: signals and notifications (match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			p.matches(1)
			a.signals(7)
			p.gets("a signal", 7)
			a.acquires(nameA, 0)
			p.notifies("a name", kc.ItemNameAdd)
			a.close()
			p.notifies("its end", kc.ItemNameRemove)
			p.notifies("its owner's end", kc.ItemIDRemove)
		},
	},
	{
		Name: "match-and",
		Doc:  "An entry matches if all of its rules do (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a, b := f.peer(), f.peer(), f.peer()
			p.matches(1, kc.Name(nameA), kc.OfID(kc.ItemID, a.ID))
			a.signals(1)
			p.nothing("by ID without the name")
			b.acquires(nameA, 0)
			b.signals(2)
			p.nothing("by name without the ID")
			b.releases(nameA)
			a.acquires(nameA, 0)
			a.signals(3)
			p.gets("by both", 3)
		},
	},
	{
		Name: "match-or",
		Doc:  "A connection gets what any of its entries matches, once (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a, b, c := f.peer(), f.peer(), f.peer(), f.peer()
			p.matches(1, kc.OfID(kc.ItemID, a.ID))
			p.matches(2, kc.OfID(kc.ItemID, b.ID))
			p.matches(3, kc.OfID(kc.ItemID, b.ID))
			for n, from := range []*peer{a, b, c} {
				from.signals(uint64(n))
			}
			p.gets("of the first", 0)
			p.gets("of the second", 1)
			p.nothing("of the third")
		},
	},
	{
		Name: "match-kernel-rule-ignores-user",
		Doc:  "A rule about notifications does not match a user's signal (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			p.matches(1, kc.OfID(kc.ItemIDAdd, kc.MatchAnyID))
			a.signals(1)
			p.nothing("a signal")
		},
	},
	{
		Name: "match-name-rule",
		Doc:  "A rule with a name matches who owns it, not who waits for it or had it (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a, b := f.peer(), f.peer(), f.peer()
			p.matches(1, kc.Name(nameA))
			a.acquires(nameA, 0)
			_, err := b.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			a.signals(1)
			p.gets("of the owner", 1)
			b.signals(2)
			p.nothing("of who waits")
			a.releases(nameA)
			a.signals(3)
			p.nothing("of who had it")
			b.signals(4)
			p.gets("of who waited", 4)
		},
	},
	{
		Name: "match-dst-id",
		Doc:  "A rule with a destination tells broadcasts from directed signals (kdbus.match(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			if !f.variant().dstID {
				t.Skip("this kernel's kdbus has no DST_ID rules (2015-07-14)")
			}
			a := f.peer()
			for _, c := range []struct {
				name            string
				id              func(p *peer) uint64
				broad, directed bool
			}{
				{"broadcast", func(*peer) uint64 { return kc.DstBroadcast }, true, true}, // it is the ID of any, too
				{"own", func(p *peer) uint64 { return p.ID }, false, true},
				{"other", func(p *peer) uint64 { return p.ID + 1000 }, false, false},
			} {
				p := f.peer()
				p.matches(1, kc.OfID(kc.ItemDstID, c.id(p)))
				a.signals(1)
				f.through(p, "a broadcast, rule "+c.name, c.broad)
				m := to(p, 2)
				m.Flags = kc.Signal
				a.sends(m, zeroFilter())
				f.through(p, "a directed signal, rule "+c.name, c.directed)
				p.close()
			}
		},
	},
	{
		Name: "match-directed-signal-no-rule",
		Doc:  "A directed signal to who has no match succeeds, and is not delivered (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			m := to(b, 1)
			m.Flags = kc.Signal
			a.sends(m, zeroFilter())
			b.nothing("a directed signal")
			b.anyMatch()
			a.sends(m, zeroFilter())
			want(f, "destination", b.gets("a directed signal", 1).DstID, b.ID)
		},
	},
	{
		Name: "match-unicast-unfiltered",
		Doc:  "Plain messages need no match (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			b.matches(1, kc.OfID(kc.ItemID, unknownID))
			a.sends(to(b, 1))
			b.gets("a message", 1)
		},
	},
}

func bigBlooms(t *suites.T) {
	f := newDomain(t)
	for _, b := range [][2]uint64{{4104, 1}, {0, 1}, {7, 1}, {12, 1}, {64, 0}, {1<<64 - 8, 1}} {
		s := f.aBus("bad")
		s.Bloom = kc.BloomParameter{Size: b[0], Hashes: b[1]}
		f.refused("make a bus with bad filters", kc.MakeBus(f.control(), s), unix.EINVAL)
	}
	f.rootHas("control")
	f.spec = f.aBus("big")
	f.spec.Bloom = kc.BloomParameter{Size: kc.MaxBloomSize, Hashes: 16}
	var err error
	f.bus, err = kc.NewBus(f.root, f.spec)
	f.do("make a bus", err)
	a, p := f.peer(), f.peer()
	want(f, "bloom parameter told", p.Bloom, f.spec.Bloom)
	mask := make([]byte, kc.MaxBloomSize)
	mask[4095] = 0x10
	p.matches(1, kc.Mask(mask))
	other := slices.Clone(mask)
	other[4095] = 0x20
	a.sends(broadcast(1), kc.Filter(0, other))
	p.nothing("another bit")
	a.sends(broadcast(2), kc.Filter(0, mask))
	p.gets("the mask's bit", 2)
}
