package kdbus

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A state is what a descriptor is, and which operations it then takes.
type state struct {
	name, doc string
	fd        func(s *stage) int
	takes     []kc.Op
}

var states = []state{
	{"fresh-control", "A fresh descriptor of control makes a bus, and takes nothing else", func(s *stage) int { return s.control }, []kc.Op{kc.BusMake}},
	{"fresh-endpoint", "A fresh descriptor of an endpoint connects or makes an endpoint, and takes nothing else", func(s *stage) int { return s.fresh }, []kc.Op{kc.Hello, kc.EndpointMake}},
	{"bus-owner", "A descriptor that has made a bus takes nothing", func(s *stage) int { return s.bus.FD }, nil},
	{"endpoint-owner", "A descriptor that has made an endpoint updates its policy, and takes nothing else", func(s *stage) int { return s.owner }, []kc.Op{kc.EndpointUpdate}},
	{"connected", "A connection makes no bus, no endpoint and no other connection", func(s *stage) int { return s.p.FD }, []kc.Op{
		kc.Update, kc.Byebye, kc.Free, kc.ConnInfo, kc.BusCreatorInfo, kc.List, kc.Send, kc.Recv, kc.NameAcquire, kc.NameRelease, kc.MatchAdd, kc.MatchRemove,
	}},
}

// unknownOps are numbers that are none of the interface's: of another size, of
// another direction, of earlier dialects.
var unknownOps = []kc.Op{0x95ff, 0x40109500, 0x40209500, 0xc0689520, 0x80309584, 0x401895ff, 0xc0189500, 0x40189400}

// kinds are the kinds of connections.
var kinds = []struct {
	name    string
	connect option
	refuses []kc.Op
}{
	{"ordinary", func(*kc.Options) {}, nil},
	{"activator", activator(nameA), []kc.Op{kc.Send, kc.NameAcquire, kc.NameRelease, kc.MatchAdd, kc.MatchRemove, kc.Byebye}},
	{"policy-holder", holder(nameA), []kc.Op{kc.Send, kc.NameAcquire, kc.NameRelease, kc.MatchAdd, kc.MatchRemove, kc.Byebye, kc.Recv, kc.Free}},
	{"monitor", monitor, []kc.Op{kc.Send, kc.NameAcquire, kc.NameRelease, kc.MatchAdd, kc.MatchRemove, kc.Byebye}},
}

// updates are what UPDATE changes, and the kinds that have it.
var updates = []struct {
	name  string
	items []kc.Item
	taken map[string]bool
}{
	{"nothing", nil, map[string]bool{"ordinary": true, "activator": true, "policy-holder": true, "monitor": true}},
	{"send mask", []kc.Item{kc.Words(kc.ItemAttachSend, 0)}, map[string]bool{"ordinary": true, "monitor": true}},
	{"receive mask", []kc.Item{kc.Words(kc.ItemAttachRecv, 0)}, map[string]bool{"ordinary": true, "activator": true, "monitor": true}},
	{"policy", []kc.Item{kc.Name(nameA)}, map[string]bool{"policy-holder": true}},
}

func handleCases() (cases []suites.Case) {
	for _, st := range states {
		cases = append(cases, suites.Case{Name: "state-" + st.name, Doc: st.doc + ": EBADFD; a number that is no operation is ENOTTY (handle.c).", Run: st.run})
	}
	for _, k := range kinds {
		cases = append(cases, suites.Case{
			Name: "kind-" + k.name, Doc: "What a connection of its kind does not do is EOPNOTSUPP, before its argument is looked at (kdbus.connection(7), connection.c).",
			Run: func(t *suites.T) {
				f := newBus(t)
				p := f.peer(k.connect)
				for _, op := range kc.Ops {
					if op.Op == kc.BusMake || op.Op == kc.EndpointMake || op.Op == kc.EndpointUpdate || op.Op == kc.Hello {
						continue
					}
					expect := unix.EFAULT
					for _, r := range k.refuses {
						if r == op.Op {
							expect = unix.EOPNOTSUPP
						}
					}
					f.refused(op.Name+" at no address", kc.IoctlAt(p.FD, op.Op, 0), expect)
				}
				for _, u := range updates {
					err := p.Update(u.items...)
					if !u.taken[k.name] {
						f.refused("update "+u.name, err, unix.EOPNOTSUPP)
					} else if err != nil {
						t.Errorf("update %s: %s, want success", u.name, said(err))
					}
				}
			},
		})
	}
	return append(cases, handleOtherCases...)
}

