package overlayfs

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// linkCases make hard links and count them.
var linkCases = []suites.Case{
	{
		Name: "link-lower-file",
		Doc:  "A hard link to a lower file copies it up, and both names are one file (link(2); overlayfs.rst, non-directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), dir("d")))
			o.link("a", "d/b")
			o.areOne("a", "d/b", 2)
			o.shows(file("a", "lower").old(), dir("d", file("b", "lower").old()))
			o.upperHolds(file("a", "lower").old(), dir("d", file("b", "lower").old()))
			o.write("a", "changed")
			o.areOne("a", "d/b", 2)
			o.shows(file("a", "changed"), dir("d", file("b", "changed")))
		},
	},
	{
		Name: "link-upper-file",
		Doc:  "A hard link to a file of the upper layer is one more name of it (link(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d")), upper(file("a", "upper")))
			o.link("a", "d/b")
			o.areOne("a", "d/b", 2)
			o.unlink("a")
			o.shows(dir("d", file("b", "upper")))
		},
	},
	{
		Name: "link-lower-symlink",
		Doc:  "A hard link to a symbolic link is to the link itself (link(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(symlink("l", "a"), file("a", "")))
			o.link("l", "m")
			o.areOne("l", "m", 2)
			o.shows(symlink("l", "a"), symlink("m", "a"), file("a", ""))
			o.upperHolds(symlink("l", "a"), symlink("m", "a"))
		},
	},
	{
		Name: "link-directory-is-eperm",
		Doc:  "A directory has no hard links: EPERM, and nothing is copied up (link(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d")))
			o.refused("link", unix.Link(o.at("d"), o.at("e")), unix.EPERM)
			o.shows(dir("d"))
			o.upperHolds()
		},
	},
	{
		Name: "link-over-existing-is-eexist",
		Doc:  "A hard link does not replace a lower file: EEXIST (link(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "other")))
			o.refused("link", unix.Link(o.at("a"), o.at("b")), unix.EEXIST)
			o.shows(file("a", "lower"), file("b", "other"))
		},
	},
	{
		Name: "link-over-removed",
		Doc:  "A hard link takes the place of a whiteout (link(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "other")))
			o.unlink("b")
			o.link("a", "b")
			o.areOne("a", "b", 2)
			o.shows(file("a", "lower"), file("b", "lower"))
			o.upperHolds(file("a", "lower"), file("b", "lower"))
		},
	},
	{
		Name: "link-broken-without-index",
		Doc:  "Without index, changing one of two hard links of the lower layer leaves the other as it was (overlayfs.rst, non-standard behavior).",
		Run: func(t *suites.T) {
			o := lowerLinks(t, option("index=off"))
			o.write("a", "changed")
			o.shows(file("a", "changed"), dir("d", file("b", "lower")))
		},
	},
	{
		Name: "link-kept-with-index",
		Doc:  "With index=on, hard links of the lower layer stay one file when it is changed (overlayfs.rst, sharing and copying layers, and non-standard behavior).",
		Run: func(t *suites.T) {
			o := lowerLinks(t, option("index=on"))
			o.write("a", "changed")
			o.areOne("a", "d/b", 2)
			o.shows(file("a", "changed"), dir("d", file("b", "changed")))
			o.areOne("a", "d/b", 2)
			o.write("d/b", "again")
			o.shows(file("a", "again"), dir("d", file("b", "again")))
		},
	},
	{
		Name: "link-count-with-index",
		Doc:  "With index=on, a file's link count is that of the names it has left (overlayfs.rst, sharing and copying layers, and non-standard behavior).",
		Run: func(t *suites.T) {
			o := lowerLinks(t, option("index=on"))
			o.areOne("a", "d/b", 2)
			o.chmod("a", 0o600)
			o.link("a", "c")
			o.areOne("a", "c", 3)
			o.unlink("d/b")
			o.areOne("a", "c", 2)
			o.unlink("a")
			o.linkCount("c", 1)
			o.shows(file("c", "lower").perm(0o600), dir("d"))
			o.linkCount("c", 1)
		},
	},
	{
		Name: "link-other-name-with-index",
		Doc:  "With index=on, what was written under one name is read under the other when the first is gone (overlayfs.rst, sharing and copying layers, and non-standard behavior).",
		Run: func(t *suites.T) {
			o := lowerLinks(t, option("index=on"))
			o.write("a", "changed")
			o.unlink("a")
			o.shows(dir("d", file("b", "changed")))
			o.unlink("d/b")
			o.shows(dir("d"))
		},
	},
	{
		Name: "nlink-of-files",
		Doc:  "A file of one name has a link count of 1 in whatever layer it is (stat(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("low", ""), file("copied", "")), upper(file("up", "")))
			o.chmod("copied", 0o600)
			o.everyView(func(view) {
				for _, name := range []string{"low", "copied", "up"} {
					o.linkCount(name, 1)
				}
			})
		},
	},
	{
		Name: "nlink-of-merged-directory",
		Doc:  "A merged directory has a link count of 1, which says that its directories are not counted (fs/overlayfs/inode.c, ovl_getattr).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", dir("x"))), upper(dir("d", dir("y"))))
			o.everyView(func(view) { o.linkCount("d", 1) })
		},
	},
	{
		Name: "nlink-after-unlink",
		Doc:  "An open file of the upper layer without a name has a link count of 0, and can be read (unlink(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("copied", "text")), upper(file("up", "text")))
			o.chmod("copied", 0o600)
			for _, name := range []string{"copied", "up"} {
				o.orphan(name, func() { o.unlink(name) })
			}
			o.shows()
		},
	},
	// Its link count is the one in the lower layer, where it still has its name.
	{
		Name: "unlink-open-lower-file",
		Doc:  "An open file of the lower layer can be read when its name is gone (unlink(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "text")))
			fd := o.open("a", unix.O_RDONLY)
			o.unlink("a")
			if got := readFd(fd); got != "text" {
				t.Errorf("the removed file reads %q, want text", got)
			}
			unix.Close(fd)
			o.shows()
		},
	},
	{
		Name: "nlink-after-rename-over",
		Doc:  "An open file whose name another took has a link count of 0 (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "text"), file("b", "other")))
			o.chmod("a", 0o600)
			o.orphan("a", func() { o.rename("b", "a") })
			o.shows(file("a", "other"))
		},
	},
}

