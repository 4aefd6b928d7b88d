package overlayfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// xwhiteout marks a whiteout that is a plain file, as an overlay itself can hold
// (overlayfs.rst since 6.7, whiteouts and opaque directories).
const xwhiteout = "trusted.overlay.whiteout"

// oddWhiteoutCases have whiteouts and marks where the kernel itself puts none,
// or layers changed behind its back.
var oddWhiteoutCases = []suites.Case{
	{
		Name: "whiteout-in-directory-of-one-layer",
		Doc:  "A whiteout in a directory that is in one layer only hides the name from lookup (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", whiteout("a"), file("b", ""))))
			o.everyView(func(v view) {
				o.refused(string(v)+": look up d/a", unix.Access(o.at("d/a"), unix.F_OK), unix.ENOENT)
				o.do(string(v)+": look up d/b", unix.Access(o.at("d/b"), unix.F_OK))
			})
			o.write("d/a", "new")
			o.shows(dir("d", file("a", "new"), file("b", "")))
		},
	},
	{
		Name: "whiteout-without-lower-name",
		Doc:  "A whiteout that hides nothing is not shown, and gives way to a new file (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d")), upper(dir("d", whiteout("a")), whiteout("b")))
			o.shows(dir("d"))
			o.write("b", "new")
			o.rmdir("d")
			o.shows(file("b", "new"))
		},
	},
	{
		Name: "whiteout-left-in-unmerged-directory",
		Doc:  "A directory with whiteouts in it whose lower one is gone can be removed (fs/overlayfs/dir.c, ovl_check_empty_dir).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=off"), lower(dir("d", file("a", ""))))
			o.unlink("d/a")
			o.unmount()
			o.lowers = []string{o.layer("other", []node{file("x", "")})}
			o.meddled = true
			o.remember()
			o.do("mount with another lower layer", o.mount())
			o.shows(dir("d"), file("x", ""))
			o.rmdir("d")
			o.shows(file("x", ""))
			o.upperHolds()
		},
	},
	{
		Name: "whiteout-vanished",
		Doc:  "A whiteout removed behind the overlay's back does no more harm than an error (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), dir("d")))
			o.unlink("a")
			o.rmdir("d")
			o.do("remove the whiteouts", errors.Join(os.Remove(o.inUpper("a")), os.Remove(o.inUpper("d"))))
			o.survives("mkdir", unix.Mkdir(o.at("d"), 0o755))
			o.survives("create", unix.Mknod(o.at("a"), unix.S_IFREG|0o600, 0))
			o.remount()
			for _, name := range []string{"a", "d"} {
				o.do("look up "+name, unix.Access(o.at(name), unix.F_OK))
			}
		},
	},
	{
		Name: "upper-file-vanished",
		Doc:  "An upper file removed behind the overlay's back does no more harm than an error (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("l", "")), upper(file("a", "upper"), file("b", "upper"), dir("d")))
			for _, name := range []string{"a", "b", "d"} {
				o.stat(name)
				o.do("remove "+name+" in the upper layer", os.Remove(o.inUpper(name)))
			}
			o.survives("unlink", unix.Unlink(o.at("a")))
			o.survives("rename", unix.Rename(o.at("b"), o.at("c")))
			o.survives("rmdir", unix.Rmdir(o.at("d")))
			o.shows(file("l", ""))
		},
	},
	{
		Name: "upper-file-replaced",
		Doc:  "An upper file that became a directory behind the overlay's back does no more harm than an error (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("l", "")), upper(file("a", "upper")))
			o.stat("a")
			o.do("replace a in the upper layer", errors.Join(os.Remove(o.inUpper("a")), os.Mkdir(o.inUpper("a"), 0o755)))
			o.survives("unlink", unix.Unlink(o.at("a")))
			o.survives("open", opened(unix.O_RDWR)(o.at("a")))
			o.remount()
			o.do("look up l", unix.Access(o.at("l"), unix.F_OK))
		},
	},
	{
		Name: "whiteouts-are-one-inode",
		Doc:  "Whiteouts are hard links of one file, where the file system below has room for them (fs/overlayfs/dir.c, ovl_whiteout; since 5.8).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", ""), file("b", ""), file("c", "")))
			var inodes []uint64
			for _, name := range []string{"a", "b", "c"} {
				o.unlink(name)
				var st unix.Stat_t
				o.do("stat the whiteout", unix.Lstat(o.inUpper(name), &st))
				inodes = append(inodes, st.Ino)
			}
			o.shows()
			if (inodes[0] != inodes[1] || inodes[1] != inodes[2]) && volatileKnown(o) {
				t.Errorf("the whiteouts are inodes %d, want one", inodes)
			}
		},
	},
	{
		Name: "xattr-whiteout",
		Doc:  "An empty file with the whiteout attribute, in a directory marked \"x\", hides the name (overlayfs.rst since 6.7, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "").xattr(xwhiteout, "y")).xattr(opaque, "x")),
				lower(dir("d", file("a", "lowest"), file("b", ""))))
			if !escapesXattrs(o) {
				t.Skip("this kernel's overlayfs has no whiteouts that are plain files (6.7)")
			}
			o.shows(dir("d", file("b", "")))
		},
	},
	{
		Name: "xattr-whiteout-with-content",
		Doc:  "A file with content is no whiteout, whatever its attributes (overlayfs.rst since 6.7, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "text").xattr(xwhiteout, "y")).xattr(opaque, "x")),
				lower(dir("d", file("a", "lowest"), file("b", ""))))
			o.shows(dir("d", file("a", "text"), file("b", "")))
		},
	},
	{
		Name: "impure-directory",
		Doc:  "A new directory that gets a copied up file is marked impure, and lists inode numbers that stat(2) gives (overlayfs.rst, inode properties; since 4.14).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "lower")))
			o.mkdir("p")
			o.write("p/own", "")
			o.rename("a", "p/a")
			o.rename("b", "p/b")
			if _, err := getXattr(o.inUpper("p"), "trusted.overlay.impure"); errors.Is(err, unix.ENODATA) && lacks(t, "nfs_export") {
				t.Skip("this kernel's overlayfs marks no impure directories (4.14)")
			} else if err != nil {
				t.Errorf("the directory in the upper layer: %v", err)
			}
			o.everyView(func(v view) { o.listsInodes(v, "p") })
			o.rename("p/b", "b")
			o.everyView(func(v view) { o.listsInodes(v, "p") })
			o.shows(file("b", "lower"), dir("p", file("a", "lower"), file("own", "")))
		},
	},
}

// survives wants success or one of the errors of what was changed underneath.
func (o *overlay) survives(deed string, err error) {
	o.t.Helper()
	if err != nil {
		o.refused(deed, err, unix.ESTALE, unix.ENOENT, unix.ENODATA, unix.EIO, unix.EINVAL, unix.EISDIR, unix.ENOTDIR, unix.EEXIST)
	}
}

// escapesXattrs reports whether the kernel keeps private attributes that are set
// through the overlay apart by another name, as it does since 6.7. It asks by
// the root directory.
func escapesXattrs(o *overlay) bool {
	const probe = private + "kplay"
	if unix.Setxattr(o.merged, probe, []byte("1"), 0) != nil {
		return false
	}
	o.do("remove the probe", unix.Removexattr(o.merged, probe))
	return true
}
