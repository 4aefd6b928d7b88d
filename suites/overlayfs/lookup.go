package overlayfs

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// lookupCases read what is in several layers, and go by paths through them.
var lookupCases = []suites.Case{
	{
		Name: "upper-file-hides-lower",
		Doc:  "Of two files of one name the upper is seen, with its own attributes (overlayfs.rst, upper and lower).",
		Run: func(t *suites.T) {
			mine := file("a", "upper").perm(0o600).owned(3, 4).xattr("trusted.of", "upper").old()
			o := newOverlay(t, lower(file("a", "lower").perm(0o777).owned(1, 2).xattr("trusted.of", "lower")), upper(mine))
			o.shows(mine)
		},
	},
	{
		Name: "directories-merge",
		Doc:  "A directory of both layers shows the names of both, and the attributes of the upper (overlayfs.rst, directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t,
				lower(dir("d", file("a", "lower"), file("both", "lower"), dir("s", file("x", "lower"))).perm(0o700).owned(1, 2)),
				upper(dir("d", file("b", "upper"), file("both", "upper"), dir("s", file("y", "upper"))).perm(0o770).owned(3, 4)))
			o.shows(dir("d", file("a", "lower"), file("b", "upper"), file("both", "upper"),
				dir("s", file("x", "lower"), file("y", "upper"))).perm(0o770).owned(3, 4).old())
		},
	},
	{
		Name: "upper-file-hides-directory",
		Doc:  "A file hides a directory of its name below (overlayfs.rst, upper and lower).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("x", file("a", ""))), upper(file("x", "upper")))
			o.shows(file("x", "upper"))
			o.refused("look up x/a", unix.Access(o.at("x/a"), unix.F_OK), unix.ENOTDIR)
		},
	},
	{
		Name: "upper-directory-hides-file",
		Doc:  "A directory hides a file of its name below (overlayfs.rst, upper and lower).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("x", "lower")), upper(dir("x", file("a", ""))))
			o.shows(dir("x", file("a", "")))
		},
	},
	{
		Name: "upper-symlink-hides-directory",
		Doc:  "A symbolic link is not merged with a directory of its name below (overlayfs.rst, directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("x", file("a", "")), dir("y", file("b", ""))), upper(symlink("x", "y")))
			o.shows(symlink("x", "y"), dir("y", file("b", "")))
			o.do("look up x/b", unix.Access(o.at("x/b"), unix.F_OK))
		},
	},
	{
		Name: "file-between-directories-ends-merge",
		Doc:  "A file in a middle layer keeps the directory above it from merging with the one below (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("x", file("a", "top"))), lower(file("x", "middle")), lower(dir("x", file("b", "bottom"))))
			o.shows(dir("x", file("a", "top")))
		},
	},
	{
		Name: "missing-name-then-created",
		Doc:  "A name that was looked up in vain is found once it is made (overlayfs.rst, directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))))
			o.refused("look up d/b", unix.Access(o.at("d/b"), unix.F_OK), unix.ENOENT)
			o.write("d/b", "new")
			o.shows(dir("d", file("a", ""), file("b", "new")))
		},
	},
	{
		Name: "deep-path",
		Doc:  "Changing a file copies every directory above it up with its attributes (overlayfs.rst, non-directories).",
		Run:  deepPath,
	},
	{
		Name: "odd-names",
		Doc:  "Names other union file systems give a meaning are plain names (overlayfs.rst, whiteouts and opaque directories).",
		Run:  oddNames,
	},
	{
		Name: "longest-name",
		Doc:  "A name of 255 bytes is found, changed and removed; a longer one is refused (path_resolution(7)).",
		Run:  longestName,
	},
	{
		Name: "symlink-stays-in-overlay",
		Doc:  "A symbolic link of the lower layer leads to what the overlay shows, not to what is below (symlink(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(symlink("l", "d/a"), dir("d", file("a", "lower"))), upper(dir("d", file("a", "upper"))))
			o.everyView(func(v view) {
				if got, err := os.ReadFile(o.at("l")); err != nil || string(got) != "upper" {
					t.Errorf("%s: l leads to %q (%v), want upper", v, got, err)
				}
			})
		},
	},
	{
		Name: "write-through-symlink",
		Doc:  "Writing through a symbolic link copies its target up and leaves the link where it is (overlayfs.rst, non-directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(symlink("l", "d/a"), dir("d", file("a", "lower"))))
			o.write("l", "changed")
			o.shows(symlink("l", "d/a").old(), dir("d", file("a", "changed")).old())
			o.upperHolds(dir("d", file("a", "changed")))
		},
	},
	{
		Name: "create-through-dangling-symlink",
		Doc:  "O_CREAT follows a symbolic link to a name that is not there (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(symlink("l", "d/new"), dir("d")))
			o.write("l", "made")
			o.shows(symlink("l", "d/new").old(), dir("d", file("new", "made")))
			o.upperHolds(dir("d", file("new", "made")))
		},
	},
	{
		Name: "special-files-shown",
		Doc:  "Files of every type show through from the lower layer with their type and device numbers (overlayfs.rst, non-directories).",
		Run: func(t *suites.T) {
			all := []node{fifo("p").old(), socket("s").old(), symlink("l", "nowhere").old(),
				device("c", unix.S_IFCHR, 1, 3).old(), device("b", unix.S_IFBLK, 7, 200).old(), file("f", "text").old(), dir("d").old()}
			o := newOverlay(t, lower(all...))
			o.shows(all...)
			o.upperHolds()
		},
	},
	{
		Name: "special-file-opened-for-writing",
		Doc:  "Opening a device or a FIFO for writing copies nothing up (overlayfs.rst, non-directories).",
		Run: func(t *suites.T) {
			null := device("null", unix.S_IFCHR, 1, 3)
			o := newOverlay(t, lower(fifo("p"), null))
			for _, name := range []string{"p", "null"} {
				unix.Close(o.open(name, unix.O_RDWR))
			}
			o.shows(fifo("p"), null)
			o.upperHolds()
		},
	},
	{
		Name: "mount-below-lower-is-not-seen",
		Doc:  "What is mounted inside a lower layer is no part of the layer (fs/overlayfs/super.c, clone_private_mount).",
		Run:  mountBelowLower,
	},
	{
		Name: "trailing-slash",
		Doc:  "A trailing slash is for directories alone (path_resolution(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", ""), dir("d")))
			o.do("lookup d/", unix.Access(o.at("d/"), unix.F_OK))
			o.refused("lookup a/", unix.Access(o.at("a/"), unix.F_OK), unix.ENOTDIR)
			o.refused("lookup none/", unix.Access(o.at("none/"), unix.F_OK), unix.ENOENT)
			o.refused("unlink a/", unix.Unlink(o.at("a/")), unix.ENOTDIR)
			o.do("rmdir d/", unix.Rmdir(o.at("d/")))
			o.shows(file("a", ""))
		},
	},
	{
		Name: "open-directory-for-writing",
		Doc:  "A directory cannot be opened for writing, and trying copies nothing up (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))))
			for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_DIRECTORY, unix.O_RDONLY | unix.O_TRUNC} {
				_, err := unix.Open(o.at("d"), flags|unix.O_CLOEXEC, 0)
				o.refused(fmt.Sprintf("open with %#o", flags), err, unix.EISDIR)
			}
			o.upperHolds()
		},
	},
}

