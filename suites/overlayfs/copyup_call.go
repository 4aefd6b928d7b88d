package overlayfs

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// The subjects of the calls: what the lower layer holds in directory d.
var (
	subject       = file("a", "lower").perm(0o640).owned(7, 8).xattr("trusted.keep", "kept").old()
	subjectLink   = symlink("l", "a").owned(7, 8).old()
	subjectParent = dir("d", subject, subjectLink).perm(0o751).owned(5, 6)
)

// A call is a system call on one subject, and what it may change in it.
type call struct {
	name   string
	doc    string
	on     string // "d/a", "d/l" or "d"
	do     func(path string) error
	want   unix.Errno      // 0 if it succeeds
	change func(node) node // nil: the subject must not be copied up
}

func same(n node) node { return n }

// written says that the content is another now, and the time of change any.
func written(text string) func(node) node {
	return func(n node) node { n.text = text; return n.changed(time.Time{}) }
}

// changingCalls change the subject, which is copied up for it. Everything they do
// not change is kept.
var changingCalls = []call{
	{"chmod", "chmod(2) copies up and changes the mode alone", "d/a",
		func(p string) error { return unix.Chmod(p, 0o604) }, 0,
		func(n node) node { return n.perm(0o604) }},
	{"chmod-to-the-same", "chmod(2) to the mode the file has copies up all the same", "d/a",
		func(p string) error { return unix.Chmod(p, 0o640) }, 0, same},
	{"fchmod-on-read-only-descriptor", "fchmod(2) by a descriptor that is open for reading copies up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return unix.Fchmod(fd, 0o604) }), 0,
		func(n node) node { return n.perm(0o604) }},
	{"chown", "chown(2) copies up and changes the owner", "d/a",
		func(p string) error { return unix.Chown(p, 11, 12) }, 0,
		func(n node) node { return n.owned(11, 12) }},
	{"chown-of-nothing", "chown(2) to (-1, -1) copies up and changes nothing", "d/a",
		func(p string) error { return unix.Chown(p, -1, -1) }, 0, same},
	{"lchown-symlink", "lchown(2) copies up the symbolic link and not its target", "d/l",
		func(p string) error { return unix.Lchown(p, 11, 12) }, 0,
		func(n node) node { return n.owned(11, 12) }},
	{"utimensat", "utimensat(2) copies up and sets the time to the nanosecond", "d/a",
		func(p string) error { return setTimes(p, stamp.Add(12345*time.Second+1)) }, 0,
		func(n node) node { return n.changed(stamp.Add(12345*time.Second + 1)) }},
	{"utimensat-symlink", "utimensat(2) without following sets the times of the link", "d/l",
		func(p string) error { return setTimes(p, stamp.Add(time.Nanosecond)) }, 0,
		func(n node) node { return n.changed(stamp.Add(time.Nanosecond)) }},
	{"utimensat-omit-mtime", "utimensat(2) with UTIME_OMIT for it keeps the time of change", "d/a",
		func(p string) error { return utimes(p, unix.Timespec{Sec: 5}, unix.Timespec{Nsec: unix.UTIME_OMIT}) },
		0, same},
	{"truncate-to-nothing", "truncate(2) to 0 leaves an empty file", "d/a",
		func(p string) error { return unix.Truncate(p, 0) }, 0, written("")},
	{"truncate-shorter", "truncate(2) keeps the bytes before the new end", "d/a",
		func(p string) error { return unix.Truncate(p, 3) }, 0, written("low")},
	{"truncate-longer", "truncate(2) beyond the end adds zeros", "d/a",
		func(p string) error { return unix.Truncate(p, 8) }, 0, written("lower\x00\x00\x00")},
	{"truncate-to-the-same", "truncate(2) to the size the file has keeps its content", "d/a",
		func(p string) error { return unix.Truncate(p, 5) }, 0, written("lower")},
	{"setxattr", "setxattr(2) copies up and leaves the other attributes alone", "d/a",
		func(p string) error { return unix.Setxattr(p, "trusted.new", []byte("new"), 0) }, 0,
		func(n node) node { return n.xattr("trusted.new", "new") }},
	{"setxattr-replace", "setxattr(2) with XATTR_REPLACE changes what the lower file has", "d/a",
		func(p string) error { return unix.Setxattr(p, "trusted.keep", []byte("new"), unix.XATTR_REPLACE) }, 0,
		func(n node) node { return n.xattr("trusted.keep", "new") }},
	{"append", "write(2) with O_APPEND adds to what was copied up", "d/a",
		withFd(unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, "+more") }), 0,
		written("lower+more")},
	{"overwrite-middle", "pwrite(2) changes the bytes it writes and no others", "d/a",
		withFd(unix.O_WRONLY, func(fd int) error { _, err := unix.Pwrite(fd, []byte("W"), 2); return err }), 0,
		written("loWer")},
	{"shared-mapping", "A store to a shared mapping reaches the file in the upper layer (mmap(2))", "d/a",
		withFd(unix.O_RDWR, storeShared), 0, written("Lower")},
	{"fallocate", "fallocate(2) beyond the end adds zeros to what was copied up", "d/a",
		withFd(unix.O_RDWR, func(fd int) error { return unix.Fallocate(fd, 0, 5, 3) }), 0,
		written("lower\x00\x00\x00")},
}

