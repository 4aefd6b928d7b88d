package kdbus

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// nodeModes are the permissions of a bus's directory and an endpoint, by the flags
// they were made with.
var nodeModes = []struct {
	flags     uint64
	dir, file uint32
}{
	{0, 0o500, 0o600},
	{kc.AccessGroup, 0o550, 0o660},
	{kc.AccessWorld, 0o555, 0o666},
	{kc.AccessGroup | kc.AccessWorld, 0o555, 0o666},
}

// stat looks at a node of the domain.
func (f *fixture) stat(name string) (st unix.Stat_t) {
	f.t.Helper()
	f.do("stat "+name, unix.Lstat(filepath.Join(f.root, name), &st))
	return st
}

// changesByFS are ways to change a file system that a domain does not allow; the
// path is the domain's or a bus's directory.
var changesByFS = []struct {
	name string
	do   func(dir, file string) error
}{
	{"mkdir", func(dir, _ string) error { return unix.Mkdir(dir+"/new", 0o755) }},
	{"create", func(dir, _ string) error {
		fd, err := unix.Open(dir+"/new", unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
		if err == nil {
			unix.Close(fd)
		}
		return err
	}},
	{"mknod", func(dir, _ string) error { return unix.Mknod(dir+"/new", unix.S_IFIFO|0o644, 0) }},
	{"symlink", func(dir, file string) error { return unix.Symlink(file, dir+"/new") }},
	{"link", func(dir, file string) error { return unix.Link(file, dir+"/new") }},
	{"unlink", func(_, file string) error { return unix.Unlink(file) }},
	{"rmdir", func(dir, _ string) error { return unix.Rmdir(dir) }},
	{"rename", func(dir, file string) error { return unix.Rename(file, dir+"/new") }},
	{"rename the directory", func(dir, _ string) error { return unix.Rename(dir, dir+"-new") }},
}

var fsCases = []suites.Case{
	{
		Name: "fs-type-listed",
		Doc:  "The kernel lists its file system type (kdbus.fs(7)).",
		Run: func(t *suites.T) {
			needFinal(t)
			known, err := os.ReadFile("/proc/filesystems")
			if err != nil || !strings.Contains(string(known), "nodev\t"+kc.FSType+"\n") {
				t.Errorf("/proc/filesystems does not list %s without a device (%v): %s", kc.FSType, err, known)
			}
		},
	},
	{
		Name: "fs-magic",
		Doc:  "statfs(2) tells the file system's magic number (kdbus.fs(7), magic.h).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			var st unix.Statfs_t
			f.do("statfs", unix.Statfs(f.root, &st))
			want(f, "magic number", st.Type, kc.FSMagic)
		},
	},
	{
		Name: "fs-root-layout",
		Doc:  "A new domain has control only, which is everybody's to open (kdbus.fs(7)).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			f.rootHas("control")
			root, control := f.stat("."), f.stat("control")
			want(f, "mode of the root", root.Mode, unix.S_IFDIR|0o555)
			want(f, "mode of control", control.Mode, unix.S_IFREG|0o666)
			want(f, "owner of the root", fmt.Sprint(root.Uid, root.Gid), "0 0")
			want(f, "owner of control", fmt.Sprint(control.Uid, control.Gid), "0 0")
			want(f, "links to the root", root.Nlink, 2)
			all, err := os.ReadDir(f.root)
			f.do("list", err)
			want(f, "type listed of control", all[0].Type(), fs.FileMode(0))
			f.do("open control as another user", as(nobody, nobody, func() error { f.control(); return nil }))
		},
	},
	{
		Name: "fs-two-mounts-isolated",
		Doc:  "Every mount is a domain of its own: a bus of a name in one is not in the other (kdbus.fs(7)).",
		Run: func(t *suites.T) {
			f, g := newBus(t), newDomain(t)
			g.rootHas("control")
			g.do("make a bus of the same name", kc.MakeBus(g.control(), f.spec))
			f.do("close the first bus", f.bus.Close())
			f.bus = nil
			f.rootHas("control")
			g.rootHas(f.spec.Name, "control")
		},
	},
	{
		Name: "fs-mount-in-userns",
		Doc:  "Root of a user namespace mounts a domain and makes buses there, with its own user ID in their names (kdbus.fs(7)).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			r := f.start(userNamespace(unix.CLONE_NEWNS))
			dir := t.TempDir()
			r.does("mount", dir)
			_, err := r.ask("bus", dir, fmt.Sprint(nobody, "-x"))
			f.refused("make a bus with the outer ID", err, unix.EINVAL)
			r.does("bus", dir, "0-x")
			r.number("dial", dir+"/0-x/bus", 0, 0, 0)
			r.number("dial", dir+"/0-x/bus", kc.PolicyHolder, 0, 0, nameA)
			f.rootHas("control")
		},
	},
	{
		Name: "fs-no-create",
		Doc:  "Nothing is made, removed or renamed in a domain but by ioctl(2) (kdbus.fs(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			for _, d := range []struct{ dir, file string }{{f.root, "control"}, {f.bus.Dir, "bus"}} {
				for _, c := range changesByFS {
					err := c.do(d.dir, filepath.Join(d.dir, d.file))
					f.refused(c.name+" in "+filepath.Base(d.dir), err, unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EOPNOTSUPP,
						unix.EINVAL, unix.EBUSY, unix.EROFS, unix.EXDEV)
				}
			}
			f.rootHas(f.bus.Name, "control")
			f.dirHas(f.bus.Dir, "bus")
			f.peer()
		},
	},
	{
		Name: "fs-modes-matrix",
		Doc:  "The flags of BUS_MAKE and ENDPOINT_MAKE say who may enter and open (kdbus.bus(7), kdbus.endpoint(7)).",
		Run:  modesMatrix,
	},
	{
		Name: "fs-owner-is-euid",
		Doc:  "A bus is its maker's effective user's, whose ID its name begins with (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			fd := f.control()
			f.do("make a bus with two IDs", onThread(func() error {
				if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, 1, 77, 0); e != 0 {
					return e
				}
				if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 1000, 2000, 0); e != 0 {
					return e
				}
				for _, bad := range []string{"1000-x", "0-x"} {
					f.refused("make "+bad, kc.MakeBus(fd, f.named(bad)), unix.EINVAL)
				}
				return kc.MakeBus(fd, f.named("2000-x"))
			}))
			for _, name := range []string{"2000-x", "2000-x/bus"} {
				st := f.stat(name)
				want(f, "owner of "+name, fmt.Sprint(st.Uid, st.Gid), "2000 77")
			}
		},
	},
	{
		Name: "fs-inode-numbers-unique",
		Doc:  "Every node has a number of its own, in readdir(3) as in stat(2) (kdbus.fs(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.newEndpoint("a", 0)
			f.newEndpoint("b", 0)
			seen := make(map[uint64]string)
			for _, name := range []string{".", "control", f.bus.Name, f.bus.Name + "/bus", f.bus.Name + "/" + endpointName("a"), f.bus.Name + "/" + endpointName("b")} {
				ino := f.stat(name).Ino
				if was, ok := seen[ino]; ok {
					t.Errorf("%s and %s have inode number %d", was, name, ino)
				}
				seen[ino] = name
			}
		},
	},
	{
		Name: "fs-readdir-many-buses",
		Doc:  "A domain of many buses lists each once, also while others go (kdbus.fs(7)).",
		Run:  manyBuses,
	},
	{
		Name: "bus-dies-with-fd",
		Doc:  "A bus ends with the descriptor that made it: its directory is gone and its connections are reset (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			ep, owner, dir := f.endpoint(), f.newEndpoint("foo", 0), f.bus.Dir
			path, err := unix.Open(f.bus.Path("bus"), unix.O_PATH|unix.O_CLOEXEC, 0)
			f.do("open the endpoint as a path", err)
			f.own(path)
			f.do("close the bus", f.bus.Close())
			f.bus = nil
			f.rootHas("control")
			_, err = os.Stat(dir)
			f.refused("look for the bus", err, unix.ENOENT)
			got, err := p.Poll(unix.POLLIN|unix.POLLOUT, 0)
			f.do("poll", err)
			want(f, "poll of a connection", got, unix.POLLERR|unix.POLLHUP)
			f.refused("send", p.send(to(p, 1)), unix.ECONNRESET)
			_, err = kc.Connect(ep, kc.Options{PoolSize: smallPool})
			f.refused("connect by a fresh descriptor", err, unix.ESHUTDOWN)
			f.refused("make an endpoint by a fresh descriptor", kc.MakeEndpoint(ep, endpointName("bar"), 0), unix.ESHUTDOWN)
			f.refused("update an endpoint", kc.UpdateEndpoint(owner), unix.ESHUTDOWN)
			_, err = kc.Open(fmt.Sprint("/proc/self/fd/", path))
			f.refused("open by a path descriptor", err, unix.ESHUTDOWN, unix.ENOENT)
			f.do("make the bus again", kc.MakeBus(f.control(), f.spec))
		},
	},
	{
		Name: "bus-survives-dup",
		Doc:  "A bus lives as long as any copy of its descriptor, also another process's (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, dir := f.peer(), f.bus.Dir
			dup, err := unix.FcntlInt(uintptr(f.bus.FD), unix.F_DUPFD_CLOEXEC, 0)
			f.do("duplicate", err)
			r := f.start(nil, f.bus.FD)
			f.do("close the original", f.bus.Close())
			f.bus = nil
			f.do("close the duplicate", unix.Close(dup))
			f.do("free on a bus another process has", p.Free(p.Pool.Size()))
			r.does("exec")
			r.does("pids")
			f.do("free on a bus that was taken across an exec", p.Free(p.Pool.Size()))
			r.kill()
			f.refused("free on a bus nobody has", p.Free(p.Pool.Size()), unix.ECONNRESET)
			_, err = os.Stat(dir)
			f.refused("look for the bus", err, unix.ENOENT)
		},
	},
	{
		Name: "bus-name-reusable",
		Doc:  "A bus's name is free as soon as its descriptor is closed (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			for range 200 {
				b, err := kc.NewBus(f.root, f.aBus("again"))
				f.do("make a bus", err)
				f.do("close it", b.Close())
			}
			f.rootHas("control")
		},
	},
	{
		Name: "bus-id128-differs",
		Doc:  "Every bus has an ID of 128 bits of its own, the same for all its connections (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			c := newBus(t).peer()
			want(f, "the bus's ID", a.ID128, b.ID128)
			if a.ID128 == c.ID128 {
				t.Errorf("two buses have the ID %x", a.ID128)
			}
		},
	},
	{
		Name: "conn-ids-never-reused",
		Doc:  "Connections have IDs that only grow (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			var last uint64
			for range 300 {
				c, err := kc.Dial(f.bus.Path("bus"), kc.Options{PoolSize: 4096})
				f.do("connect", err)
				if c.ID <= last {
					t.Errorf("ID %d comes after %d", c.ID, last)
				}
				last = c.ID
				f.do("close", c.Close())
			}
		},
	},
	{
		Name: "ep-close-disconnects",
		Doc:  "A custom endpoint ends with its descriptor: its connections are reset, others are not (kdbus.endpoint(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.newEndpoint("foo", 0)
			a, b, p := f.peer(), f.peer(), f.peerAt("foo")
			a.matches(1, kc.OfID(kc.ItemIDRemove, p.ID))
			f.shut(fd)
			a.notifies("the endpoint's end", kc.ItemIDRemove)
			f.refused("send through it", p.send(to(a, 1)), unix.ECONNRESET)
			b.sends(to(a, 2))
			a.gets("by the default endpoint", 2)
		},
	},
	{
		Name: "umount-busy",
		Doc:  "A domain with open files is not unmounted: EBUSY; a lazy unmount leaves them working (umount(2)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			f.refused("unmount", unix.Unmount(f.root, 0), unix.EBUSY)
			f.do("unmount lazily", unix.Unmount(f.root, unix.MNT_DETACH))
			a.sends(to(b, 1))
			b.gets("without a mount", 1)
			a.close()
			b.close()
			f.do("close the bus", f.bus.Close())
			f.bus = nil
			f.do("mount again", kc.Mount(f.root))
			f.rootHas("control")
		},
	},
}