// depth is that of a tree deeper than any that grows by hand.
const depth = 40

func deepPath(t *suites.T) {
	text := func(text string) node {
		n := file("leaf", text)
		for i := range depth {
			n = dir(fmt.Sprintf("d%d", i), n).perm(0o700+uint32(i%8)).owned(i, i+1).old()
		}
		return n
	}
	o := newOverlay(t, lower(text("lower")))
	path := "leaf"
	for i := range depth {
		path = fmt.Sprintf("d%d/%s", i, path)
	}
	o.write(path, "changed")
	o.shows(text("changed"))
	o.upperHolds(text("changed"))
}

func oddNames(t *suites.T) {
	names := []string{".wh.a", "#1", "work", "index", "new\nline", "ünï", " ", "a:b", "a,b", `a\b`, ".hidden", "..."}
	var before, after []node
	for _, name := range names {
		before = append(before, file(name, "lower"))
		after = append(after, file(name, "changed"), file(name+"+", "new"))
	}
	o := newOverlay(t, lower(append(before, file("a", ""))...))
	for _, name := range names {
		o.write(name, "changed")
		o.write(name+"+", "new")
	}
	o.shows(append(after, file("a", ""))...)
}

func longestName(t *suites.T) {
	kept, gone := strings.Repeat("k", unix.NAME_MAX), strings.Repeat("g", unix.NAME_MAX)
	o := newOverlay(t, lower(file(kept, "lower"), file(gone, "lower")))
	o.write(kept, "changed")
	o.unlink(gone)
	o.refused("make a name too long", unix.Mkdir(o.at(kept+"k"), 0o755), unix.ENAMETOOLONG)
	o.shows(file(kept, "changed"))
}

func mountBelowLower(t *suites.T) {
	o := layers(t, lower(dir("d", file("a", "lower"))))
	o.do("mount on the lower layer", unix.Mount("over", o.inLower("d"), "tmpfs", 0, ""))
	err := o.mount()
	o.do("unmount from the lower layer", unix.Unmount(o.inLower("d"), 0))
	o.do("mount the overlay", err)
	o.shows(dir("d", file("a", "lower")))
}
