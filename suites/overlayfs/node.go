package overlayfs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// opaque is the extended attribute, of value "y", that makes a directory hide
// the ones of its name below (overlayfs.rst, whiteouts and opaque directories).
const opaque = "trusted.overlay.opaque"

// stamp is the time of last change of everything a layer starts with: odd
// nanoseconds in the past, so that a time that was not kept shows.
var stamp = time.Unix(1_000_000_007, 123_456_789)

// A node is a file of any type with what lies under it: what a layer starts
// with, or what a case wants to find.
type node struct {
	name     string
	mode     uint32 // type and permissions, as in stat(2)
	uid, gid int
	text     string // of a regular file, or the target of a symbolic link
	rdev     uint64
	mtime    time.Time // zero if an expectation leaves it open
	xattrs   map[string]string
	children []node
}

func file(name, text string) node { return node{name: name, mode: unix.S_IFREG | 0o644, text: text} }
func symlink(name, to string) node {
	return node{name: name, mode: unix.S_IFLNK | 0o777, text: to}
}
func fifo(name string) node   { return node{name: name, mode: unix.S_IFIFO | 0o644} }
func socket(name string) node { return node{name: name, mode: unix.S_IFSOCK | 0o644} }

func dir(name string, children ...node) node {
	return node{name: name, mode: unix.S_IFDIR | 0o755, children: children}
}

func device(name string, kind uint32, major, minor uint32) node {
	return node{name: name, mode: kind | 0o644, rdev: unix.Mkdev(major, minor)}
}

// whiteout is the character device 0:0 that says a name is gone (overlayfs.rst,
// whiteouts and opaque directories). The kernel makes it with no permissions.
func whiteout(name string) node { return node{name: name, mode: unix.S_IFCHR} }

// perm returns n with other permission bits.
func (n node) perm(bits uint32) node {
	n.mode = n.mode&unix.S_IFMT | bits
	return n
}

// owned returns n with another owner.
func (n node) owned(uid, gid int) node {
	n.uid, n.gid = uid, gid
	return n
}

// changed returns n with another time of last change.
func (n node) changed(at time.Time) node {
	n.mtime = at
	return n
}

// old returns n with the time of last change that layers start with.
func (n node) old() node { return n.changed(stamp) }

// xattr returns n with one more extended attribute.
func (n node) xattr(name, value string) node {
	n.xattrs = maps.Clone(n.xattrs)
	if n.xattrs == nil {
		n.xattrs = make(map[string]string)
	}
	n.xattrs[name] = value
	return n
}

// opaque returns the directory n marked opaque.
func (n node) opaque() node { return n.xattr(opaque, "y") }

// make creates n and what lies under it in dir. Times are set last: making a
// child changes those of its parent.
func (n node) make(dir string) error {
	path := filepath.Join(dir, n.name)
	if err := n.makeBare(path); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	return n.fill(path)
}

// fill gives the bare object at path everything else n has.
func (n node) fill(path string) error {
	for _, c := range n.children {
		if err := c.make(path); err != nil {
			return err
		}
	}
	if err := os.Lchown(path, n.uid, n.gid); err != nil {
		return err
	}
	if n.mode&unix.S_IFMT != unix.S_IFLNK {
		// After chown, which clears set-user-ID.
		if err := unix.Chmod(path, n.mode&0o7777); err != nil {
			return fmt.Errorf("chmod %s: %w", path, err)
		}
	}
	for name, value := range n.xattrs {
		if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
			return fmt.Errorf("set %s of %s: %w", name, path, err)
		}
	}
	mtime := n.mtime
	if mtime.IsZero() {
		mtime = stamp
	}
	return setTimes(path, mtime)
}

func (n node) makeBare(path string) error {
	switch n.mode & unix.S_IFMT {
	case unix.S_IFREG:
		return os.WriteFile(path, []byte(n.text), 0o600)
	case unix.S_IFDIR:
		return os.Mkdir(path, 0o700)
	case unix.S_IFLNK:
		return os.Symlink(n.text, path)
	}
	return unix.Mknod(path, n.mode, int(n.rdev))
}

// setTimes sets when path itself, not its target, was last read and changed.
func setTimes(path string, at time.Time) error {
	ts := unix.NsecToTimespec(at.UnixNano())
	err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	if err != nil {
		return fmt.Errorf("set the times of %s: %w", path, err)
	}
	return nil
}
