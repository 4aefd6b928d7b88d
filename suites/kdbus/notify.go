package kdbus

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// told receives what the kernel tells next, and returns the item types.
func (p *peer) told() (all []uint64) {
	p.f.t.Helper()
	for {
		m, err := p.Recv(0, 0)
		if err != nil {
			p.f.refused("receive", err, unix.EAGAIN)
			return all
		}
		all = append(all, m.Items[0].Type)
	}
}

// tells wants the kernel to have told these types, in order.
func (p *peer) tells(what string, wanted ...uint64) {
	p.f.t.Helper()
	want(p.f, what, list(p.told()), list(wanted))
}

func list(all []uint64) (s string) {
	for _, v := range all {
		s += hex(v) + " "
	}
	return s
}

var notifyCases = []suites.Case{
	{
		Name: "notify-disconnect-order",
		Doc:  "Of a connection that goes its names are told first, and itself last (kdbus.connection(7), connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, watcher := f.peer(), f.peer()
			p.acquires(nameA, 0)
			p.acquires(nameB, 0)
			watcher.matches(1)
			p.close()
			watcher.tells("what was told", kc.ItemNameRemove, kc.ItemNameRemove, kc.ItemIDRemove)
		},
	},
	{
		Name: "notify-activator-order",
		Doc:  "Of an activator that comes itself is told first, and then its name (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			watcher := f.peer()
			watcher.matches(1)
			act := f.peer(activator(nameA))
			watcher.tells("what was told of its coming", kc.ItemIDAdd, kc.ItemNameAdd)
			act.close()
			watcher.tells("what was told of its going", kc.ItemNameRemove, kc.ItemIDRemove)
		},
	},
	{
		Name: "notify-change-flags",
		Doc:  "A change of a name tells the flags its owners have it with (kdbus.item(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			if !f.newFlags() {
				t.Skip("this kernel's kdbus is older than the flags of owners (2015-08-24)")
			}
			a, b, watcher := f.peer(), f.peer(), f.peer()
			watcher.matches(1)
			a.acquires(nameA, kc.NameAllowReplacement)
			_, i := watcher.notifies("the first owner", kc.ItemNameAdd)
			c, _, err := i.Change()
			f.do("read the change", err)
			want(f, "flags of the old owner", c.Old, kc.IDChange{})
			want(f, "flags of the new owner, without PRIMARY", c.New.Flags&^kc.NamePrimary, kc.NameAllowReplacement)
			b.acquires(nameA, kc.NameReplaceExisting)
			_, i = watcher.notifies("the second owner", kc.ItemNameChange)
			f.isChange(i, a, b, nameA)
		},
	},
	{
		Name: "notify-before-return",
		Doc:  "What an operation causes the kernel to tell is told when it returns (notify.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.matches(1)
			for range 50 {
				p.acquires(nameA, 0)
				p.tells("after ACQUIRE", kc.ItemNameAdd)
				p.releases(nameA)
				p.tells("after RELEASE", kc.ItemNameRemove)
				f.peer().close()
				p.tells("after HELLO and close", kc.ItemIDAdd, kc.ItemIDRemove)
			}
		},
	},
	{
		Name: "notify-each-id-once",
		Doc:  "Of each connection its coming and its going are told once, in this order, however many come at once (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			watcher := f.peer(bigPool)
			watcher.matches(1)
			alive := make(map[uint64]bool)
			count := 0
			for range 10 {
				var wait sync.WaitGroup
				for range 8 {
					wait.Go(func() {
						if c, err := kc.Dial(f.bus.Path("bus"), kc.Options{PoolSize: 4096}); err == nil {
							c.Close()
						}
					})
				}
				wait.Wait()
				for {
					m, err := watcher.Recv(0, 0)
					if err != nil {
						break
					}
					change, err := kc.As[kc.IDChange](m.Items[0])
					f.do("read a change", err)
					add := m.Items[0].Type == kc.ItemIDAdd
					if alive[change.ID] == add {
						t.Errorf("connection %d is told to come (%v) and was there: %v", change.ID, add, alive[change.ID])
					}
					alive[change.ID] = add
					count++
				}
			}
			want(f, "notifications", count, 2*80)
		},
	},
	{
		Name: "notify-policy-holder-events",
		Doc:  "Of a policy holder its coming and its going are told (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			watcher := f.peer()
			watcher.matches(1)
			h := f.peer(holder(nameA))
			h.close()
			watcher.tells("what was told", kc.ItemIDAdd, kc.ItemIDRemove)
		},
	},
	{
		Name: "timeout-zero-notify-lost",
		Doc:  "REPLY_TIMEOUT that finds no room is lost without being counted (notify.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, b := f.peer(pool(1<<20)), f.peer()
			p.matches(1)
			for range kc.MaxQueued {
				p.acquires(nameA, 0)
				p.releases(nameA)
			}
			m := call(b, 7, 0)
			m.Timeout = 1
			p.sends(m)
			b.gets("the call", 7)
			// The slot ends with the timeout: then the call cannot be answered.
			answer := toID(p.ID, 8)
			answer.Timeout = 7
			for b.send(answer) == nil {
				answer.Timeout = 7
			}
			first := p.takes("the first")
			want(f, "dropped of the names' notifications", first.Dropped, kc.MaxQueued)
			for {
				got, err := p.Recv(0, 0)
				if err != nil {
					break
				}
				if got.Items[0].Type == kc.ItemReplyTimeout {
					t.Error("REPLY_TIMEOUT found room in a full queue")
				}
				want(f, "dropped", got.Dropped, 0)
			}
		},
	},
}
