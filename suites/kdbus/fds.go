package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// pipe makes a pipe; its ends are closed with the case, if not before.
func (f *fixture) pipe() (r, w int) {
	f.t.Helper()
	var p [2]int
	f.do("make a pipe", unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK))
	return f.own(p[0]), f.own(p[1])
}

// pair makes two sockets connected to each other.
func (f *fixture) pair() (a, b int) {
	f.t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	f.do("make a pair of sockets", err)
	return f.own(p[0]), f.own(p[1])
}

// eof wants nobody to have the other end of a pipe.
func (f *fixture) eof(what string, r int) {
	f.t.Helper()
	b := make([]byte, 64)
	n, err := unix.Read(r, b)
	if n != 0 || err != nil {
		f.t.Errorf("%s: read(2) of the pipe: %d bytes, %s, want the end: a descriptor was leaked", what, n, said(err))
	}
}

// nulls opens /dev/null n times.
func (f *fixture) nulls(n int) (fds []int) {
	f.t.Helper()
	for range n {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		f.do("open /dev/null", err)
		fds = append(fds, f.own(fd))
	}
	return fds
}

// memfdItems are n items of one sealed memfd.
func (f *fixture) memfdItems(n int) (items []kc.Item) {
	fd := f.memfd([]byte("memfd"))
	for range n {
		items = append(items, kc.PayloadMemfd(fd, 0, 5))
	}
	return items
}

// A bundle is how many descriptors and memfds a message has.
type bundle struct {
	name       string
	fds, memfd int
	want       unix.Errno // 0 for none
	doc        string
}

var bundles = []bundle{
	{"fd-17-in-message", 17, 0, unix.EMFILE, "A message has 16 descriptors at most: EMFILE"},
	{"fd-16-in-message", 16, 0, 0, "A message has up to 16 descriptors"},
	{"memfd-129-in-message", 0, 129, unix.E2BIG, "A message has 16 memfds at most: E2BIG"},
	{"memfd-17-in-message", 0, 17, unix.E2BIG, "A message has 16 memfds at most: E2BIG"},
	{"memfd-16-in-message", 0, 16, 0, "A message has up to 16 memfds"},
	{"fd-17-plus-memfd-10", 17, 10, unix.EMFILE, "Memfds make no room for descriptors: EMFILE"},
	{"fd-16-plus-memfd-128", 16, 128, unix.E2BIG, "Descriptors make no room for memfds: E2BIG"},
	{"fd-16-plus-memfd-17", 16, 17, unix.E2BIG, "Descriptors make no room for memfds: E2BIG"},
	{"fd-16-plus-memfd-16", 16, 16, 0, "Memfds do not count as descriptors"},
}

func fdCases() (cases []suites.Case) {
	for _, b := range bundles {
		cases = append(cases, suites.Case{Name: b.name, Doc: b.doc + " (kdbus.message(7), test-fd.c).", Run: b.run})
	}
	for _, r := range refusedFDs {
		cases = append(cases, suites.Case{Name: r.name, Doc: r.doc, Run: r.run})
	}
	return append(cases, fdOtherCases...)
}

// run sends the bundle, and then one that is good: nothing is left of it.
func (b bundle) run(t *suites.T) {
	f := newBus(t)
	from, at := f.peer(), f.peer()
	items := append(f.memfdItems(b.memfd), kc.FDs(f.nulls(b.fds)...))
	if b.fds == 0 {
		items = items[:b.memfd]
	}
	err := from.send(to(at, 1), items...)
	if b.want != 0 {
		f.refused("send", err, b.want)
		at.nothing("after the refusal")
		err = from.send(to(at, 1), kc.FDs(f.nulls(1)...))
		b = bundle{fds: 1}
	}
	f.do("send", err)
	m := at.gets("the message", 1)
	fds := m.Descriptors()
	want(f, "descriptors received", len(fds), b.fds+b.memfd)
	want(f, "INCOMPLETE_FDS", m.Info.ReturnFlags, 0)
	seen := make(map[int]bool)
	for _, fd := range fds {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || seen[fd] {
			t.Errorf("descriptor %d of %v: %s, flags %#x", fd, fds, said(err), flags)
		}
		seen[fd] = true
	}
	closeAll(m)
}

// A refusedFD is descriptors that a message cannot have.
type refusedFD struct {
	name, doc string
	fds       func(f *fixture, from, at *peer) []int
	want      unix.Errno
}

