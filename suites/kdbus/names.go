package kdbus

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A spelling is a name that can, or cannot, be acquired.
type spelling struct {
	name, spelled string
	good          bool
	doc           string
}

var spellings = []spelling{
	{"leading-dot", ".bla.blaz", false, "A name does not begin with a dot"},
	{"single-element", "foo", false, "A name has at least two elements"},
	{"wildcard", "foo.bla.bl.*", false, "A wildcard is no name to acquire"},
	{"double-dot", "a..b", false, "A name has no empty element"},
	{"trailing-dot", "a.b.", false, "A name does not end in a dot"},
	{"empty", "", false, "A name is not empty"},
	{"digit-begins-element", "a.1b", false, "An element does not begin with a digit"},
	{"digit-begins-name", "1a.b", false, "An element does not begin with a digit"},
	{"digit-in-element", "a.b1", true, "An element may have digits after its first character"},
	{"dash-begins-element", "a.-b", true, "An element may begin with a dash"},
	{"underscore-begins-element", "a._b", true, "An element may begin with an underscore"},
	{"space", "a.b c", false, "A name has letters, digits, dashes and underscores only"},
	{"slash", "a.b/c", false, "A name has letters, digits, dashes and underscores only"},
	{"colon", ":1.7", false, "A name is not a unique name of D-Bus"},
	{"length-255", "a." + strings.Repeat("b", 253), true, "A name has up to 255 characters"},
	{"length-256", "a." + strings.Repeat("b", 254), false, "A name has 255 characters at most"},
}

func nameCases() (cases []suites.Case) {
	for _, s := range spellings {
		cases = append(cases, suites.Case{Name: "name-" + s.name, Doc: s.doc + " (kdbus.name(7), test-names.c).", Run: s.run})
	}
	return append(cases, nameOtherCases...)
}

// run acquires the name and sends to it; a bad one is refused as a destination
// too, and to release is one nobody has.
func (s spelling) run(t *suites.T) {
	f := newBus(t)
	p := f.peer()
	_, err := p.acquire(s.spelled, 0)
	if s.good {
		f.do("acquire", err)
		f.listed(p, s.spelled, map[*peer]uint64{p: kc.NamePrimary})
		p.sends(byName(1), kc.To(s.spelled))
		p.gets("a message to the name", 1)
		p.releases(s.spelled)
		return
	}
	f.refused("acquire", err, unix.EINVAL)
	f.refused("release", p.Release(s.spelled), unix.ESRCH)
	f.refused("send to it", p.send(byName(1), kc.To(s.spelled)), unix.EINVAL)
	f.refused("match it", p.Match(1, 0, kc.Name(s.spelled)), unix.EINVAL)
	all, err := p.List(kc.ListNames)
	f.do("list", err)
	want(f, "names", len(all), 0)
}