// lowerLinks is an overlay with a file of two names, a and d/b, in the lower
// layer.
func lowerLinks(t *suites.T, parts ...part) *overlay {
	t.Helper()
	o := layers(t, append(parts, lower(file("a", "lower"), dir("d")))...)
	o.do("link in the lower layer", unix.Link(o.inLower("a"), o.inLower("d/b")))
	o.remember()
	o.do("mount the overlay", o.mount())
	return o
}

// areOne wants two names to be one file with n links.
func (o *overlay) areOne(a, b string, n uint64) {
	o.t.Helper()
	sa, sb := o.stat(a), o.stat(b)
	if sa.Ino != sb.Ino || sa.Dev != sb.Dev {
		o.t.Errorf("%s is inode %d of %#x, %s is %d of %#x, want one file", a, sa.Ino, sa.Dev, b, sb.Ino, sb.Dev)
	}
	o.linkCount(a, n)
	o.linkCount(b, n)
}

func (o *overlay) linkCount(name string, want uint64) {
	o.t.Helper()
	if st := o.stat(name); st.Nlink != want {
		o.t.Errorf("%s has a link count of %d, want %d", name, st.Nlink, want)
	}
}

// orphan opens a file that holds "text", takes its name away, and wants it to
// live on without.
func (o *overlay) orphan(name string, remove func()) {
	o.t.Helper()
	fd := o.open(name, unix.O_RDONLY)
	remove()
	var st unix.Stat_t
	o.do("fstat", unix.Fstat(fd, &st))
	if st.Nlink != 0 {
		o.t.Errorf("%s has a link count of %d after its name is gone, want 0", name, st.Nlink)
	}
	if got := readFd(fd); got != "text" {
		o.t.Errorf("%s reads %q after its name is gone, want text", name, got)
	}
	o.do("close", unix.Close(fd))
}
