package overlayfs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// lowerElsewhere is a lower layer on a file system of its own.
func lowerElsewhere(nodes ...node) part {
	return func(o *overlay) {
		o.t.Helper()
		disk := o.layer(fmt.Sprintf("disk%d", len(o.lowers)+1), nil)
		o.do("mount a file system for a layer", unix.Mount("disk", disk, "tmpfs", 0, ""))
		o.t.Cleanup(func() { o.do("unmount a layer's file system", unix.Unmount(disk, 0)) })
		o.do("make a layer", dir("lower", nodes...).make(disk))
		o.lowers = append(o.lowers, disk+"/lower")
	}
}

// An identity is what tells files apart: no two have the same while both are
// there (POSIX, sys/stat.h).
type identity struct{ dev, ino uint64 }

func (o *overlay) identity(name string) identity {
	o.t.Helper()
	st := o.stat(name)
	return identity{st.Dev, st.Ino}
}

// A stack is a way the layers lie on file systems.
type stack struct {
	name    string
	lower   func(nodes ...node) part
	options []string
	oneDev  bool // every object has the overlay's own device number
}

// stacks are those overlayfs.rst, inode properties, tells apart.
var stacks = []stack{
	{"one-file-system", lower, nil, true},
	{"two-file-systems", lowerElsewhere, []string{"xino=off"}, false},
	{"two-file-systems-xino", lowerElsewhere, []string{"xino=on"}, true},
}

// parts are the options of s and nodes as its lower layer.
func (s stack) parts(nodes ...node) (parts []part) {
	for _, text := range s.options {
		parts = append(parts, option(text))
	}
	return append(parts, s.lower(nodes...))
}

// copyTriggers copy a file "a" up, each by another way.
var copyTriggers = []struct {
	name string
	do   func(path string) error
}{
	{"chmod", func(p string) error { return unix.Chmod(p, 0o600) }},
	{"chown", func(p string) error { return unix.Lchown(p, 1, 1) }},
	{"open", opened(unix.O_RDWR)},
	{"open with O_TRUNC", opened(unix.O_RDONLY | unix.O_TRUNC)},
	{"truncate", func(p string) error { return unix.Truncate(p, 1) }},
	{"setxattr", func(p string) error { return unix.Setxattr(p, "trusted.x", nil, 0) }},
	{"utimensat", func(p string) error { return setTimes(p, stamp) }},
	{"link", func(p string) error { return unix.Link(p, p+"-link") }},
}

// identityCases are the promises of inode and device numbers for each stack.
func identityCases() (cases []suites.Case) {
	for _, s := range stacks {
		for _, c := range []struct {
			name, doc string
			run       func(*suites.T, stack)
			oneDev    bool // not promised for several file systems without xino
		}{
			{"kept-on-copy-up", "A file keeps its inode and device number when it is copied up, by whatever call", keptOnCopyUp, false},
			{"kept-of-special", "A symbolic link, FIFO or device keeps its inode and device number when it is copied up", keptOfSpecial, false},
			{"kept-on-rename", "A file keeps its inode and device number when it is renamed", keptOnRename, false},
			{"of-directory-kept", "A directory keeps its inode and device number when it is copied up", keptOfDirectory, true},
			{"unique", "No two files of an overlay have the same inode and device number", unique, false},
			{"of-descriptor", "fstat(2) of a descriptor from before the copy-up says what stat(2) does", ofDescriptor, false},
			{"listed", "The inode number listed is that of stat(2), for every kind of directory", listed, true},
			{"device", "Directories have the overlay's own device number, and no object that of its layer", devices, false},
		} {
			if c.oneDev && !s.oneDev {
				continue
			}
			cases = append(cases, suites.Case{
				Name: "identity-" + c.name + "-" + s.name,
				Doc:  c.doc + " (overlayfs.rst, inode properties).",
				Run: func(t *suites.T) {
					if lacks(t, "index") {
						t.Skip("this kernel's overlayfs does not keep inode numbers (index, 4.13)")
					}
					c.run(t, s)
				},
			})
		}
	}
	return cases
}

// stays wants name to have the identity it had, in every view. The device number
// may be another in the next mount.
func (o *overlay) stays(what, name string, want identity) {
	o.t.Helper()
	o.everyView(func(v view) {
		o.t.Helper()
		if got := o.identity(name); got.ino != want.ino || got.dev != want.dev && v != cold {
			o.t.Errorf("%s: after %s %s is inode %d of %#x, was %d of %#x", v, what, name, got.ino, got.dev, want.ino, want.dev)
		}
	})
}

