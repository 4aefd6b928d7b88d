package overlayfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// eventCases are about locks, and what watchers are told.
var eventCases = []suites.Case{
	{
		Name: "lock-flock-survives-copy-up",
		Doc:  "A lock of flock(2) on a lower file holds off others after the file is copied up (flock(2)).",
		Run: func(t *suites.T) {
			lockStays(t, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
		},
	},
	{
		Name: "lock-ofd-survives-copy-up",
		Doc:  "An open file description lock on a lower file holds off others after the file is copied up (fcntl(2), F_OFD_SETLK).",
		Run: func(t *suites.T) {
			lockStays(t, func(fd int) error {
				return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 0, Len: 1})
			}, func(fd int) error {
				return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Start: 0, Len: 1})
			})
		},
	},
	{
		Name: "notify-file-after-copy-up",
		Doc:  "A watch on a lower file tells of changes after the file is copied up and the caches are dropped (inotify(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			w := o.watch("a", unix.IN_ATTRIB|unix.IN_MODIFY)
			o.chmod("a", 0o600)
			o.equal("after chmod", o.told(w), []string{"attrib"})
			o.dropCaches()
			o.do("write", withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "L") })(o.at("a")))
			o.equal("after write", o.told(w), []string{"modify"})
		},
	},
	{
		Name: "notify-directory-after-copy-up",
		Doc:  "A watch on a lower directory tells of names after the directory is copied up and the caches are dropped (inotify(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"), file("b", ""))))
			w := o.watch("d", unix.IN_CREATE|unix.IN_DELETE|unix.IN_MOVE)
			o.chmod("d", 0o700)
			o.dropCaches()
			o.do("create", unix.Mknod(o.at("d/new"), unix.S_IFREG|0o644, 0))
			o.unlink("d/a")
			o.rename("d/b", "d/c")
			o.equal("after the changes", o.told(w), []string{"create new", "delete a", "moved-from b", "moved-to c"})
		},
	},
	{
		Name: "notify-as-on-one-file-system",
		Doc:  "Watches on a merged directory and what is in it tell of the same changes as on a plain file system, and of nothing in the layers' own directories (inotify(7)).",
		Run:  notifySame,
	},
	{
		Name: "notify-not-of-layers",
		Doc:  "A watch on a file of the overlay is not told of changes made in the layer itself (inotify(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("l", "")), upper(file("a", "upper")))
			w := o.watch("a", unix.IN_ALL_EVENTS)
			o.do("change in the upper layer", os.WriteFile(o.inUpper("a"), []byte("changed"), 0o644))
			o.equal("after the change", o.told(w), nil)
		},
	},
}

// lockStays takes a lock by one descriptor and, after a copy-up, wants it denied
// to another, by the last of the ways given.
func lockStays(t *suites.T, lock ...func(fd int) error) {
	o := newOverlay(t, lower(file("a", "lower")))
	fd := o.open("a", unix.O_RDONLY)
	o.do("lock", lock[0](fd))
	o.write("a", "changed")
	other := o.open("a", unix.O_RDWR)
	o.refused("lock by another descriptor", lock[len(lock)-1](other), unix.EAGAIN, unix.EACCES)
	o.do("close", unix.Close(fd))
	o.do("lock when the first is closed", lock[len(lock)-1](other))
	o.do("close the other", unix.Close(other))
	o.shows(file("a", "changed"))
}

// watch is an inotify descriptor for one name, closed when the case ends.
func (o *overlay) watch(name string, mask uint32) int {
	o.t.Helper()
	return watchPath(o, o.at(name), mask)
}

func watchPath(o *overlay, path string, mask uint32) int {
	o.t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	o.do("make an inotify instance", err)
	o.t.Cleanup(func() { unix.Close(fd) })
	_, err = unix.InotifyAddWatch(fd, path, mask)
	o.do("watch "+path, err)
	return fd
}