func modesMatrix(t *suites.T) {
	f := newDomain(t)
	for n, m := range nodeModes {
		s := f.aBus(fmt.Sprint("mode", n))
		s.Flags = m.flags
		b, err := kc.NewBus(f.root, s)
		f.do("make a bus", err)
		want(f, fmt.Sprintf("mode of a bus made with %#x", m.flags), f.stat(s.Name).Mode, unix.S_IFDIR|m.dir)
		want(f, fmt.Sprintf("mode of its endpoint, made with %#x", m.flags), f.stat(s.Name+"/bus").Mode, unix.S_IFREG|m.file)
		want(f, "links to a bus", f.stat(s.Name).Nlink, 2)
		for k, e := range nodeModes {
			fd := f.open(s.Name + "/bus")
			name := endpointName(fmt.Sprint("ep", k))
			f.do("make an endpoint", kc.MakeEndpoint(fd, name, e.flags))
			want(f, fmt.Sprintf("mode of an endpoint made with %#x", e.flags), f.stat(s.Name+"/"+name).Mode, unix.S_IFREG|e.file)
			f.shut(fd)
		}
		f.do("close the bus", b.Close())
	}
}

// manyBuses has 16 users make 8 buses each, and lists while half of them go.
func manyBuses(t *suites.T) {
	f := newDomain(t)
	alive := make(map[string]bool)
	var doomed []int
	for uid := 1000; uid < 1016; uid++ {
		f.do("make buses", as(uid, uid, func() error {
			for n := range 8 {
				s := f.named(fmt.Sprintf("%d-bus%d", uid, n))
				fd := f.control()
				if err := kc.MakeBus(fd, s); err != nil {
					return err
				}
				if n%2 == 0 {
					doomed = append(doomed, fd)
				} else {
					alive[s.Name] = true
				}
			}
			return nil
		}))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, fd := range doomed {
			unix.Close(fd)
		}
	}()
	for range 20 {
		all, err := os.ReadDir(f.root)
		f.do("list", err)
		seen := make(map[string]int)
		for _, e := range all {
			seen[e.Name()]++
			want(f, "times "+e.Name()+" is listed", seen[e.Name()], 1)
		}
		for name := range alive {
			want(f, "times "+name+" is listed", seen[name], 1)
		}
	}
	<-done
	for _, fd := range doomed {
		delete(f.owned, fd)
	}
	all, err := os.ReadDir(f.root)
	f.do("list", err)
	want(f, "entries in the end", len(all), len(alive)+1)
}