var nameOtherCases = []suites.Case{
	{
		Name: "name-acquire-list",
		Doc:  "A name that was acquired is listed with its owner, and with PRIMARY only (kdbus.name(7), test-names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.acquires(nameA, 0)
			f.listed(p, nameA, map[*peer]uint64{p: kc.NamePrimary})
			r, err := p.InfoOf(nameA, kc.AttachNames)
			f.do("ask about the name", err)
			want(f, "its owner", r.ID, p.ID)
		},
	},
	{
		Name: "name-release-list",
		Doc:  "A name that was released is not listed (kdbus.name(7), test-names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.acquires(nameA, 0)
			p.releases(nameA)
			f.listed(p, nameA, nil)
			_, err := p.InfoOf(nameA, 0)
			f.refused("ask about the name", err, unix.ESRCH)
		},
	},
	{
		Name: "name-release-unknown",
		Doc:  "Releasing a name nobody has is ESRCH (kdbus.name(7), test-names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			f.refused("release", p.Release(nameA), unix.ESRCH)
		},
	},
	{
		Name: "name-release-foreign",
		Doc:  "Releasing another's name is EADDRINUSE, and it keeps it (kdbus.name(7), test-names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			f.refused("release", b.Release(nameA), unix.EADDRINUSE)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary})
		},
	},
	{
		Name: "name-conflict",
		Doc:  "A name another owns is not acquired: EEXIST, and it keeps it (kdbus.name(7), test-names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := b.acquire(nameA, 0)
			f.refused("acquire", err, unix.EEXIST)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary})
			f.refused("release what was not acquired", b.Release(nameA), unix.EADDRINUSE)
		},
	},
	{
		Name: "name-queue-promote",
		Doc:  "Who waits for a name has it when it is released, and is listed with PRIMARY and QUEUE (kdbus.name(7), test-names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := b.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary, b: kc.NameQueue | kc.NameInQueue})
			a.releases(nameA)
			f.listed(a, nameA, map[*peer]uint64{b: kc.NamePrimary | kc.NameQueue})
		},
	},
	{
		Name: "name-allow-replacement-flags",
		Doc:  "That a name may be replaced is listed (kdbus.name(7), test-names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			a.acquires(nameA, kc.NameAllowReplacement)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NameAllowReplacement | kc.NamePrimary})
		},
	},
	{
		Name: "name-takeover",
		Doc:  "REPLACE_EXISTING takes a name whose owner allows it; NAME_CHANGE tells so (kdbus.name(7), test-names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.matches(1, kc.OfName(kc.ItemNameChange, kc.MatchAnyID, kc.MatchAnyID, ""))
			a.acquires(nameA, kc.NameAllowReplacement)
			b.acquires(nameA, kc.NameReplaceExisting)
			f.listed(a, nameA, map[*peer]uint64{b: kc.NamePrimary})
			_, i := a.notifies("the takeover", kc.ItemNameChange)
			f.isChange(i, a, b, nameA)
			f.refused("release what was taken", a.Release(nameA), unix.EADDRINUSE)
		},
	},
	{
		Name: "name-case-sensitive",
		Doc:  "Names that differ in case are different (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires("A.b", 0)
			b.acquires("a.b", 0)
			f.listed(a, "A.b", map[*peer]uint64{a: kc.NamePrimary})
			f.listed(a, "a.b", map[*peer]uint64{b: kc.NamePrimary})
		},
	},
	{
		Name: "name-flags-in-output-bits",
		Doc:  "Flags that are told cannot be asked for: EINVAL (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			for _, flag := range []uint64{kc.NameInQueue, kc.NameActivator, kc.NamePrimary, kc.NameAcquired} {
				_, err := p.acquire(nameA, flag)
				f.refused("acquire with flag "+hex(flag), err, unix.EINVAL)
			}
			f.listed(p, nameA, nil)
		},
	},
}

// eventsAreTheTable has three connections do all there is to do to a name and
// keeps account by the notifications alone.
func eventsAreTheTable(t *suites.T) {
	f := newBus(t)
	watcher := f.peer(pool(1 << 20))
	for n, kind := range []uint64{kc.ItemNameAdd, kc.ItemNameRemove, kc.ItemNameChange} {
		watcher.matches(uint64(n), kc.OfName(kind, kc.MatchAnyID, kc.MatchAnyID, nameA))
	}
	all := []*peer{f.peer(), f.peer(), f.peer()}
	asked := []uint64{0, kc.NameQueue, kc.NameAllowReplacement, kc.NameReplaceExisting | kc.NameQueue, kc.NameAllowReplacement | kc.NameQueue}
	var owner uint64
	for step := range 200 {
		p := all[step*7%3]
		if step%4 == 3 {
			_ = p.Release(nameA) // whether it can is not the question
		} else {
			_, _ = p.acquire(nameA, asked[step*5%len(asked)])
		}
		for {
			m, err := watcher.Recv(0, 0)
			if err != nil {
				f.refused("receive", err, unix.EAGAIN)
				break
			}
			change, _, err := m.Items[0].Change()
			f.do("read a change", err)
			want(f, "the old owner", change.Old.ID, owner)
			owner = change.New.ID
		}
		var listed uint64
		for _, e := range f.table(watcher, nameA) {
			if e.flags&kc.NameInQueue == 0 {
				listed = e.id
			}
		}
		want(f, "the owner by LIST, against the notifications", listed, owner)
	}
}