var eventNames = []struct {
	mask uint32
	name string
}{
	{unix.IN_ACCESS, "access"}, {unix.IN_ATTRIB, "attrib"}, {unix.IN_CLOSE_WRITE, "close-write"}, {unix.IN_CLOSE_NOWRITE, "close"},
	{unix.IN_CREATE, "create"}, {unix.IN_DELETE, "delete"}, {unix.IN_DELETE_SELF, "delete-self"}, {unix.IN_MODIFY, "modify"},
	{unix.IN_MOVED_FROM, "moved-from"}, {unix.IN_MOVED_TO, "moved-to"}, {unix.IN_MOVE_SELF, "move-self"}, {unix.IN_OPEN, "open"},
	{unix.IN_IGNORED, "ignored"}, {unix.IN_UNMOUNT, "unmount"},
}

// told are the events that have come: the kernel queues them before the call
// that causes them returns.
func (o *overlay) told(fd int) (events []string) {
	o.t.Helper()
	buf := make([]byte, 16<<10)
	n, err := unix.Read(fd, buf)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	o.do("read events", err)
	for b := buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		mask, length := binary.NativeEndian.Uint32(b[4:]), binary.NativeEndian.Uint32(b[12:])
		name := b[unix.SizeofInotifyEvent : unix.SizeofInotifyEvent+length]
		if i := slices.Index(name, 0); i >= 0 {
			name = name[:i]
		}
		event := fmt.Sprintf("%#x", mask)
		for _, e := range eventNames {
			if mask&e.mask != 0 {
				event = e.name
			}
		}
		if len(name) > 0 {
			event += " " + string(name)
		}
		events = append(events, event)
		b = b[unix.SizeofInotifyEvent+length:]
	}
	return events
}

// notifySame does one thing after another to an overlay and to a plain copy of
// what it shows.
func notifySame(t *suites.T) {
	nodes := []node{file("a", "lower"), file("b", "lower"), dir("s"), file("c", "lower"), dir("r")}
	o := newOverlay(t, lower(dir("d", nodes...)), upper(dir("d")))
	plain := o.layer("plain", nodes)
	type watch struct {
		name        string
		over, under int
	}
	watches := []watch{{".", o.watch("d", unix.IN_ALL_EVENTS&^unix.IN_ACCESS), watchPath(o, plain, unix.IN_ALL_EVENTS&^unix.IN_ACCESS)}}
	for _, n := range nodes {
		const mask = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ATTRIB | unix.IN_MODIFY
		watches = append(watches, watch{n.name, o.watch("d/"+n.name, mask), watchPath(o, plain+"/"+n.name, mask)})
	}
	for _, act := range []struct {
		name string
		do   func(dir string) error
	}{
		{"create", func(d string) error { return os.WriteFile(d+"/new", []byte("x"), 0o644) }},
		{"open lower", func(d string) error { return opened(unix.O_RDONLY)(d + "/a") }},
		{"chmod lower", func(d string) error { return unix.Chmod(d+"/a", 0o600) }},
		{"write lower", func(d string) error {
			return withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "x") })(d + "/b")
		}},
		{"rename lower", func(d string) error { return unix.Rename(d+"/b", d+"/e") }},
		{"rename over", func(d string) error { return unix.Rename(d+"/a", d+"/e") }},
		{"link lower", func(d string) error { return unix.Link(d+"/c", d+"/f") }},
		{"unlink", func(d string) error { return unix.Unlink(d + "/c") }},
		{"create over whiteout", func(d string) error { return unix.Mkdir(d+"/c", 0o755) }},
		{"rmdir", func(d string) error { return unix.Rmdir(d + "/s") }},
		{"mkdir", func(d string) error { return unix.Mkdir(d+"/n", 0o755) }},
		{"rename over directory", func(d string) error { return unix.Rename(d+"/n", d+"/r") }},
	} {
		o.do(act.name, errors.Join(act.do(o.at("d")), act.do(plain)))
		for _, w := range watches {
			o.equal(act.name+", told of "+w.name, o.told(w.over), o.told(w.under))
		}
	}
}
