package overlayfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// whiteoutCases remove names, and read layers in which names were removed.
var whiteoutCases = []suites.Case{
	{
		Name: "unlink-lower-leaves-whiteout",
		Doc:  "A lower file that is removed is hidden by a whiteout (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"), file("b", ""))))
			o.unlink("d/a")
			o.shows(dir("d", file("b", "").old()))
			o.upperHolds(dir("d", whiteout("a")))
		},
	},
	{
		Name: "unlink-copied-up-leaves-whiteout",
		Doc:  "Removing a file that was copied up does not bring the lower one back (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.write("a", "changed")
			o.unlink("a")
			o.shows()
			o.upperHolds(whiteout("a"))
		},
	},
	{
		Name: "unlink-upper-leaves-nothing",
		Doc:  "Removing a file that is in the upper layer alone leaves no whiteout (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d")), upper(dir("d", file("a", "upper")), file("b", "")))
			o.unlink("d/a")
			o.unlink("b")
			o.shows(dir("d"))
			o.upperHolds(dir("d"))
		},
	},
	{
		Name: "unlink-name-of-both-layers",
		Doc:  "Removing a name that upper and lower have leaves a whiteout (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")), upper(file("a", "upper")))
			o.unlink("a")
			o.shows()
			o.upperHolds(whiteout("a"))
		},
	},
	{
		Name: "unlink-again-over-whiteout",
		Doc:  "A name removed, made and removed once more stays removed (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			for range 3 {
				o.unlink("a")
				o.write("a", "again")
			}
			o.unlink("a")
			o.shows()
			o.upperHolds(whiteout("a"))
		},
	},
	{
		Name: "rmdir-lower-leaves-whiteout",
		Doc:  "A lower directory that is removed is hidden by a whiteout (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d"), file("a", "")))
			o.rmdir("d")
			o.shows(file("a", ""))
			o.upperHolds(whiteout("d"))
		},
	},
	{
		Name: "rmdir-of-emptied-leaves-one-whiteout",
		Doc:  "A merged directory whose files are all removed can be removed, and one whiteout is left (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""), dir("s", file("b", "")))))
			o.do("remove all", os.RemoveAll(o.at("d")))
			o.shows()
			o.upperHolds(whiteout("d"))
		},
	},
	{
		Name: "rmdir-with-lower-children-is-enotempty",
		Doc:  "A directory that is empty in the upper layer but not below is not empty (rmdir(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))), upper(dir("d")))
			o.refused("rmdir", unix.Rmdir(o.at("d")), unix.ENOTEMPTY, unix.EEXIST)
			o.shows(dir("d", file("a", "lower")).old())
			o.upperHolds(dir("d").old())
		},
	},
	{
		Name: "rmdir-with-upper-children-is-enotempty",
		Doc:  "A directory with a file in the upper layer is not empty (rmdir(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d")), upper(dir("d", file("a", "upper"))))
			o.refused("rmdir", unix.Rmdir(o.at("d")), unix.ENOTEMPTY, unix.EEXIST)
			o.shows(dir("d", file("a", "upper")).old())
		},
	},
	{
		Name: "rmdir-over-whiteouts-of-middle-layer",
		Doc:  "A directory whose files are hidden by whiteouts of a lower layer is empty (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", whiteout("a"))), lower(dir("d", file("a", "lower"))))
			o.rmdir("d")
			o.shows()
			o.upperHolds(whiteout("d"))
		},
	},
	{
		Name: "whiteout-hides-file",
		Doc:  "A whiteout in the upper layer hides the name below and is hidden itself (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", ""), file("b", "")), upper(whiteout("a")))
			o.shows(file("b", ""))
		},
	},
	{
		Name: "whiteout-hides-directory",
		Doc:  "A whiteout hides a directory with all that is in it (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))), upper(whiteout("d")))
			o.shows()
			o.refused("open d/a", unix.Access(o.at("d/a"), unix.F_OK), unix.ENOENT)
		},
	},
	{
		Name: "whiteout-of-middle-layer-hides",
		Doc:  "A whiteout in a lower layer hides the name in the layers below it (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("b", "")), lower(whiteout("a")), lower(file("a", "")))
			o.shows(file("b", ""))
			o.upperHolds()
		},
	},
	{
		Name: "whiteout-of-bottom-layer-hides",
		Doc:  "A whiteout in the lowest layer is not shown (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("b", "")), lower(whiteout("a")))
			o.shows(file("b", ""))
		},
	},
	{
		Name: "remove-what-replaced-middle-whiteout",
		Doc:  "Removing what was made over a whiteout of a middle layer does not bring the lowest back (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(whiteout("a")), lower(file("a", "lowest")))
			o.write("a", "new")
			o.unlink("a")
			o.shows()
		},
	},
	{
		Name: "mknod-of-whiteout-is-eperm",
		Doc:  "A whiteout cannot be made through the overlay (fs/overlayfs/dir.c, ovl_mknod).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("mknod", unix.Mknod(o.at("w"), unix.S_IFCHR|0o600, 0), unix.EPERM)
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "mknod-of-other-devices",
		Doc:  "Devices with other numbers than a whiteout's, or of the other kind, are made and shown (mknod(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "")))
			block, char := device("block", unix.S_IFBLK, 0, 0), device("char", unix.S_IFCHR, 0, 1)
			o.do("mknod a block device", unix.Mknod(o.at("block"), block.mode, int(block.rdev)))
			o.do("mknod a character device", unix.Mknod(o.at("char"), char.mode, int(char.rdev)))
			o.shows(file("a", ""), block, char)
		},
	},
	{
		Name: "rename-whiteout-flag-is-einval",
		Doc:  "RENAME_WHITEOUT is for the layer below, not for the overlay itself (fs/overlayfs/dir.c, ovl_rename).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("rename", o.renameat2("a", "b", unix.RENAME_WHITEOUT), unix.EINVAL)
			o.shows(file("a", "lower"))
			o.upperHolds()
		},
	},
	{
		Name: "remove-many",
		Doc:  "Many names removed at once are all hidden, however their whiteouts are stored (overlayfs.rst, whiteouts and opaque directories).",
		Run:  removeMany,
	},
}

// manyNames is enough to fill several buffers of getdents(2).
const manyNames = 300

func removeMany(t *suites.T) {
	var nodes []node
	for i := range manyNames {
		nodes = append(nodes, file(fmt.Sprintf("f%04d", i), ""))
	}
	o := newOverlay(t, lower(dir("d", nodes...)))
	for _, n := range nodes[1:] {
		o.unlink("d/" + n.name)
	}
	o.shows(dir("d", nodes[0].old()))
}
