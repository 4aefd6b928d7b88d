package kdbus

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// sealFutureWrite is F_SEAL_FUTURE_WRITE (5.1).
const sealFutureWrite = 0x10

// A badMemfd is a file that is no payload.
type badMemfd struct {
	name, doc string
	fd        func(f *fixture) int
	start     uint64
	want      []unix.Errno
}

// sealed makes a memfd of 8 bytes with these seals.
func sealed(seals int) func(f *fixture) int {
	return func(f *fixture) int {
		fd := f.unsealed([]byte("contents"))
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals); err != nil && seals&sealFutureWrite != 0 {
			f.t.Skip("this kernel has no F_SEAL_FUTURE_WRITE (5.1)")
		} else {
			f.do("seal", err)
		}
		return fd
	}
}

// file makes a file in a directory.
func file(dir string) func(f *fixture) int {
	return func(f *fixture) int {
		fd, err := unix.Open(dir+"/kplay-file", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
		f.do("make a file", err)
		_, err = unix.Write(fd, []byte("contents"))
		f.do("write to it", err)
		f.do("unlink it", unix.Unlink(dir+"/kplay-file"))
		return f.own(fd)
	}
}

var badMemfds = []badMemfd{
	{"unsealed", "A memfd without seals can change under its receiver: ETXTBSY", func(f *fixture) int { return f.unsealed([]byte("contents")) }, 0, []unix.Errno{unix.ETXTBSY}},
	{"missing-seal", "A memfd without F_SEAL_SEAL is ETXTBSY", sealed(allSeals &^ unix.F_SEAL_SEAL), 0, []unix.Errno{unix.ETXTBSY}},
	{"missing-shrink", "A memfd without F_SEAL_SHRINK is ETXTBSY", sealed(allSeals &^ unix.F_SEAL_SHRINK), 0, []unix.Errno{unix.ETXTBSY}},
	{"missing-grow", "A memfd without F_SEAL_GROW is ETXTBSY", sealed(allSeals &^ unix.F_SEAL_GROW), 0, []unix.Errno{unix.ETXTBSY}},
	{"missing-write", "A memfd without F_SEAL_WRITE is ETXTBSY", sealed(allSeals &^ unix.F_SEAL_WRITE), 0, []unix.Errno{unix.ETXTBSY}},
	{"future-write-only", "F_SEAL_FUTURE_WRITE is no F_SEAL_WRITE: ETXTBSY", sealed(allSeals&^unix.F_SEAL_WRITE | sealFutureWrite), 0, []unix.Errno{unix.ETXTBSY}},
	{"is-pipe", "A pipe is no memfd: EMEDIUMTYPE", func(f *fixture) int { r, _ := f.pipe(); return r }, 0, []unix.Errno{unix.EMEDIUMTYPE}},
	{"is-proc-file", "A file of another file system is no memfd: EMEDIUMTYPE", func(f *fixture) int {
		fd, err := unix.Open("/proc/self/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		f.do("open", err)
		return f.own(fd)
	}, 0, []unix.Errno{unix.EMEDIUMTYPE}},
	{"is-tmpfs-file", "A file of a tmpfs, which has no seals, is EMEDIUMTYPE or ETXTBSY", file("/tmp"), 0, []unix.Errno{unix.EMEDIUMTYPE, unix.ETXTBSY}},
	{"is-connection", "A connection is no memfd: EMEDIUMTYPE", func(f *fixture) int { return f.peer().FD }, 0, []unix.Errno{unix.EMEDIUMTYPE}},
	{"is-closed", "A memfd is open: EBADF", func(f *fixture) int { fd := f.memfd(nil); f.shut(fd); return fd }, 0, []unix.Errno{unix.EBADF}},
	{"beyond-size", "A part of a memfd does not reach beyond its end: EFAULT", func(f *fixture) int { return f.memfd([]byte("contents")) }, 1, []unix.Errno{unix.EFAULT}},
}

// An openFile is one that may be sent as a descriptor.
type openFile struct {
	name string
	fd   func(f *fixture) (int, error)
}

var sendable = []openFile{
	{"opath", func(f *fixture) (int, error) { return unix.Open(f.bus.Path("bus"), unix.O_PATH|unix.O_CLOEXEC, 0) }},
	{"epoll", func(*fixture) (int, error) { return unix.EpollCreate1(unix.EPOLL_CLOEXEC) }},
	{"eventfd", func(*fixture) (int, error) { return unix.Eventfd(0, unix.EFD_CLOEXEC) }},
	{"inet-socket", func(*fixture) (int, error) {
		return unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}},
	{"pidfd", func(*fixture) (int, error) { return unix.PidfdOpen(os.Getpid(), 0) }},
	{"directory", func(*fixture) (int, error) { return unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) }},
	{"unsealed-memfd", func(f *fixture) (int, error) { return unix.MemfdCreate("kplay", unix.MFD_CLOEXEC) }},
}

// A loss is a way for a message with a descriptor to be lost.
type loss struct {
	name, doc string
	lose      func(f *fixture, a, b *peer, send func(at *peer, items ...kc.Item) error)
}

var losses = []loss{
	{"on-drop", "dropped", func(f *fixture, _, b *peer, send func(*peer, ...kc.Item) error) {
		f.do("send", send(b))
		_, err := b.Recv(kc.RecvDrop, 0)
		f.do("drop", err)
	}},
	{"on-close", "unread when its receiver closes", func(f *fixture, _, b *peer, send func(*peer, ...kc.Item) error) {
		f.do("send", send(b))
		b.close()
	}},
	{"on-bus-death", "unread when the bus ends", func(f *fixture, _, b *peer, send func(*peer, ...kc.Item) error) {
		f.do("send", send(b))
		f.do("close the bus", f.bus.Close())
		f.bus = nil
		b.close()
	}},
	{"on-efault", "refused for its payload", func(f *fixture, _, b *peer, send func(*peer, ...kc.Item) error) {
		f.refused("send", send(b, kc.PayloadAt(4096, 8)), unix.EFAULT)
	}},
	{"on-enobufs", "refused for its size", func(f *fixture, _, b *peer, send func(*peer, ...kc.Item) error) {
		f.refused("send", send(b, kc.Payload(make([]byte, smallPool))), unix.ENOBUFS)
	}},
	{"on-unknown-receiver", "refused for its destination", func(f *fixture, _, b *peer, send func(*peer, ...kc.Item) error) {
		b.close()
		f.refused("send", send(b), unix.ENXIO)
	}},
}

func memfdCases() (cases []suites.Case) {
	for _, b := range badMemfds {
		cases = append(cases, suites.Case{Name: "memfd-" + b.name, Doc: b.doc + ", and nothing is delivered (kdbus.message(7)).", Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			f.refused("send", a.send(to(p, 1), kc.PayloadMemfd(b.fd(f), b.start, 8)), b.want...)
			p.nothing("after the refusal")
			f.do("send a good one", a.send(to(p, 2), kc.PayloadMemfd(f.memfd([]byte("contents")), 0, 8)))
			closeAll(p.gets("a good one", 2))
		}})
	}
	for _, s := range sendable {
		cases = append(cases, suites.Case{Name: "fd-" + s.name, Doc: "Files that are neither kdbus's nor UNIX sockets are sent, " + s.name + " as well (kdbus.message(7)).", Run: s.run})
	}
	for _, l := range losses {
		cases = append(cases, suites.Case{Name: "fd-not-leaked-" + l.name, Doc: "The descriptors of a message " + l.doc + " are closed (kdbus.message(7)).", Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			r, w := f.pipe()
			l.lose(f, a, b, func(at *peer, items ...kc.Item) error { return a.send(to(at, 1), append(items, kc.FDs(w))...) })
			f.shut(w)
			f.eof("after the loss", r)
		}})
	}
	return append(cases, memfdOtherCases...)
}