// harmlessCalls change nothing, so that nothing is copied up.
var harmlessCalls = []call{
	{"stat", "stat(2) copies nothing up", "d/a",
		func(p string) error { var st unix.Stat_t; return unix.Stat(p, &st) }, 0, nil},
	{"access-for-writing", "access(2) tells of writing without copying up", "d/a",
		func(p string) error { return unix.Access(p, unix.W_OK) }, 0, nil},
	{"readlink", "readlink(2) copies nothing up", "d/l",
		func(p string) error { _, err := unix.Readlink(p, make([]byte, 9)); return err }, 0, nil},
	{"listxattr", "listxattr(2) copies nothing up", "d/a",
		func(p string) error { _, err := listXattrs(p); return err }, 0, nil},
	{"getxattr", "getxattr(2) copies nothing up", "d/a",
		func(p string) error { _, err := getXattr(p, "trusted.keep"); return err }, 0, nil},
	{"statfs", "statfs(2) copies nothing up", "d/a",
		func(p string) error { var st unix.Statfs_t; return unix.Statfs(p, &st) }, 0, nil},
	{"fsync-on-read-only-descriptor", "fsync(2) of a lower file succeeds and copies nothing up", "d/a",
		withFd(unix.O_RDONLY, unix.Fsync), 0, nil},
	{"flock", "flock(2) copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX) }), 0, nil},
	{"private-mapping", "A store to a private mapping copies nothing up (mmap(2))", "d/a",
		withFd(unix.O_RDONLY, storePrivate), 0, nil},
	{"inotify-add-watch", "inotify_add_watch(2) copies nothing up", "d/a", watch, 0, nil},
	{"utimensat-omit-both", "utimensat(2) with UTIME_OMIT twice copies nothing up", "d/a",
		func(p string) error {
			return utimes(p, unix.Timespec{Nsec: unix.UTIME_OMIT}, unix.Timespec{Nsec: unix.UTIME_OMIT})
		}, 0, nil},
}

// refusedCalls are refused before anything is copied up.
var refusedCalls = []call{
	{"chmod-by-another", "chmod(2) by another user is refused and copies nothing up", "d/a",
		unprivileged(func(p string) error { return unix.Chmod(p, 0o666) }), unix.EPERM, nil},
	{"chown-by-another", "chown(2) by another user is refused and copies nothing up", "d/a",
		unprivileged(func(p string) error { return unix.Chown(p, nobody, nobody) }), unix.EPERM, nil},
	{"truncate-by-another", "truncate(2) without write permission is refused and copies nothing up", "d/a",
		unprivileged(func(p string) error { return unix.Truncate(p, 0) }), unix.EACCES, nil},
	{"open-for-writing-by-another", "open(2) without write permission is refused and copies nothing up", "d/a",
		unprivileged(opened(unix.O_WRONLY)), unix.EACCES, nil},
	{"open-truncating-by-another", "open(2) with O_TRUNC and without write permission copies nothing up", "d/a",
		unprivileged(opened(unix.O_RDONLY | unix.O_TRUNC)), unix.EACCES, nil},
	{"truncate-negative", "truncate(2) to less than nothing is refused and copies nothing up", "d/a",
		func(p string) error { return unix.Truncate(p, -1) }, unix.EINVAL, nil},
	{"removexattr-absent", "removexattr(2) of what is not there is refused and copies nothing up", "d/a",
		func(p string) error { return unix.Removexattr(p, "trusted.absent") }, unix.ENODATA, nil},
	{"open-nofollow-symlink", "open(2) with O_NOFOLLOW of a symbolic link is refused", "d/l",
		opened(unix.O_WRONLY | unix.O_NOFOLLOW), unix.ELOOP, nil},
	{"open-creat-excl-symlink", "open(2) with O_CREAT|O_EXCL does not follow a symbolic link", "d/l",
		opened(unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL), unix.EEXIST, nil},
	{"link-over-existing", "link(2) to a name that is there is refused", "d/a",
		func(p string) error { return unix.Link(p, p) }, unix.EEXIST, nil},
}

// callCases makes a case of each call.
func callCases() (cases []suites.Case) {
	for _, group := range [][]call{changingCalls, dataCalls, directoryCalls, harmlessCalls, moreHarmlessCalls, refusedCalls, moreRefusedCalls} {
		for _, c := range group {
			cases = append(cases, suites.Case{
				Name: "call-" + c.name,
				Doc:  c.doc + " (the call's manual page; overlayfs.rst, non-directories).",
				Run:  c.run,
			})
		}
	}
	return cases
}

func (c call) run(t *suites.T) {
	o := newOverlay(t, lower(subjectParent))
	err := c.do(o.at(c.on))
	if c.want == 0 {
		o.do(c.name, err)
	} else {
		o.refused(c.name, err, c.want)
	}
	if c.change == nil {
		o.shows(subjectParent)
		o.upperHolds()
		return
	}
	shown, copied := subjectParent, subjectParent
	switch c.on {
	case "d/a":
		shown.children = []node{c.change(subject), subjectLink}
		copied.children = []node{c.change(subject)}
	case "d/l":
		shown.children = []node{subject, c.change(subjectLink)}
		copied.children = []node{c.change(subjectLink)}
	case "d":
		shown, copied = c.change(subjectParent.old()), c.change(subjectParent.old())
		copied.children = nil
		o.shows(shown)
		o.upperHolds(copied)
		return
	}
	// The parent was made in the upper layer to hold it, and keeps its own time.
	o.shows(shown.old())
	o.upperHolds(copied.old())
}

// withFd opens a path for f.
func withFd(flags int, f func(fd int) error) func(string) error {
	return func(path string) error {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open: %w", err)
		}
		return errors.Join(f(fd), unix.Close(fd))
	}
}