var refusedFDs = []refusedFD{
	{"fd-kdbus-handle-refused", "A connection's descriptor is not sent: EOPNOTSUPP (kdbus.message(7), test-fd.c).",
		func(_ *fixture, from, at *peer) []int { return []int{from.FD, at.FD} }, unix.EOPNOTSUPP},
	{"fd-kdbus-peer-refused", "The receiver's own descriptor is not sent to it: EOPNOTSUPP (kdbus.message(7), test-fd.c).",
		func(_ *fixture, _, at *peer) []int { return []int{at.FD} }, unix.EOPNOTSUPP},
	{"fd-unix-socket-refused", "A UNIX socket, which may hold descriptors itself, is not sent: EOPNOTSUPP (kdbus.message(7), test-fd.c).",
		func(f *fixture, _, _ *peer) []int { a, b := f.pair(); return []int{a, b} }, unix.EOPNOTSUPP},
	{"fd-closed-number", "A number that is no open descriptor is EBADF (test-fd.c).",
		func(f *fixture, _, _ *peer) []int { fd := f.nulls(1)[0]; f.shut(fd); return []int{fd} }, unix.EBADF},
	{"fd-negative-number", "A negative number is EBADF (message.c).",
		func(*fixture, *peer, *peer) []int { return []int{-1} }, unix.EBADF},
	{"fd-second-is-bad", "One bad descriptor spoils the message: EBADF (message.c).",
		func(f *fixture, _, _ *peer) []int { return append(f.nulls(1), 9999) }, unix.EBADF},
	{"cycle-kdbus-in-kdbus", "No descriptor of kdbus is sent, whatever it stands for: EOPNOTSUPP (kdbus.message(7)).",
		func(f *fixture, _, _ *peer) []int { return []int{f.bus.FD} }, unix.EOPNOTSUPP},
	{"cycle-kdbus-control", "No descriptor of kdbus is sent, not a fresh one of control either: EOPNOTSUPP (kdbus.message(7)).",
		func(f *fixture, _, _ *peer) []int { return []int{f.control()} }, unix.EOPNOTSUPP},
	{"cycle-kdbus-endpoint", "No descriptor of kdbus is sent, not a fresh one of an endpoint either: EOPNOTSUPP (kdbus.message(7)).",
		func(f *fixture, _, _ *peer) []int { return []int{f.endpoint()} }, unix.EOPNOTSUPP},
	{"cycle-kdbus-endpoint-owner", "No descriptor of kdbus is sent, not the one that keeps an endpoint alive either: EOPNOTSUPP (kdbus.message(7)).",
		func(f *fixture, _, _ *peer) []int { return []int{f.newEndpoint("ep", 0)} }, unix.EOPNOTSUPP},
	{"cycle-via-unix", "A UNIX socket with a connection's descriptor in its queue is not sent: EOPNOTSUPP (kdbus.message(7)).",
		func(f *fixture, _, at *peer) []int {
			a, b := f.pair()
			f.do("queue a connection in a socket", unix.Sendmsg(a, []byte("x"), unix.UnixRights(at.FD), nil, 0))
			return []int{b}
		}, unix.EOPNOTSUPP},
}

// run wants the refusal both ways, and nothing to come of it.
func (r refusedFD) run(t *suites.T) {
	f := newBus(t)
	a, b := f.peer(), f.peer()
	fds := r.fds(f, a, b)
	f.refused("send", a.send(to(b, 1), kc.FDs(fds...)), r.want)
	f.refused("send back", b.send(to(a, 1), kc.FDs(fds...)), r.want)
	a.nothing("after the refusal")
	b.nothing("after the refusal")
	a.sends(to(b, 2), kc.FDs(f.nulls(1)...))
	closeAll(b.gets("a good one", 2))
}