func keptOnCopyUp(t *suites.T, s stack) {
	var nodes []node
	for i := range copyTriggers {
		nodes = append(nodes, file(fmt.Sprint("f", i), "lower"))
	}
	o := newOverlay(t, s.parts(nodes...)...)
	var before []identity
	for i, trigger := range copyTriggers {
		name := fmt.Sprint("f", i)
		before = append(before, o.identity(name))
		o.do(trigger.name, trigger.do(o.at(name)))
		o.is(trigger.name, name, before[i])
	}
	o.dropCaches()
	for i, id := range before {
		o.is("dropping caches", fmt.Sprint("f", i), id)
	}
}

// is wants name to have an identity now.
func (o *overlay) is(what, name string, want identity) {
	o.t.Helper()
	if got := o.identity(name); got != want {
		o.t.Errorf("after %s %s is inode %d of %#x, was %d of %#x", what, name, got.ino, got.dev, want.ino, want.dev)
	}
}

func keptOfSpecial(t *suites.T, s stack) {
	o := newOverlay(t, s.parts(symlink("a", "x"), fifo("b"), device("c", unix.S_IFCHR, 1, 3), socket("d"))...)
	for _, name := range []string{"a", "b", "c", "d"} {
		before := o.identity(name)
		o.do("lchown", unix.Lchown(o.at(name), 1, 1))
		o.is("lchown", name, before)
		o.dropCaches()
		o.is("lchown and dropping caches", name, before)
	}
}

func keptOnRename(t *suites.T, s stack) {
	o := newOverlay(t, s.parts(file("a", "lower"), dir("d"))...)
	before := o.identity("a")
	o.rename("a", "d/b")
	o.stays("rename", "d/b", before)
}

func keptOfDirectory(t *suites.T, s stack) {
	o := newOverlay(t, s.parts(dir("d", file("a", "")))...)
	before := o.identity("d")
	o.write("d/new", "")
	o.is("creating in it", "d", before)
	o.chmod("d", 0o700)
	o.is("chmod", "d", before)
	o.dropCaches()
	o.is("dropping caches", "d", before)
	o.remount()
	if got := o.identity("d"); got.ino != before.ino {
		t.Errorf("after a mount cycle d is inode %d, was %d", got.ino, before.ino)
	}
}

// unique puts as many files in each layer, whose file systems number them alike.
func unique(t *suites.T, s stack) {
	nodes := func(prefix string) (all []node) {
		for i := range 20 {
			all = append(all, file(fmt.Sprint(prefix, i), ""), dir(fmt.Sprint(prefix, "d", i)))
		}
		return all
	}
	o := newOverlay(t, append(s.parts(nodes("a")...), s.lower(nodes("b")...), upper(nodes("u")...))...)
	for i := range 5 {
		o.chmod(fmt.Sprint("a", i), 0o600)
	}
	o.everyView(func(v view) {
		seen := make(map[identity]string)
		tr, err := readTree(o.merged)
		o.do("read the overlay", err)
		for path, f := range tr {
			id := identity{f.Dev, f.Ino}
			if other, twice := seen[id]; twice {
				t.Errorf("%s: %s and %s are both inode %d of %#x", v, path, other, id.ino, id.dev)
			}
			seen[id] = path
		}
	})
}

func ofDescriptor(t *suites.T, s stack) {
	o := newOverlay(t, s.parts(file("a", "lower"))...)
	fd := o.open("a", unix.O_RDONLY)
	defer unix.Close(fd)
	o.write("a", "changed")
	var st unix.Stat_t
	o.do("fstat", unix.Fstat(fd, &st))
	if got, want := (identity{st.Dev, st.Ino}), o.identity("a"); got != want {
		t.Errorf("the descriptor is inode %d of %#x, the name %d of %#x", got.ino, got.dev, want.ino, want.dev)
	}
}

// listed has a merged directory, a lower one and an upper one.
func listed(t *suites.T, s stack) {
	o := newOverlay(t, append(s.parts(dir("m", file("a", ""), file("b", ""), dir("s")), dir("l", file("c", ""))),
		upper(dir("m", file("u", "")), dir("u", file("x", ""))))...)
	o.chmod("m/a", 0o600)
	o.rename("m/b", "u/b")
	o.everyView(func(v view) {
		for _, name := range []string{".", "m", "l", "u", "m/s"} {
			o.listsInodes(v, name)
		}
	})
}

func devices(t *suites.T, s stack) {
	o := newOverlay(t, append(s.parts(dir("d"), file("a", ""), file("copied", "")), upper(file("u", "")))...)
	o.chmod("copied", 0o600)
	var layer unix.Stat_t
	o.do("stat in the lower layer", unix.Lstat(o.inLower("a"), &layer))
	o.everyView(func(v view) {
		own := o.stat(".").Dev
		for _, name := range []string{"d", "a", "copied", "u"} {
			dev := o.stat(name).Dev
			if dev != own && (s.oneDev || name == "d") {
				t.Errorf("%s: %s has device %#x, the overlay has %#x", v, name, dev, own)
			}
			if dev == layer.Dev {
				t.Errorf("%s: %s has the device number of its layer, %#x", v, name, dev)
			}
		}
	})
}
