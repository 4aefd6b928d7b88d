package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// Names that cases use.
const (
	nameA = "com.example.a"
	nameB = "com.example.b"
	nameC = "org.kplay.third"
)

// chatCases are two connections that talk.
var chatCases = []suites.Case{
	{
		Name: "name-acquire-two",
		Doc:  "A connection may own several names (kdbus.name(7), test-chat.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			a.acquires(nameA, kc.NameAllowReplacement)
			a.acquires(nameB, 0)
			f.listed(a, nameA, map[*peer]uint64{a: kc.NameAllowReplacement | kc.NamePrimary})
			f.listed(a, nameB, map[*peer]uint64{a: kc.NamePrimary})
		},
	},
	{
		Name: "name-queue-behind",
		Doc:  "With QUEUE a connection waits for a name that another owns (kdbus.name(7), test-chat.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.acquires(nameB, 0)
			told, err := b.acquire(nameB, kc.NameQueue)
			f.do("queue", err)
			want(f, "IN_QUEUE told", told&kc.NameInQueue, kc.NameInQueue)
			f.listed(a, nameB, map[*peer]uint64{a: kc.NamePrimary, b: kc.NameQueue | kc.NameInQueue})
		},
	},
	{
		Name: "name-reacquire-no-acquired-flag",
		Doc:  "Acquiring a name one owns succeeds and does not tell ACQUIRED (test-chat.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			if !f.newFlags() {
				t.Skip("this kernel's kdbus refuses to acquire a name again, and tells no ACQUIRED (2015-08-24)")
			}
			a.acquires(nameC, kc.NameAllowReplacement)
			told, err := a.acquire(nameC, 0)
			f.do("acquire again", err)
			want(f, "flags told", told, kc.NamePrimary)
			f.listed(a, nameC, map[*peer]uint64{a: kc.NamePrimary})
		},
	},
	{
		Name: "name-release-once",
		Doc:  "A name that is released is gone (kdbus.name(7), test-chat.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			a.acquires(nameC, 0)
			a.releases(nameC)
			f.listed(a, nameC, nil)
			f.refused("send to the name", a.send(byName(1), kc.To(nameC)), unix.ESRCH)
		},
	},
	{
		Name: "name-release-twice",
		Doc:  "Releasing a name that nobody has is ESRCH (kdbus.name(7), test-chat.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			a.acquires(nameC, 0)
			a.releases(nameC)
			f.refused("release again", a.Release(nameC), unix.ESRCH)
		},
	},
	{
		Name: "list-all-flags",
		Doc:  "LIST tells of every connection, once for each name it owns or waits for, or once (kdbus.name(7), test-chat.c).",
		Run:  listAll,
	},
	{
		Name: "chat-pingpong",
		Doc:  "Two connections that answer each other each get every message, whoever looks at the names meanwhile (test-chat.c).",
		Run:  pingPong,
	},
	{
		Name: "daemon-acquire-and-poll",
		Doc:  "A service waits for messages to its name by poll(2) (kdbus.message(7), test-daemon.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			service, client := f.peer(), f.peer()
			service.acquires(nameA, 0)
			got, err := service.Poll(unix.POLLIN, 0)
			f.do("poll", err)
			want(f, "poll with nothing queued", got, 0)
			for cookie := uint64(1); cookie <= 3; cookie++ {
				client.sends(byName(cookie), kc.To(nameA))
				service.awaits("a message to the name")
				m := service.gets("a message to the name", cookie)
				i, _ := kc.Find(m.Items, kc.ItemDstName)
				want(f, "DST_NAME of the message", i.String(), nameA)
			}
		},
	},
}

func listAll(t *suites.T) {
	f := newBus(t)
	a, b, c := f.peer(), f.peer(), f.peer(activator(nameC))
	m := f.peer(monitor)
	a.acquires(nameA, 0)
	a.acquires(nameB, 0)
	_, err := b.acquire(nameB, kc.NameQueue)
	f.do("queue", err)
	_, err = b.acquire(nameC, kc.NameQueue)
	f.do("take over from the activator", err)
	for _, l := range []struct {
		flags   uint64
		a, b, c int // how many records of each
	}{
		{0, 0, 0, 0},
		{kc.ListUnique, 1, 1, 1},
		{kc.ListNames, 2, 1, 0},
		{kc.ListQueued, 0, 1, 0},
		{kc.ListActivators, 0, 0, 1},
		{kc.ListUnique | kc.ListNames, 2, 1, 1},
		{kc.ListUnique | kc.ListQueued, 1, 1, 1},
		{kc.ListAll, 2, 2, 1},
	} {
		all, err := a.List(l.flags)
		f.do("list", err)
		count := make(map[uint64]int)
		for _, r := range all {
			count[r.ID]++
			want(f, "size of a record modulo 8", r.Size%8, 0)
		}
		got := [4]int{count[a.ID], count[b.ID], count[c.ID], count[m.ID]}
		if want := [4]int{l.a, l.b, l.c, 0}; got != want || len(all) != l.a+l.b+l.c {
			t.Errorf("LIST with flags %#x: records of owner, waiter, activator, monitor are %v of %d, want %v", l.flags, got, len(all), want)
		}
	}
	// An empty result is at the end of the pool.
	cmd := kc.Encode(kc.ListCmd{})
	f.do("list nothing", kc.Ioctl(a.FD, kc.List, cmd))
	want(f, "offset of an empty list", kc.Fixed[kc.ListCmd](cmd).Offset, a.Pool.Size())
	want(f, "size of an empty list", kc.Fixed[kc.ListCmd](cmd).ListSize, 0)
}

func pingPong(t *suites.T) {
	f := newBus(t)
	a, b := f.peer(), f.peer()
	a.acquires(nameB, 0)
	a.anyMatch()
	b.anyMatch()
	b.signals(100)
	b.gets("one's own signal", 100)
	for cookie := uint64(100); cookie < 110; cookie++ {
		a.awaits("a message")
		a.gets("ping", cookie)
		a.sends(to(b, cookie))
		b.gets("pong", cookie)
		b.sends(to(a, cookie+1))
		_, err := b.List(kc.ListAll)
		f.do("list meanwhile", err)
		if cookie == 105 {
			a.releases(nameB)
		}
	}
	a.gets("the last", 110)
}