var fdOtherCases = []suites.Case{
	{
		Name: "fd-to-non-accepting",
		Doc:  "A connection without ACCEPT_FD gets no descriptors: ECOMM; nothing is leaked (kdbus.connection(7), test-fd.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.peer(), f.peer(noFDs)
			r, w := f.pipe()
			f.refused("send", from.send(to(at, 1), kc.FDs(w)), unix.ECOMM)
			at.nothing("after the refusal")
			f.shut(w)
			f.eof("after the refusal", r)
		},
	},
	{
		Name: "memfd-to-non-accepting",
		Doc:  "A memfd is payload: it reaches a connection without ACCEPT_FD (kdbus.message(7), test-fd.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.peer(), f.peer(noFDs)
			from.sends(to(at, 1), f.memfdItems(1)...)
			m := at.gets("the message", 1)
			defer closeAll(m)
			f.reads(m.Descriptors()[0], "memfd")
		},
	},
	{
		Name: "fd-sync-call-to-non-accepting",
		Doc:  "A call with descriptors to a connection without ACCEPT_FD is ECOMM at once, and is not delivered (test-fd.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.peer(), f.peer(noFDs)
			_, err := from.Call(call(at, 1, 10*second), -1, kc.FDs(f.nulls(1)...))
			f.refused("call", err, unix.ECOMM)
			at.nothing("after the refusal")
		},
	},
	{
		Name: "fd-sync-reply-to-non-accepting-requester",
		Doc:  "A reply with descriptors to a connection without ACCEPT_FD is ECOMM for the one and EREMOTEIO for the other (test-fd.c).",
		Run:  replyWithFD,
	},
	{
		Name: "fd-broadcast-refused",
		Doc:  "A broadcast has no descriptors: ENOTUNIQ (kdbus.message(7), test-fd.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.peer(), f.peer()
			at.anyMatch()
			f.refused("send", from.send(broadcast(1), zeroFilter(), kc.FDs(f.nulls(1)...)), unix.ENOTUNIQ)
			at.nothing("after the refusal")
		},
	},
	{
		Name: "memfd-broadcast-ok",
		Doc:  "A broadcast may have memfds (test-fd.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.peer(), f.peer()
			at.anyMatch()
			from.sends(broadcast(1), append(f.memfdItems(1), zeroFilter())...)
			m := at.gets("the broadcast", 1)
			defer closeAll(m)
			f.reads(m.Descriptors()[0], "memfd")
		},
	},
	{
		Name: "fd-pipe-read-end",
		Doc:  "What is received is the file that was sent, also when the sender has closed it (kdbus.message(7), test-fd.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.peer(), f.peer()
			r, w := f.pipe()
			from.sends(to(at, 1), kc.FDs(r))
			f.shut(r)
			_, err := unix.Write(w, []byte("kdbus selftest"))
			f.do("write to the pipe", err)
			m := at.gets("the message", 1)
			defer closeAll(m)
			f.reads(m.Descriptors()[0], "kdbus selftest")
		},
	},
	{
		Name: "fd-pipe-eof-after-close",
		Doc:  "A descriptor that was sent keeps its end of a pipe open, and no other (test-fd.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.peer(), f.peer()
			r, w := f.pipe()
			from.sends(to(at, 1), kc.FDs(w))
			f.shut(w)
			_, err := unix.Read(r, make([]byte, 1))
			f.refused("read while the other end is in a queue", err, unix.EAGAIN)
			m := at.gets("the write end", 1)
			from.sends(to(at, 2), kc.FDs(r))
			closeAll(m)
			m = at.gets("the read end", 2)
			defer closeAll(m)
			f.eof("by the received end", m.Descriptors()[0])
		},
	},
	{
		Name: "fd-inflight-limit",
		Doc:  "A user has 16 descriptors in a connection's queue at most: EMFILE; memfds do not count, and those received do not (kdbus.message(7), test-fd.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.peer(), f.peer(pool(1<<20))
			from.sends(to(at, 1), kc.FDs(f.nulls(16)...))
			f.refused("send 16 more", from.send(to(at, 2), kc.FDs(f.nulls(16)...)), unix.EMFILE)
			f.refused("send one more", from.send(to(at, 2), kc.FDs(f.nulls(1)...)), unix.EMFILE)
			from.sends(to(at, 3), f.memfdItems(16)...)
			for range 2 {
				m := at.takes("what was queued")
				want(f, "descriptors", len(m.Descriptors()), 16)
				want(f, "INCOMPLETE_FDS", m.Info.ReturnFlags, 0)
				closeAll(m)
			}
			at.nothing("after both")
			from.sends(to(at, 4), kc.FDs(f.nulls(16)...))
			closeAll(at.gets("16 again", 4))
		},
	},
}

// reads wants a descriptor to give these bytes next.
func (f *fixture) reads(fd int, text string) {
	f.t.Helper()
	b := make([]byte, len(text)+1)
	n, err := unix.Read(fd, b)
	if err == unix.ESPIPE || n == 0 {
		n, err = unix.Pread(fd, b, 0) // a memfd is shared with its position
	}
	if err != nil || string(b[:n]) != text {
		f.t.Errorf("a received descriptor reads %q (%s), want %q", b[:n], said(err), text)
	}
}

func replyWithFD(t *suites.T) {
	f := newBus(t)
	requester, service := f.peer(noFDs), f.peer()
	r, w := f.pipe()
	called := make(chan error, 1)
	go func() {
		_, err := requester.Call(call(service, 7, 60*second), -1)
		called <- err
	}()
	m := service.waits("the call")
	f.refused("reply with a connection", service.send(reply(m, 8), kc.FDs(requester.FD)), unix.EOPNOTSUPP)
	f.refused("reply with a pipe", service.send(reply(m, 8), kc.FDs(w)), unix.ECOMM)
	f.refused("the call", <-called, unix.EREMOTEIO)
	f.refused("reply to what has ended", service.send(reply(m, 8)), unix.EBADSLT)
	f.shut(w)
	f.eof("after the refusal", r)
	requester.nothing("after the refusal")
	service.sends(to(requester, 9))
	requester.gets("a plain message", 9)
}