// opened opens a path and closes it.
func opened(flags int) func(string) error {
	return withFd(flags, func(int) error { return nil })
}

// unprivileged has f called as another user than the owner.
func unprivileged(f func(string) error) func(string) error {
	return func(path string) error {
		return as(nobody, nobody, func() error { return f(path) })
	}
}

func utimes(path string, atime, mtime unix.Timespec) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{atime, mtime}, 0)
}

func writeAll(fd int, text string) error {
	n, err := unix.Write(fd, []byte(text))
	if err == nil && n != len(text) {
		err = fmt.Errorf("wrote %d bytes of %d", n, len(text))
	}
	return err
}

// storeShared puts an L at the start of the file.
func storeShared(fd int) error {
	m, err := unix.Mmap(fd, 0, 5, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	m[0] = 'L'
	return errors.Join(unix.Msync(m, unix.MS_SYNC), unix.Munmap(m))
}

// storePrivate puts an L in place of the start of the file, for itself only.
func storePrivate(fd int) error {
	m, err := unix.Mmap(fd, 0, 5, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("map: %w", err)
	}
	m[0] = 'L'
	return unix.Munmap(m)
}

func watch(path string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return fmt.Errorf("make an inotify instance: %w", err)
	}
	_, err = unix.InotifyAddWatch(fd, path, unix.IN_ALL_EVENTS)
	return errors.Join(err, unix.Close(fd))
}