func (s openFile) run(t *suites.T) {
	f := newBus(t)
	a, p := f.peer(), f.peer()
	fd, err := s.fd(f)
	if err != nil {
		t.Skipf("this kernel has no %s: %s", s.name, said(err))
	}
	f.own(fd)
	a.sends(to(p, 1), kc.FDs(fd))
	m := p.gets("the message", 1)
	defer closeAll(m)
	got := m.Descriptors()
	want(f, "descriptors", len(got), 1)
	want(f, "what was received", link(got[0]), link(fd))
	flags, err := unix.FcntlInt(uintptr(got[0]), unix.F_GETFD, 0)
	f.do("look at its flags", err)
	want(f, "FD_CLOEXEC", flags, unix.FD_CLOEXEC)
}

// link is what /proc says a descriptor is of.
func link(fd int) string {
	to, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd))
	if err != nil {
		return err.Error()
	}
	return to
}

// inode tells files apart.
func (f *fixture) inode(fd int) uint64 {
	f.t.Helper()
	var st unix.Stat_t
	f.do("stat a descriptor", unix.Fstat(fd, &st))
	return st.Ino
}

var memfdOtherCases = []suites.Case{
	{
		Name: "fd-same-file",
		Doc:  "A descriptor that is sent twice in a message arrives twice, as two of one file (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			fd := f.memfd([]byte("x"))
			a.sends(to(p, 1), kc.FDs(fd, fd))
			m := p.gets("the message", 1)
			defer closeAll(m)
			got := m.Descriptors()
			if len(got) != 2 || got[0] == got[1] || f.inode(got[0]) != f.inode(got[1]) || f.inode(got[0]) != f.inode(fd) {
				t.Errorf("of descriptor %d sent twice came %v", fd, got)
			}
		},
	},
	{
		Name: "fd-limit-partial",
		Doc:  "Descriptors that the receiver has no room for are -1, and INCOMPLETE_FDS says so; the message is received (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.sends(to(p, 1), kc.FDs(f.nulls(10)...))
			m := f.crowded(3, p)
			missing := 0
			for _, fd := range m.Descriptors() {
				if fd < 0 {
					want(f, "a descriptor there was no room for", fd, -1)
					missing++
				}
			}
			want(f, "descriptors there was no room for", missing, 7)
			want(f, "INCOMPLETE_FDS", m.Info.ReturnFlags, kc.IncompleteFDs)
			closeAll(m)
		},
	},
	{
		Name: "fd-limit-memfd",
		Doc:  "A memfd that the receiver has no room for is -1, and INCOMPLETE_FDS says so; the 2015 code leaves the sender's number (item.c), which is told, not judged.",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.sends(to(p, 1), f.memfdItems(1)...)
			m := f.crowded(0, p)
			memfd, err := kc.As[kc.Memfd](m.Items[0])
			f.do("read the memfd", err)
			if memfd.FD != -1 {
				t.Logf("quirk: a memfd without room is %d", memfd.FD)
			}
			want(f, "INCOMPLETE_FDS", m.Info.ReturnFlags, kc.IncompleteFDs)
		},
	},
	{
		Name: "fd-peek-installs-none",
		Doc:  "PEEK opens no descriptors; the 2015 code does (connection.c), which is told, not judged.",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			r, w := f.pipe()
			a.sends(to(p, 1), kc.FDs(w))
			before := openFiles(t)
			m, err := p.Fetch(kc.RecvPeek, 0)
			f.do("peek", err)
			if now := openFiles(t); now != before {
				t.Logf("quirk: PEEK opens descriptors: %d were open, %d are", before, now)
				closeAll(m)
			}
			f.shut(w)
			closeAll(p.gets("what was looked at", 1))
			f.eof("after all", r)
		},
	},
	{
		Name: "fd-quota-released-on-recv",
		Doc:  "Descriptors that were received no longer count (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			for cookie := range uint64(3) {
				a.sends(to(p, cookie), kc.FDs(f.nulls(kc.MaxFDs)...))
				f.refused("one more", a.send(to(p, 9), kc.FDs(f.nulls(1)...)), unix.EMFILE)
				closeAll(p.gets("all there may be", cookie))
			}
		},
	},
	{
		Name: "fd-quota-per-user",
		Doc:  "Each user may have 16 descriptors in a queue (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, x, y := f.peer(), f.peerAs(nobody, nobody), f.peerAs(other, other)
			f.talkable(p, nameA)
			for _, from := range []*peer{x, y} {
				from.sends(to(p, 1), kc.FDs(f.nulls(kc.MaxFDs)...))
				f.refused("one more", from.send(to(p, 9), kc.FDs(f.nulls(1)...)), unix.EMFILE)
			}
			closeAll(p.gets("of the one", 1))
			closeAll(p.gets("of the other", 1))
		},
	},
	{
		Name: "fd-signal-unicast",
		Doc:  "A directed signal may have descriptors (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			p.anyMatch()
			r, w := f.pipe()
			m := to(p, 1)
			m.Flags = kc.Signal
			a.sends(m, zeroFilter(), kc.FDs(w))
			f.shut(w)
			got := p.gets("the signal", 1)
			f.awake(got.Descriptors()[0])
			closeAll(got)
			f.reads(r, "\x01\x00\x00\x00\x00\x00\x00\x00")
		},
	},
	{
		Name: "fd-monitor-nonaccepting",
		Doc:  "A monitor without ACCEPT_FD gets messages without their descriptors; the 2015 code opens them (connection.c), which is told, not judged.",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p, m := f.peer(), f.peer(), f.peer(monitor, noFDs)
			a.sends(to(p, 1), kc.FDs(f.nulls(2)...))
			closeAll(p.gets("the message", 1))
			before := openFiles(t)
			got := m.gets("the message", 1)
			if now := openFiles(t); now != before {
				t.Logf("quirk: a monitor without ACCEPT_FD has %d more descriptors", now-before)
				closeAll(got)
				return
			}
			want(f, "descriptors", fmt.Sprint(got.Descriptors()), "[-1 -1]")
		},
	},
	{
		Name: "memfd-window",
		Doc:  "A part of a memfd arrives as that part of the whole file (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			fd := f.memfd(make([]byte, 8192))
			a.sends(to(p, 1), kc.PayloadMemfd(fd, 4096, 100))
			m := p.gets("the message", 1)
			defer closeAll(m)
			memfd, err := kc.As[kc.Memfd](m.Items[0])
			f.do("read the memfd", err)
			want(f, "part", fmt.Sprint(memfd.Start, memfd.Size), "4096 100")
			want(f, "file", f.inode(int(memfd.FD)), f.inode(fd))
		},
	},
	{
		Name: "memfd-receiver-immutable",
		Doc:  "Who receives a memfd cannot change it (fcntl(2), file sealing).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.sends(to(p, 1), f.memfdItems(1)...)
			m := p.gets("the message", 1)
			defer closeAll(m)
			fd := m.Descriptors()[0]
			_, err := unix.Pwrite(fd, []byte("x"), 0)
			f.refused("write", err, unix.EPERM, unix.EBADF)
			f.refused("truncate", unix.Ftruncate(fd, 1), unix.EPERM, unix.EINVAL, unix.EBADF)
			_, err = unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			f.refused("map for writing", err, unix.EPERM, unix.EACCES)
			f.reads(fd, "memfd")
		},
	},
	{
		Name: "memfd-writable-map-before-seal",
		Doc:  "A memfd that is mapped for writing is not sealed, and so not sent: EBUSY, ETXTBSY (fcntl(2), file sealing).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			fd := f.unsealed([]byte("contents"))
			mem, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			f.do("map for writing", err)
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, allSeals)
			f.refused("seal", err, unix.EBUSY)
			f.refused("send", a.send(to(p, 1), kc.PayloadMemfd(fd, 0, 8)), unix.ETXTBSY)
			f.do("unmap", unix.Munmap(mem))
		},
	},
	{
		Name: "memfd-bcast-shared",
		Doc:  "A memfd that is broadcast is one file for all receivers (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			all := []*peer{f.peer(), f.peer(noFDs), f.peer()}
			for _, p := range all {
				p.anyMatch()
			}
			fd := f.memfd([]byte("shared"))
			a.sends(broadcast(1), kc.PayloadMemfd(fd, 0, 6), zeroFilter())
			for _, p := range all {
				m := p.gets("the broadcast", 1)
				want(f, "file", f.inode(m.Descriptors()[0]), f.inode(fd))
				closeAll(m)
			}
		},
	},
	{
		Name: "fd-array-empty-with-memfd",
		Doc:  "A message with no descriptors in its array and a memfd has the memfd (message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.sends(to(p, 1), append(f.memfdItems(1), kc.FDs())...)
			m := p.gets("the message", 1)
			defer closeAll(m)
			f.reads(m.Descriptors()[0], "memfd")
		},
	},
}

// crowded has p receive a message with room for so many descriptors more.
func (f *fixture) crowded(room int, p *peer) *kc.Message {
	f.t.Helper()
	var limit unix.Rlimit
	f.do("get the limit of descriptors", unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	// Enough to fill what gaps there are, so that what is free begins at one number.
	var gaps []int
	for range 256 {
		fd, err := unix.FcntlInt(uintptr(p.FD), unix.F_DUPFD_CLOEXEC, 0)
		f.do("fill a gap", err)
		gaps = append(gaps, fd)
	}
	defer func() {
		for _, fd := range gaps {
			unix.Close(fd)
		}
	}()
	small := limit
	small.Cur = uint64(gaps[len(gaps)-1] + 1 + room)
	f.do("lower the limit", unix.Setrlimit(unix.RLIMIT_NOFILE, &small))
	m, got := p.Recv(0, 0)
	f.do("raise the limit", unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	f.do("receive", got)
	return m
}
