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
