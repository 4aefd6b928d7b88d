package overlayfs

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// indexCases are about the index: the directory of hard links in the work
// directory (overlayfs.rst, index).
var indexCases = []suites.Case{
	{
		Name: "index-of-many-names",
		Doc:  "With index=on, a lower file of many names is one file under all of them, whichever is changed (overlayfs.rst, index).",
		Run: func(t *suites.T) {
			for _, n := range []int{2, 3, 20} {
				o := lowerNames(t, n, option("index=on"))
				o.write(fmt.Sprint("f", n/2), "changed")
				var want []node
				for i := range n {
					o.linkCount(fmt.Sprint("f", i), uint64(n))
					o.is("the copy-up", fmt.Sprint("f", i), o.identity("f0"))
					want = append(want, file(fmt.Sprint("f", i), "changed"))
				}
				o.shows(want...)
			}
		},
	},
	{
		Name: "index-count-at-each-unlink",
		Doc:  "With index=on, each name removed takes one off the link count, and an open descriptor sees it reach 0 (overlayfs.rst, index).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 3, option("index=on"))
			o.write("f0", "changed")
			fd := o.open("f0", unix.O_RDONLY)
			for i := range 3 {
				o.unlink(fmt.Sprint("f", i))
				var st unix.Stat_t
				o.do("fstat", unix.Fstat(fd, &st))
				if st.Nlink != uint64(2-i) {
					t.Errorf("with %d names left the descriptor has a link count of %d", 2-i, st.Nlink)
				}
			}
			unix.Close(fd)
			o.shows()
		},
	},
	{
		Name: "index-entries",
		Doc:  "The index has an entry for a copied up file of several names, and none when the last of them is gone (overlayfs.rst, index).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("index=on"))
			if n := o.indexed(); n != 0 {
				t.Errorf("the index has %d entries before a copy-up, want 0", n)
			}
			o.chmod("f0", 0o600)
			if n := o.indexed(); n != 1 {
				t.Errorf("the index has %d entries after a copy-up, want 1", n)
			}
			o.unlink("f1")
			o.unlink("f0")
			if n := o.indexed(); n != 0 {
				t.Errorf("the index has %d entries when no name is left, want 0", n)
			}
			o.shows()
		},
	},
	{
		Name: "index-orphan-is-cleaned",
		Doc:  "An index entry whose names were removed from the upper layer is gone after the next mount, and the lower file shows again (overlayfs.rst, index).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("index=on"))
			o.write("f0", "changed")
			o.write("f1", "changed")
			o.unmount()
			for _, name := range []string{"f0", "f1"} {
				o.do("remove from the upper layer", os.Remove(o.inUpper(name)))
			}
			o.do("mount", o.mount())
			if n := o.indexed(); n != 0 {
				t.Errorf("the index has %d entries, want 0", n)
			}
			o.shows(file("f0", "lower"), file("f1", "lower"))
		},
	},
	{
		Name: "index-rename-over-link",
		Doc:  "With index=on, a file renamed over one of two names leaves the other alone (overlayfs.rst, index).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("index=on"))
			o.write("new", "new")
			o.rename("new", "f0")
			o.linkCount("f1", 1)
			o.shows(file("f0", "new"), file("f1", "lower"))
			o.write("f1", "changed")
			o.shows(file("f0", "new"), file("f1", "changed"))
		},
	},
	{
		Name: "index-rename-onto-own-link",
		Doc:  "With index=on, renaming one of a lower file's names to another does nothing (rename(2)).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("index=on"))
			o.rename("f0", "f1")
			o.linkCount("f0", 2)
			o.shows(file("f0", "lower"), file("f1", "lower"))
		},
	},
	{
		Name: "index-rename-keeps-link",
		Doc:  "With index=on, a renamed name of a lower file stays a name of it (overlayfs.rst, index).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("index=on"))
			o.mkdir("d")
			o.rename("f0", "d/g")
			o.areOne("d/g", "f1", 2)
			o.write("f1", "changed")
			o.areOne("d/g", "f1", 2)
			o.shows(dir("d", file("g", "changed")), file("f1", "changed"))
		},
	},
	{
		Name: "index-link-added-below",
		Doc:  "A name added to a lower file between two mounts is looked up without error (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("index=on"))
			o.write("f0", "changed")
			o.unmount()
			o.do("link in the lower layer", unix.Link(o.inLower("f0"), o.inLower("f2")))
			o.meddled = true
			o.remember()
			o.do("mount", o.mount())
			o.write("f2", "again")
			o.shows(file("f0", "again"), file("f1", "again"), file("f2", "again"))
		},
	},
	{
		Name: "index-link-removed-above",
		Doc:  "A link count never goes below the names that are left, when names were added to the upper file behind the overlay's back (fs/overlayfs/inode.c, ovl_get_nlink).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("index=on"))
			o.chmod("f0", 0o600)
			o.do("link in the upper layer", unix.Link(o.inUpper("f0"), o.inUpper("x")))
			o.unlink("f0")
			o.unlink("f1")
			o.do("stat x", unix.Access(o.at("x"), unix.F_OK))
			o.unlink("x")
			o.shows()
		},
	},
	{
		Name: "index-off-numbers-differ",
		Doc:  "Without index, a lower file's names are different files once one is copied up, and never one number for two contents (overlayfs.rst, non-standard behavior).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("index=off"))
			o.write("f0", "changed")
			o.everyView(func(v view) {
				if a, b := o.identity("f0"), o.identity("f1"); a == b {
					t.Errorf("%s: f0 and f1 are both inode %d of %#x", v, a.ino, a.dev)
				}
			})
			o.shows(file("f0", "changed"), file("f1", "lower"))
		},
	},
	{
		Name: "link-by-proc-fd",
		Doc:  "A descriptor's name in /proc is linked by following it, and the file copied up (linkat(2), AT_SYMLINK_FOLLOW).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_PATH)
			err := unix.Linkat(unix.AT_FDCWD, procFd(fd), unix.AT_FDCWD, o.at("b"), unix.AT_SYMLINK_FOLLOW)
			unix.Close(fd)
			o.do("link", err)
			o.areOne("a", "b", 2)
			o.shows(file("a", "lower"), file("b", "lower"))
		},
	},
	{
		Name: "link-by-empty-path",
		Doc:  "A descriptor itself is linked, and the file copied up (linkat(2), AT_EMPTY_PATH).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), dir("d")))
			fd := o.open("a", unix.O_RDONLY)
			err := unix.Linkat(fd, "", unix.AT_FDCWD, o.at("d/b"), unix.AT_EMPTY_PATH)
			unix.Close(fd)
			o.do("link", err)
			o.areOne("a", "d/b", 2)
			o.shows(file("a", "lower"), dir("d", file("b", "lower")))
		},
	},
	{
		Name: "link-symlink-followed",
		Doc:  "A hard link by way of a symbolic link is to its target where that is asked for (linkat(2), AT_SYMLINK_FOLLOW).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), symlink("l", "a")))
			o.do("link", unix.Linkat(unix.AT_FDCWD, o.at("l"), unix.AT_FDCWD, o.at("b"), unix.AT_SYMLINK_FOLLOW))
			o.areOne("a", "b", 2)
			o.upperHolds(file("a", "lower"), file("b", "lower"))
		},
	},
	{
		Name: "link-special",
		Doc:  "A FIFO, a socket and a device of the lower layer are linked like files (link(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(fifo("p"), socket("s"), device("c", unix.S_IFCHR, 1, 3)))
			for _, name := range []string{"p", "s", "c"} {
				o.link(name, name+"2")
				o.areOne(name, name+"2", 2)
			}
			o.shows(fifo("p"), fifo("p2"), socket("s"), socket("s2"), device("c", unix.S_IFCHR, 1, 3), device("c2", unix.S_IFCHR, 1, 3))
		},
	},
	{
		Name: "link-to-another-mount",
		Doc:  "A hard link leads out of the overlay to no layer of it: EXDEV (link(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("link", unix.Link(o.at("a"), o.inUpper("b")), unix.EXDEV)
			o.shows(file("a", "lower"))
			o.upperHolds()
		},
	},
}

// lowerNames is an overlay with a lower file of n names, f0 and so on.
func lowerNames(t *suites.T, n int, parts ...part) *overlay {
	t.Helper()
	o := layers(t, append(parts, lower(file("f0", "lower")))...)
	for i := 1; i < n; i++ {
		o.do("link in the lower layer", unix.Link(o.inLower("f0"), o.inLower(fmt.Sprint("f", i))))
	}
	o.remember()
	o.do("mount the overlay", o.mount())
	return o
}

// indexed is the number of files in the index.
func (o *overlay) indexed() (n int) {
	o.t.Helper()
	entries, err := os.ReadDir(filepath.Join(o.work, "index"))
	o.do("read the index", err)
	for _, e := range entries {
		if !temporary.MatchString(e.Name()) {
			n++
		}
	}
	return n
}
