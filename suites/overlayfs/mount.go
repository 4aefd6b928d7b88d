package overlayfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// superMagic is f_type of statfs(2) (linux/magic.h, OVERLAYFS_SUPER_MAGIC).
const superMagic = 0x794c7630

// mountCases mount overlays, unmount them and look after their work directories.
var mountCases = []suites.Case{
	{
		Name: "mount-statfs",
		Doc:  "statfs(2) tells the overlay's own type, and the size of the upper layer's file system (overlayfs.rst, upper and lower; statfs(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "")))
			var got, up unix.Statfs_t
			o.do("statfs the overlay", unix.Statfs(o.merged, &got))
			o.do("statfs the upper layer", unix.Statfs(o.upper, &up))
			if got.Type != superMagic {
				t.Errorf("f_type is %#x, want %#x", got.Type, superMagic)
			}
			if got.Blocks != up.Blocks || got.Files != up.Files {
				t.Errorf("the overlay has %d blocks, %d inodes, the upper layer %d, %d", got.Blocks, got.Files, up.Blocks, up.Files)
			}
		},
	},
	{
		Name: "mount-busy",
		Doc:  "An overlay with an open file is busy, and is not when the file is closed (umount(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_RDONLY)
			o.refused("unmount", unix.Unmount(o.merged, 0), unix.EBUSY)
			unix.Close(fd)
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "mount-detached",
		Doc:  "A file open in an overlay that was detached can be read and written until it is closed (umount(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_RDWR)
			o.do("detach", unix.Unmount(o.merged, unix.MNT_DETACH))
			o.mounted = false
			o.do("write", writeAll(fd, "L"))
			unix.Close(fd)
			o.do("mount again", o.mount())
			o.shows(file("a", "Lower"))
		},
	},
	{
		Name: "mount-escaped-colon",
		Doc:  "A colon in the name of a lower layer is written with a backslash before it (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")))
			colon := o.layer("with:colon", []node{file("b", "colon")})
			o.lowers = append(o.lowers, colon)
			o.remember()
			o.lowers[1] = strings.ReplaceAll(colon, ":", `\:`)
			err := o.mount()
			o.lowers[1] = colon
			o.do("mount", err)
			o.compare("mounted", o.merged, []node{file("a", "lower"), file("b", "colon")})
		},
	},
	{
		Name: "mount-by-symlinks",
		Doc:  "Layers may be named by symbolic links (path_resolution(7)).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")), upper(file("b", "upper")))
			l, u, w := o.dir+"/l", o.dir+"/u", o.dir+"/w"
			o.do("make the links", errors.Join(os.Symlink(o.lowers[0], l), os.Symlink(o.upper, u), os.Symlink(o.work, w)))
			o.do("mount", unix.Mount("overlay", o.merged, fsType(t), 0, "lowerdir="+l+",upperdir="+u+",workdir="+w))
			o.mounted = true
			o.shows(file("a", "lower"), file("b", "upper"))
		},
	},
	{
		Name: "mount-of-overlay-layers",
		Doc:  "An overlay can be a lower layer of another, and be unmounted while that goes on (overlayfs.rst since 6.7, nesting overlayfs mounts; fs/overlayfs/super.c, clone_private_mount).",
		Run: func(t *suites.T) {
			inner := newOverlay(t, lower(file("a", "lower"), file("b", "")))
			inner.unlink("b")
			inner.write("c", "upper")
			outer := layers(t)
			outer.lowers = []string{inner.merged}
			outer.remember()
			outer.do("mount the outer overlay", outer.mount())
			outer.write("a", "outer")
			outer.shows(file("a", "outer"), file("c", "upper"))
			inner.unmount()
			outer.compare("inner unmounted", outer.merged, []node{file("a", "outer"), file("c", "upper")})
			outer.unmount()
			inner.do("mount the inner overlay again", inner.mount())
			inner.shows(file("a", "lower"), file("c", "upper"))
		},
	},
	{
		Name: "mount-three-deep-is-einval",
		Doc:  "An overlay of overlays of overlays is too deep (fs.h, FILESYSTEM_MAX_STACK_DEPTH).",
		Run: func(t *suites.T) {
			one := newOverlay(t, lower(file("a", "")))
			two := layers(t)
			two.lowers = []string{one.merged}
			two.remember()
			two.do("mount an overlay of an overlay", two.mount())
			three := layers(t)
			three.lowers = []string{two.merged}
			three.remember()
			three.refused("mount a third", three.mount(), unix.EINVAL)
		},
	},
	{
		Name: "mount-upper-in-use",
		Doc:  "With index=on an upper layer in use is EBUSY, and is free after the unmount (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			one := newOverlay(t, option("index=on"), lower(file("a", "lower")))
			two := layers(t, option("index=on"), lowersOf(one), upperOf(one))
			two.refused("mount with the same upper layer", two.mount(), unix.EBUSY)
			one.write("a", "still writable")
			one.shows(file("a", "still writable"))
		},
	},
	{
		Name: "mount-other-lower-is-estale",
		Doc:  "With index=on an upper layer does not go with another lower layer than its first (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=on"), lower(file("a", "lower")))
			o.write("a", "changed")
			o.unmount()
			o.lowers = []string{o.layer("other", []node{file("a", "other")})}
			o.remember()
			o.refused("mount with another lower layer", o.mount(), unix.ESTALE)
		},
	},
	{
		Name: "work-is-cleaned-at-mount",
		Doc:  "What an earlier mount left in the work directory is gone after the next (fs/overlayfs/super.c, ovl_workdir_create).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")))
			o.do("leave something", dir("work", file("#1", "left"), dir("#2", file("x", "")), whiteout("#3")).make(o.work))
			o.do("mount", o.mount())
			entries, err := os.ReadDir(filepath.Join(o.work, "work"))
			if err != nil || len(entries) > 0 {
				t.Errorf("the work directory holds %v (%v), want nothing", entries, err)
			}
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "work-is-closed",
		Doc:  "The kernel's own directory in the work directory has no permissions (fs/overlayfs/super.c, ovl_workdir_create).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "")))
			var st unix.Stat_t
			o.do("stat the kernel's directory", unix.Lstat(filepath.Join(o.work, "work"), &st))
			if st.Mode != unix.S_IFDIR {
				t.Errorf("its mode is %#o, want %#o", st.Mode, unix.S_IFDIR)
			}
		},
	},
	{
		Name: "work-incompatible",
		Doc:  "A work directory that says it needs a feature unknown to the kernel is refused (overlayfs.rst, volatile mount).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "")))
			o.do("ask for a feature", dir("work", dir("incompat", dir("kplay"))).make(o.work))
			err := o.mount()
			if err == nil && !volatileKnown(o) {
				t.Skip("this kernel's overlayfs does not look at incompat (5.10)")
			}
			o.refused("mount", err, unix.EINVAL)
			o.do("clean up", os.RemoveAll(filepath.Join(o.work, "work")))
		},
	},
}

// volatileKnown reports whether o can be mounted volatile, which came together
// with the incompat directory. It leaves o unmounted.
func volatileKnown(o *overlay) bool {
	o.t.Helper()
	o.unmount()
	o.do("make the work directory anew", os.RemoveAll(filepath.Join(o.work, "work")))
	o.options = append(o.options, "volatile")
	if o.mount() != nil {
		return false
	}
	o.unmount()
	return true
}
