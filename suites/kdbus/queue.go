package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// queueCases are about names that several want.
var queueCases = []suites.Case{
	{
		Name: "name-queue-order",
		Doc:  "Those who wait have the name in the order they came, each told by NAME_CHANGE (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			all := []*peer{f.peer(), f.peer(), f.peer(), f.peer()}
			watcher := f.peer()
			watcher.matches(1, kc.OfName(kc.ItemNameChange, kc.MatchAnyID, kc.MatchAnyID, nameA))
			watcher.matches(2, kc.OfName(kc.ItemNameRemove, kc.MatchAnyID, kc.MatchAnyID, nameA))
			for _, p := range all {
				_, err := p.acquire(nameA, kc.NameQueue)
				f.do("queue", err)
			}
			for i := range all[1:] {
				all[i].releases(nameA)
				_, item := watcher.notifies("the next", kc.ItemNameChange)
				f.isChange(item, all[i], all[i+1], nameA)
			}
			all[3].releases(nameA)
			_, item := watcher.notifies("the last", kc.ItemNameRemove)
			f.isChange(item, all[3], nil, nameA)
		},
	},
	{
		Name: "name-queue-owner-death",
		Doc:  "When an owner closes its connection, the first who waits has the name, and NAME_CHANGE tells so once (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c, watcher := f.peer(), f.peer(), f.peer(), f.peer()
			a.acquires(nameA, 0)
			for _, p := range []*peer{b, c} {
				_, err := p.acquire(nameA, kc.NameQueue)
				f.do("queue", err)
			}
			watcher.matches(1, kc.OfName(kc.ItemNameChange, kc.MatchAnyID, kc.MatchAnyID, ""))
			a.close()
			_, i := watcher.notifies("the owner's death", kc.ItemNameChange)
			f.isChange(i, a, b, nameA)
			watcher.nothing("after the change")
			f.listed(b, nameA, map[*peer]uint64{b: kc.NamePrimary | kc.NameQueue, c: kc.NameQueue | kc.NameInQueue})
		},
	},
	{
		Name: "name-queue-two-deaths",
		Doc:  "When owner and first waiter go, each change begins where the one before ended (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c, watcher := f.peer(), f.peer(), f.peer(), f.peer()
			watcher.matches(1, kc.OfName(kc.ItemNameChange, kc.MatchAnyID, kc.MatchAnyID, nameA))
			for _, p := range []*peer{a, b, c} {
				_, err := p.acquire(nameA, kc.NameQueue)
				f.do("queue", err)
			}
			done := make(chan error, 2)
			go func() { done <- a.Byebye() }()
			go func() { done <- b.Byebye() }()
			f.do("byebye", <-done)
			f.do("byebye", <-done)
			at := a.ID
			for at != c.ID {
				_, i := watcher.notifies("a change", kc.ItemNameChange)
				change, _, err := i.Change()
				f.do("read a change", err)
				want(f, "the old owner", change.Old.ID, at)
				at = change.New.ID
			}
			f.listed(c, nameA, map[*peer]uint64{c: kc.NamePrimary | kc.NameQueue})
		},
	},
	{
		Name: "name-queue-waiter-death-silent",
		Doc:  "Nobody is told of a waiter that goes, and the others keep their order (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c, watcher := f.peer(), f.peer(), f.peer(), f.peer()
			for _, p := range []*peer{a, b, c} {
				_, err := p.acquire(nameA, kc.NameQueue)
				f.do("queue", err)
			}
			for n, kind := range []uint64{kc.ItemNameAdd, kc.ItemNameRemove, kc.ItemNameChange} {
				watcher.matches(uint64(n), kc.OfName(kind, kc.MatchAnyID, kc.MatchAnyID, ""))
			}
			b.close()
			watcher.nothing("a waiter went")
			a.releases(nameA)
			_, i := watcher.notifies("the next", kc.ItemNameChange)
			f.isChange(i, a, c, nameA)
		},
	},
	{
		Name: "name-requeue-keeps-place",
		Doc:  "Who waits and asks again keeps its place, and is not told ACQUIRED (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c := f.peer(), f.peer(), f.peer()
			for _, p := range []*peer{a, b, c} {
				_, err := p.acquire(nameA, kc.NameQueue)
				f.do("queue", err)
			}
			told, err := b.acquire(nameA, kc.NameQueue|kc.NameAllowReplacement)
			f.do("queue again", err)
			want(f, "flags told", told, kc.NameQueue|kc.NameAllowReplacement|kc.NameInQueue)
			a.releases(nameA)
			f.listed(a, nameA, map[*peer]uint64{
				b: kc.NamePrimary | kc.NameQueue | kc.NameAllowReplacement, c: kc.NameQueue | kc.NameInQueue,
			})
		},
	},
	{
		Name: "name-dequeue-by-reacquire",
		Doc:  "Who waits and asks again without QUEUE waits no more (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := b.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			if !f.newFlags() {
				t.Skip("this kernel's kdbus is older than the flags this is told by (2015-08-24)")
			}
			told, err := b.acquire(nameA, 0)
			f.do("ask again without QUEUE", err)
			want(f, "flags told", told, 0)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary})
			f.refused("release", b.Release(nameA), unix.EADDRINUSE)
		},
	},
	{
		Name: "name-replace-skips-queue",
		Doc:  "REPLACE_EXISTING goes before those who wait; the old owner, if it queues, waits first (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c := f.peer(), f.peer(), f.peer()
			a.acquires(nameA, kc.NameAllowReplacement|kc.NameQueue)
			_, err := b.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			c.acquires(nameA, kc.NameReplaceExisting)
			f.listed(a, nameA, map[*peer]uint64{
				c: kc.NamePrimary, a: kc.NameAllowReplacement | kc.NameQueue | kc.NameInQueue, b: kc.NameQueue | kc.NameInQueue,
			})
			c.releases(nameA)
			f.listed(a, nameA, map[*peer]uint64{
				a: kc.NameAllowReplacement | kc.NameQueue | kc.NamePrimary, b: kc.NameQueue | kc.NameInQueue,
			})
		},
	},
	{
		Name: "name-replace-not-allowed",
		Doc:  "REPLACE_EXISTING does not take a name whose owner does not allow it: EEXIST, or a place in the queue with QUEUE (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := b.acquire(nameA, kc.NameReplaceExisting)
			f.refused("replace", err, unix.EEXIST)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary})
			_, err = b.acquire(nameA, kc.NameReplaceExisting|kc.NameQueue)
			f.do("queue", err)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary, b: kc.NameQueue | kc.NameInQueue})
		},
	},
	{
		Name: "name-replaced-owner-dropped",
		Doc:  "An owner that is replaced and does not queue has lost the name (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, kc.NameAllowReplacement)
			b.acquires(nameA, kc.NameReplaceExisting)
			f.refused("release", a.Release(nameA), unix.EADDRINUSE)
			b.releases(nameA)
			f.listed(a, nameA, nil)
		},
	},
	{
		Name: "name-own-reacquire-changes-flags",
		Doc:  "An owner that acquires its name again has the new flags (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			if !f.newFlags() {
				t.Skip("this kernel's kdbus refuses to acquire a name again (2015-08-24)")
			}
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := a.acquire(nameA, kc.NameAllowReplacement)
			f.do("acquire again", err)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary | kc.NameAllowReplacement})
			b.acquires(nameA, kc.NameReplaceExisting)
			f.listed(a, nameA, map[*peer]uint64{b: kc.NamePrimary})
		},
	},
	{
		Name: "name-release-while-queued",
		Doc:  "Who waits may release its place; nobody is told (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := b.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			a.matches(1)
			b.releases(nameA)
			a.nothing("a waiter gave up")
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary})
		},
	},
	{
		Name: "name-message-to-queued",
		Doc:  "A message to a name reaches its owner and nobody who waits (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c := f.peer(), f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := b.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			c.sends(byName(1), kc.To(nameA))
			a.gets("a message to the name", 1)
			b.nothing("a message to the name")
		},
	},
	{
		Name: "name-policy-before-existence",
		Doc:  "Who may not own a name is told so, whether it exists or not: EPERM (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peerAs(nobody, nobody)
			a.acquires(nameA, 0)
			for _, name := range []string{nameA, nameB} {
				_, err := b.acquire(name, 0)
				f.refused("acquire "+name, err, unix.EPERM)
			}
			f.listed(a, nameA, map[*peer]uint64{a: kc.NamePrimary})
			f.listed(a, nameB, nil)
		},
	},
	{
		Name: "name-events-atomic",
		Doc:  "Who follows NAME_ADD, NAME_CHANGE and NAME_REMOVE knows at every moment what LIST tells (kdbus.name(7)).",
		Run:  eventsAreTheTable,
	},
}
