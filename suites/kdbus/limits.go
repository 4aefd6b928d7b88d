package kdbus

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// bareConns connects n times with the least a connection needs; they are closed
// with the case.
func (f *fixture) bareConns(n int) (last error) {
	f.t.Helper()
	for range n {
		fd, err := kc.Open(f.bus.Path("bus"))
		f.do("open the endpoint", err)
		f.own(fd)
		if last = kc.Ioctl(fd, kc.Hello, kc.Options{PoolSize: 4096}.Command()); last != nil {
			f.shut(fd)
			return last
		}
	}
	return nil
}

// manyFiles lets this process open as many files as a case needs.
func (f *fixture) manyFiles(n uint64) {
	f.t.Helper()
	var limit unix.Rlimit
	f.do("get the limit of descriptors", unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	f.t.Cleanup(func() { f.do("lower it again", unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)) })
	f.do("raise it", unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: max(n, limit.Cur), Max: max(n, limit.Max)}))
}

var limitCases = []suites.Case{
	{
		Name: "quota-1024-connections", Timeout: 60 * time.Second,
		Doc: "A user has 1024 connections in a domain, whatever bus they are on: EMFILE (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.manyFiles(4096)
			s := f.aBus("second")
			b, err := kc.NewBus(f.root, s)
			f.do("make a second bus", err)
			defer b.Close()
			first := f.bus
			connect := func(n int) error { return as(nobody, nobody, func() error { return f.bareConns(n) }) }
			f.do("connect 512 times", connect(kc.MaxConns/2))
			f.bus = b
			err = connect(kc.MaxConns / 2)
			f.bus = first
			f.do("connect 512 times to another bus", err)
			f.refused("connect once more", connect(1), unix.EMFILE)
			f.peer()
			for fd := range f.owned {
				f.shut(fd)
				break
			}
			f.do("connect after one was closed", connect(1))
			f.refused("connect once more", connect(1), unix.EMFILE)
		},
	},
	{
		Name: "quota-16-buses",
		Doc:  "A user has 16 buses in a domain: EMFILE; others are not affected, and one that is closed makes room (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			for _, uid := range []int{nobody, other, 0} {
				make := func(n int) (fd int, err error) {
					err = as(uid, uid, func() error {
						fd = f.control()
						return kc.MakeBus(fd, f.named(fmt.Sprintf("%d-bus%d", uid, n)))
					})
					return fd, err
				}
				var fds []int
				for n := range kc.MaxBuses {
					fd, err := make(n)
					f.do("make a bus", err)
					fds = append(fds, fd)
				}
				_, err := make(99)
				f.refused("make one more", err, unix.EMFILE)
				f.shut(fds[3])
				_, err = make(100)
				f.do("make one after one was closed", err)
				_, err = make(101)
				f.refused("make one more", err, unix.EMFILE)
			}
		},
	},
	{
		Name: "leak-failed-bus-make",
		Doc:  "A bus that is refused does not count (bus.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.control()
			for range 100 {
				f.refused("make a bus that is there", kc.MakeBus(fd, f.spec), unix.EEXIST)
				f.refused("make a bus with a bad name", kc.MakeBus(fd, f.named("$-")), unix.EINVAL)
			}
			for n := range kc.MaxBuses - 1 {
				f.do("make a bus", kc.MakeBus(f.control(), f.aBus(fmt.Sprint("bus", n))))
			}
			f.refused("make one more", kc.MakeBus(fd, f.aBus("more")), unix.EMFILE)
		},
	},
	{
		Name: "leak-failed-hello", Timeout: 60 * time.Second,
		Doc: "A connection that is refused does not count (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.manyFiles(2048)
			f.peer(activator(nameA))
			fd := f.endpoint()
			for range 1100 {
				f.refused("connect as a second activator", kc.Ioctl(fd, kc.Hello, kc.Options{PoolSize: 4096, Flags: kc.Activator, Items: []kc.Item{kc.Name(nameA)}}.Command()), unix.EEXIST)
			}
			f.do("connect all the same", f.bareConns(1000))
		},
	},
	{
		Name: "leak-messages", Timeout: 60 * time.Second,
		Doc: "Thousands of messages with descriptors leave nothing behind (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			fds := f.nulls(kc.MaxFDs)
			before, memory := openFiles(t), f.unreclaimable()
			for cookie := range uint64(3000) {
				a.sends(to(p, cookie), kc.FDs(fds...), kc.Payload(make([]byte, 1000)))
				closeAll(p.gets("a message", cookie))
			}
			want(f, "open descriptors", openFiles(t), before)
			if now := f.unreclaimable(); now > memory+4096 {
				t.Errorf("3000 messages have left %d KiB of the kernel's memory in use", now-memory)
			}
		},
	},
	{
		Name: "leak-unread-on-exit",
		Doc:  "Connections that go with full queues leave no memory behind (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			round := func() {
				p := f.peer(pool(1 << 20))
				_, err := a.until(300, to(p, 1), kc.Payload(make([]byte, 2000)))
				f.refused("fill the queue", err, unix.ENOBUFS)
				p.close()
			}
			round()
			memory := f.unreclaimable()
			for range 50 {
				round()
			}
			if now := f.unreclaimable(); now > memory+8192 {
				t.Errorf("50 full queues have left %d KiB of the kernel's memory in use", now-memory)
			}
		},
	},
	{
		Name: "quota-256-names",
		Doc:  "A connection has 256 names, those it waits for included: E2BIG (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.acquires(nameA, 0)
			_, err := p.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			for n := range kc.MaxNames - 1 {
				_, err := p.acquire(fmt.Sprintf("org.kplay.n%d", n), 0)
				f.do("acquire", err)
			}
			_, err = p.acquire(nameB, 0)
			f.refused("acquire one more", err, unix.E2BIG)
			f.listed(a, nameB, nil)
			_, err = p.acquire(nameA, kc.NameQueue)
			f.do("ask again for what one waits for", err)
			p.releases("org.kplay.n7")
			p.acquires(nameB, 0)
			_, err = p.acquire(nameC, 0)
			f.refused("acquire one more", err, unix.E2BIG)
		},
	},
	{
		Name: "quota-uid-churn",
		Doc:  "Users that come, send and go leave nothing that others are refused for (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer(bigPool)
			f.talkable(p, nameA)
			for uid := 10000; uid < 10400; uid++ {
				q := f.peerAs(uid, uid)
				q.sends(to(p, uint64(uid)))
				q.close()
				p.gets("of one of many", uint64(uid))
			}
		},
	},
	{
		Name: "quota-faked-creds-accounting", Timeout: 60 * time.Second,
		Doc: "A privileged connection that shows another user's credentials counts as that user's (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			x, c := f.peerAs(nobody, nobody), f.peer(bigPool, plain)
			f.talkable(c, nameA)
			fake := f.peer(with(kc.Words(kc.ItemCreds, nobody, nobody, nobody, nobody, nobody, nobody, nobody, nobody)))
			x.fills(c, kc.MaxQueued)
			f.refused("send in the user's name", fake.send(to(c, 1)), unix.ENOBUFS)
			f.peer().sends(to(c, 2))
			want(f, "messages", c.drain(), kc.MaxQueued+1)
		},
	},
}

// unreclaimable is the kernel's memory in slabs that it cannot give back, in KiB
// (proc(5), meminfo).
func (f *fixture) unreclaimable() int {
	f.t.Helper()
	n, err := meminfo("SUnreclaim:")
	f.do("read meminfo", err)
	return n
}