// run asks each operation about its flags: those that are taken answer.
func (st state) run(t *suites.T) {
	s := newStage(t)
	fd := st.fd(s)
	for _, op := range kc.Ops {
		taken := false
		for _, o := range st.takes {
			taken = taken || o == op.Op
		}
		c := s.command(op)
		word(c, 8, kc.Negotiate)
		err := kc.Ioctl(fd, op.Op, c)
		if taken {
			s.do(op.Name, err)
		} else {
			s.refused(op.Name, err, unix.EBADFD)
			s.refused(op.Name+" at no address", kc.IoctlAt(fd, op.Op, 0), unix.EBADFD)
		}
	}
	for _, op := range unknownOps {
		s.refused("unknown operation "+hex(uint64(op)), kc.IoctlAt(fd, op, 0), unix.ENOTTY)
	}
	s.usable()
}

var handleOtherCases = []suites.Case{
	{
		Name: "state-after-byebye",
		Doc:  "Who has gone is reset, whatever it does: ECONNRESET, and POLLERR and POLLHUP; its pool can be mapped (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			f.do("byebye", p.Byebye())
			for _, op := range kc.Ops {
				expect := unix.ECONNRESET
				if op.Op == kc.BusMake || op.Op == kc.EndpointMake || op.Op == kc.EndpointUpdate || op.Op == kc.Hello {
					expect = unix.EBADFD
				}
				f.refused(op.Name, kc.IoctlAt(p.FD, op.Op, 0), expect)
			}
			got, err := p.Poll(unix.POLLIN|unix.POLLOUT, 0)
			f.do("poll", err)
			want(f, "poll", got, unix.POLLERR|unix.POLLHUP)
			mem, err := kc.MapPool(p.FD, smallPool)
			f.do("map the pool", err)
			f.do("unmap", mem.Unmap())
		},
	},
	{
		Name: "setup-race",
		Doc:  "Of two that set up one descriptor at once one succeeds and the other is EBADFD (handle.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			for range 200 {
				fd := f.endpoint()
				var wait sync.WaitGroup
				var errs [2]error
				start := make(chan struct{})
				for n, do := range []func() error{
					func() error { return kc.Ioctl(fd, kc.Hello, kc.Options{PoolSize: 4096}.Command()) },
					func() error { return kc.MakeEndpoint(fd, endpointName("race"), 0) },
				} {
					wait.Go(func() { <-start; errs[n] = do() })
				}
				close(start)
				wait.Wait()
				if (errs[0] == nil) == (errs[1] == nil) {
					t.Errorf("HELLO: %s, ENDPOINT_MAKE: %s", said(errs[0]), said(errs[1]))
				}
				for _, err := range errs {
					if err != nil {
						f.refused("the other", err, unix.EBADFD)
					}
				}
				f.shut(fd)
			}
			f.dirHas(f.bus.Dir, "bus")
		},
	},
	{
		Name: "fork-shared-connection",
		Doc:  "A connection that another process has is the same one; its messages tell of who sends them (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			r := f.start(nil, a.FD)
			r.does("adopt", 3, smallPool)
			r.does("send", b.ID, 7)
			m := b.gets("of the other process", 7)
			want(f, "source", m.SrcID, a.ID)
			want(f, "PID", item[kc.PIDs](f, m.Items, kc.ItemPIDs).PID, uint64(r.cmd.Process.Pid))
			b.sends(to(a, 8))
			want(f, "what the other process received", r.sees().Cookie, 8)
			a.nothing("what the other process received")
			a.closed = true
			f.do("close one's own copy", a.Close())
			r.does("send", b.ID, 9)
			b.gets("when the other has it alone", 9)
			r.kill()
			f.refused("send to who is gone", b.send(toID(a.ID, 1)), unix.ENXIO)
		},
	},
	{
		Name: "exec-inherits-connection",
		Doc:  "A connection goes on across an exec, if its descriptor does (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			r := f.start(nil, a.FD)
			r.does("exec")
			r.does("adopt", 3, smallPool)
			b.sends(to(a, 7))
			want(f, "what was received after the exec", r.sees().Cookie, 7)
		},
	},
	{
		Name: "hello-by-other-than-opener",
		Doc:  "It is who opened the endpoint that is the bus's owner or not, not who connects (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.endpoint()
			cmd := options([]option{holder(nameA)}).Command()
			f.do("connect as another user by the owner's descriptor", as(nobody, nobody, func() error { return kc.Ioctl(fd, kc.Hello, cmd) }))
			var theirs int
			f.do("open as another user", as(nobody, nobody, func() error { theirs = f.endpoint(); return nil }))
			f.refused("connect as root by another's descriptor", kc.Ioctl(theirs, kc.Hello, options([]option{holder(nameB)}).Command()), unix.EPERM)
		},
	},
	{
		Name: "scm-rights-connection",
		Doc:  "A connection may be passed over a UNIX socket (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			x, y := f.pair()
			f.do("pass the connection", unix.Sendmsg(x, []byte("x"), unix.UnixRights(a.FD), nil, 0))
			oob := make([]byte, 64)
			_, n, _, _, err := unix.Recvmsg(y, make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
			f.do("receive the connection", err)
			msgs, err := unix.ParseSocketControlMessage(oob[:n])
			f.do("read the message", err)
			fds, err := unix.ParseUnixRights(&msgs[0])
			f.do("read the descriptor", err)
			defer unix.Close(fds[0])
			b.sends(to(a, 1))
			mine := a.FD
			a.FD = fds[0]
			a.gets("by the passed descriptor", 1)
			a.FD = mine
		},
	},
	{
		Name: "read-write-refused",
		Doc:  "A connection is neither read nor written: EINVAL (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			p.sends(to(p, 1))
			for what, fd := range map[string]int{"connection": p.FD, "control": f.control(), "endpoint": f.endpoint()} {
				_, err := unix.Read(fd, make([]byte, 8))
				f.refused("read "+what, err, unix.EINVAL)
				_, err = unix.Write(fd, make([]byte, 8))
				f.refused("write "+what, err, unix.EINVAL)
				if _, err = unix.Seek(fd, 0, 0); err != nil {
					t.Logf("lseek(2) of %s: %s", what, said(err))
				}
			}
			p.gets("what was not read", 1)
		},
	},
	{
		Name: "open-rdonly-ioctl",
		Doc:  "A descriptor opened to read does all that one opened to write does (handle.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd, err := unix.Open(f.bus.Path("bus"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			f.do("open to read", err)
			c, err := kc.Connect(fd, options(nil))
			f.do("connect", err)
			defer c.Close()
			p := f.peer()
			p.sends(toID(c.ID, 1))
			_, err = c.Recv(0, 0)
			f.do("receive", err)
			f.do("send", c.Send(to(p, 2)))
			p.gets("of who may only read", 2)
		},
	},
	{
		Name: "open-wronly-mmap",
		Doc:  "A descriptor opened to write has a pool that cannot be mapped: EACCES (mmap(2)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd, err := unix.Open(f.bus.Path("bus"), unix.O_WRONLY|unix.O_CLOEXEC, 0)
			f.do("open to write", err)
			f.own(fd)
			f.do("connect", kc.Ioctl(fd, kc.Hello, options(nil).Command()))
			_, err = kc.MapPool(fd, smallPool)
			f.refused("map", err, unix.EACCES)
		},
	},
	{
		Name: "close-during-blocking-send",
		Doc:  "A call that waits goes on when its descriptor is closed, and is answered or ends (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			done := a.calls(call(b, 7, 600*second), -1)
			m := b.waits("the call")
			a.closed = true
			f.do("close the descriptor", unix.Close(a.FD))
			b.sends(reply(m, 8))
			got := <-done
			f.do("the call", got.err)
			want(f, "the answer", got.Cookie, 8)
			f.do("unmap", a.Pool.Unmap())
		},
	},
	{
		Name: "requester-dies-sync",
		Doc:  "A process that waits for a reply can be killed; a reply to it is then refused: ENXIO or EBADSLT (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			b := f.peer()
			r := f.start(nil)
			f.connect(r)
			r.order("call", b.ID, 7, 600*second)
			m := b.waits("the call")
			begin := time.Now()
			r.kill()
			t.Logf("the process ended %v after it was killed", time.Since(begin))
			f.refused("reply", b.send(reply(m, 8)), unix.ENXIO, unix.EBADSLT)
		},
	},
	{
		Name: "replier-dies-sync",
		Doc:  "A call to a process that is killed ends: EPIPE (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			r := f.start(nil)
			id := f.connect(r)
			done := a.calls(calling(toID(id, 7), 600*second), -1)
			want(f, "what it received", r.sees().Cookie, 7)
			r.kill()
			f.refused("the call", (<-done).err, unix.EPIPE)
		},
	},
}
