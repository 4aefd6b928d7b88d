package kdbus

import (
	"os"
	"runtime/debug"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// acrossCases are about descriptors and memory that outlive, or do not, what they
// were made for.
var acrossCases = []suites.Case{
	{
		Name: "bus-dies-on-exec-cloexec",
		Doc:  "A bus whose only descriptor closes on exec ends there (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			r := f.start(nil)
			r.does("bus", f.root, "0-exec")
			f.rootHas("0-exec", "control")
			r.does("exec")
			r.does("pids")
			f.rootHas("control")
		},
	},
	{
		Name: "replier-exec-pending",
		Doc:  "A call to a connection that closes on exec ends there: EPIPE (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			r := f.start(nil)
			id := f.connect(r)
			done := a.calls(calling(toID(id, 7), 600*second), -1)
			want(f, "what it received", r.sees().Cookie, 7)
			r.does("exec")
			f.refused("the call", (<-done).err, unix.EPIPE)
		},
	},
	{
		Name: "name-owner-killed",
		Doc:  "When the process that owns a name is killed, who waits has it, and one NAME_CHANGE tells so (kdbus.name(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			r := f.start(nil)
			id := f.connect(r)
			r.does("acquire", nameA, 0)
			_, err := a.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			b.matches(1, kc.OfName(kc.ItemNameChange, kc.MatchAnyID, kc.MatchAnyID, ""))
			r.kill()
			_, i := b.notifies("the death", kc.ItemNameChange)
			c, _, err := i.Change()
			f.do("read the change", err)
			want(f, "who had the name", c.Old.ID, id)
			want(f, "who has the name", c.New.ID, a.ID)
			b.nothing("after the change")
		},
	},
	{
		Name: "cycle-via-epoll",
		Doc:  "An epoll descriptor that watches a connection and lies in its queue does not keep it (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			f.do("make an epoll descriptor", err)
			f.do("watch the connection", unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, p.FD, &unix.EpollEvent{Events: unix.EPOLLIN}))
			a.sends(to(p, 1), kc.FDs(fd))
			unix.Close(fd)
			a.matches(1, kc.OfID(kc.ItemIDRemove, p.ID))
			p.close()
			a.notifies("the connection is gone", kc.ItemIDRemove)
			want(f, "connections", f.unique(a), 1)
		},
	},
	{
		Name: "cycle-via-opath",
		Doc:  "A path descriptor of the endpoint in a connection's queue does not keep the connection (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			fd, err := unix.Open(f.bus.Path("bus"), unix.O_PATH|unix.O_CLOEXEC, 0)
			f.do("open the endpoint as a path", err)
			a.sends(to(p, 1), kc.FDs(fd))
			unix.Close(fd)
			p.close()
			want(f, "connections", f.unique(a), 1)
		},
	},
	{
		Name: "map-offset-past-end",
		Doc:  "Beyond a pool there is nothing to read: mapping is refused, or reading is SIGBUS (mmap(2)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			mem, err := unix.Mmap(p.FD, smallPool, pageSize, unix.PROT_READ, unix.MAP_SHARED)
			if err != nil {
				f.refused("map beyond the end", err, unix.EFAULT, unix.EINVAL)
				return
			}
			defer unix.Munmap(mem)
			if read(mem) {
				t.Error("memory beyond the pool can be read")
			}
		},
	},
	{
		Name: "map-mremap-grow",
		Doc:  "A mapping that is made longer than the pool shows nothing beyond it (mremap(2)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			mem, err := unix.Mmap(p.FD, 0, smallPool, unix.PROT_READ, unix.MAP_SHARED)
			f.do("map", err)
			long, err := unix.Mremap(mem, 2*smallPool, unix.MREMAP_MAYMOVE)
			if err != nil {
				t.Logf("mremap(2): %s", said(err))
				f.do("unmap", unix.Munmap(mem))
				return
			}
			defer unix.Munmap(long)
			if read(long[smallPool:]) {
				t.Error("memory beyond the pool can be read")
			}
		},
	},
	{
		Name: "negotiate-readonly-memory",
		Doc:  "An answer that cannot be written is EFAULT (handle.c).",
		Run: func(t *suites.T) {
			s := newStage(t)
			mem, at := s.lonePage(unix.PROT_READ | unix.PROT_WRITE)
			for _, op := range kc.Ops {
				s.do("let write", unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE))
				c := s.command(op, negotiating...)
				word(c, 8, kc.Negotiate)
				copy(mem, c.Bytes())
				s.do("let read only", unix.Mprotect(mem, unix.PROT_READ))
				s.refused(op.Name, kc.IoctlAt(s.fd(op.Op), op.Op, at), unix.EFAULT)
			}
			s.usable()
		},
	},
	{
		Name: "meta-sibling-pidns",
		Doc:  "Between PID namespaces that do not see each other there are no PIDs and, withheld, nothing of the process (metadata.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			from, at := f.start(userNamespace(unix.CLONE_NEWPID)), f.start(userNamespace(unix.CLONE_NEWPID))
			id := f.connect(at)
			from.number("dial", f.bus.Path("bus"), 0, 0, 0)
			from.does("send", id, 7)
			s := at.sees()
			want(f, "cookie", s.Cookie, 7)
			want(f, "PIDS", s.PIDs, kc.PIDs{})
			for _, kind := range []uint64{kc.ItemTIDComm, kc.ItemPIDComm, kc.ItemExe, kc.ItemCmdline, kc.ItemCaps} {
				if slices.Contains(s.Types, kind) {
					t.Errorf("item %#x was not withheld", kind)
				}
			}
			if !slices.Contains(s.Types, kc.ItemCreds) {
				t.Error("CREDS were withheld")
			}
		},
	},
	{
		Name: "fork-drop-privs-owner-sticky",
		Doc:  "A process that has the owner's connection and no privileges is still the bus's owner there (kdbus.policy(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peerAs(other, other)
			r := f.start(asUser(nobody), a.FD)
			r.does("adopt", 3, smallPool)
			r.does("send", p.ID, 7)
			want(f, "CREDS", item[kc.Creds](f, p.gets("of the other process", 7).Items, kc.ItemCreds), credsOf(nobody, nobody))
		},
	},
	{
		Name: "poll-in-other-process",
		Doc:  "A message wakes another process that waits for it (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			r := f.start(nil)
			id := f.connect(r)
			r.order("recv")
			a.sends(toID(id, 7))
			_, err := r.report()
			f.do("another process: receive", err)
		},
	},
	{
		Name: "umount-with-connections-elsewhere",
		Doc:  "A domain that was unmounted lazily ends when the last process that has a file of it does (kdbus.fs(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			r := f.start(nil, a.FD)
			r.does("adopt", 3, smallPool)
			f.do("unmount lazily", unix.Unmount(f.root, unix.MNT_DETACH))
			a.sends(to(a, 1))
			want(f, "what another process received", r.sees().Cookie, 1)
			r.kill()
			a.close()
			f.do("close the bus", f.bus.Close())
			f.bus = nil
			f.do("mount again", kc.Mount(f.root))
			f.rootHas("control")
			_, err := os.Stat(f.root + "/" + f.spec.Name)
			f.refused("look for the old bus", err, unix.ENOENT)
		},
	},
}

// read reports whether the first byte of a mapping can be read.
func read(mem []byte) (could bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { _ = recover() }()
	return int(mem[0]) >= 0
}
