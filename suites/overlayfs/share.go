package overlayfs

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// shareCases have layers that overlap, are in use by another overlay, or were
// copied from one.
var shareCases = []suites.Case{
	{
		Name: "share-upper-in-lower",
		Doc:  "An upper layer inside a lower one is mounted, and is not to be reached through the overlay: ELOOP (fs/overlayfs/namei.c, ovl_lookup_layer; since 5.2).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower"), dir("u", file("b", "")), dir("w")))
			o.upper, o.work = o.inLower("u"), o.inLower("w")
			o.do("mount", o.mount())
			// Only the lower layer's own invariance cannot be asked for.
			o.lowers, o.before = nil, nil
			err := unix.Access(o.at("u"), unix.F_OK)
			if err == nil && lacks(t, "metacopy") {
				t.Skip("this kernel's overlayfs does not look for layers that overlap (5.2)")
			}
			o.refused("look up the upper layer", err, unix.ELOOP)
		},
	},
	{
		Name: "share-upper-on-overlay",
		Doc:  "An overlay cannot hold the upper layer of another: EINVAL (fs/overlayfs/super.c, ovl_get_upper; overlayfs.rst, upper and lower).",
		Run: func(t *suites.T) {
			inner := newOverlay(t, lower(dir("u"), dir("w")))
			outer := layers(t, lower(file("a", "")))
			outer.upper, outer.work = inner.at("u"), inner.at("w")
			err := outer.mount()
			outer.work = ""
			outer.refused("mount", err, unix.EINVAL)
		},
	},
	{
		Name: "share-upper-on-read-only-mount",
		Doc:  "An upper layer on a read-only mount is refused: EINVAL (fs/overlayfs/super.c, ovl_get_upper).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "")))
			o.bind(o.upper, unix.MS_RDONLY)
			o.refused("mount", o.mount(), unix.EINVAL)
		},
	},
	{
		Name: "share-work-on-other-mount",
		Doc:  "A work directory on another mount than the upper layer, of the same file system too, is refused: EINVAL (fs/overlayfs/super.c, ovl_get_workdir).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "")))
			o.bind(o.work, 0)
			o.refused("mount", o.mount(), unix.EINVAL)
		},
	},
	{
		Name: "share-upper-without-index",
		Doc:  "With index=off an upper layer in use can be mounted once more, with a warning (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			one := newOverlay(t, option("index=off"), lower(file("a", "lower")))
			two := layers(t, option("index=off"), lowersOf(one), upperOf(one))
			two.do("mount with the same upper layer", two.mount())
			two.compare("mounted twice", two.merged, []node{file("a", "lower")})
		},
	},
	{
		Name: "share-work-in-use",
		Doc:  "With index=on a work directory in use is EBUSY, and is free after the unmount (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			one := newOverlay(t, option("index=on"), lower(file("a", "lower")))
			two := layers(t, option("index=on"), lower(file("b", "")))
			own := two.work
			two.work = one.work
			two.refused("mount with the same work directory", two.mount(), unix.EBUSY)
			two.work = own
			two.do("mount with another work directory", two.mount())
			two.shows(file("b", ""))
			one.shows(file("a", "lower"))
		},
	},
	{
		Name: "share-upper-as-lower",
		Doc:  "With index=on the upper layer of another overlay is no lower layer: EBUSY while that is mounted (overlayfs.rst, sharing and copying layers; since 5.2).",
		Run: func(t *suites.T) {
			one := newOverlay(t, option("index=on"), lower(file("a", "lower")), upper(file("b", "upper")))
			two := layers(t, option("index=on"))
			two.lowers = []string{one.upper}
			two.remember()
			err := two.mount()
			if err == nil && lacks(t, "metacopy") {
				t.Skip("this kernel's overlayfs does not look for layers that overlap (5.2)")
			}
			two.refused("mount", err, unix.EBUSY)
			one.unmount()
			two.do("mount when the other is gone", two.mount())
			two.shows(file("b", "upper"))
		},
	},
	{
		Name: "share-other-upper-is-estale",
		Doc:  "With index=on a work directory does not go with another upper layer than its first: ESTALE (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=on"), lower(file("a", "lower")))
			o.unmount()
			o.upper = o.layer("another", nil)
			o.refused("mount with another upper layer", o.mount(), unix.ESTALE)
		},
	},
	{
		Name: "share-other-lower-without-index",
		Doc:  "With index=off an upper layer goes with another lower layer than its first (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=off"), lower(file("a", "lower"), file("b", "")))
			o.write("a", "changed")
			o.unlink("b")
			o.unmount()
			o.lowers = []string{o.layer("other", []node{file("a", "other"), file("b", "other"), file("c", "other")})}
			o.meddled = true
			o.remember()
			o.do("mount with another lower layer", o.mount())
			o.shows(file("a", "changed"), file("c", "other"))
		},
	},
	{
		Name: "share-other-upper-without-index",
		Doc:  "With index=off a work directory goes with another upper layer than its first (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=off"), lower(file("a", "lower")))
			o.write("a", "changed")
			o.unmount()
			o.upper = o.layer("another", nil)
			o.do("mount with another upper layer", o.mount())
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "share-reorder-lowers",
		Doc:  "With index=off the lower layers may be put in another order between two mounts (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=off"), lower(file("a", "1"), file("b", "1")), lower(file("a", "2"), file("c", "2")))
			o.chmod("b", 0o600)
			o.shows(file("a", "1"), file("b", "1").perm(0o600), file("c", "2"))
			o.unmount()
			o.lowers[0], o.lowers[1] = o.lowers[1], o.lowers[0]
			o.remember()
			o.do("mount in another order", o.mount())
			o.shows(file("a", "2"), file("b", "1").perm(0o600), file("c", "2"))
		},
	},
	{
		Name: "share-one-lower-by-many",
		Doc:  "Any number of overlays may share a lower layer (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			first := newOverlay(t, lower(file("a", "lower"), file("b", "lower")))
			for range 12 {
				o := newOverlay(t, lowersOf(first))
				o.write("a", o.upper)
				o.unlink("b")
				o.compare("mounted", o.merged, []node{file("a", o.upper)})
			}
			first.shows(file("a", "lower"), file("b", "lower"))
		},
	},
	{
		Name: "share-layers-unmounted",
		Doc:  "An overlay goes on when the mounts its layers were named by are gone (fs/overlayfs/super.c, clone_private_mount).",
		Run: func(t *suites.T) {
			o := layers(t)
			disk := o.layer("disk", nil)
			o.do("mount a file system for the layers", unix.Mount("disk", disk, "tmpfs", 0, ""))
			o.do("make the layers", errors.Join(dir("l", file("a", "lower")).make(disk), dir("u").make(disk), dir("w").make(disk)))
			err := unix.Mount("overlay", o.merged, fsType(t), 0, "lowerdir="+disk+"/l,upperdir="+disk+"/u,workdir="+disk+"/w")
			o.mounted = err == nil
			gone := unix.Unmount(disk, 0)
			o.do("mount", err)
			o.do("unmount the file system of the layers", gone)
			o.write("b", "new")
			o.chmod("a", 0o600)
			o.compare("mounted", o.merged, []node{file("a", "lower").perm(0o600), file("b", "new")})
		},
	},
	{
		Name: "share-lower-on-detached-mount",
		Doc:  "A lower layer may be on a mount that is nowhere attached, named by a descriptor in /proc (open_tree(2)).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")))
			fd, err := unix.OpenTree(unix.AT_FDCWD, o.lowers[0], unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
			o.do("clone the mount", err)
			path := filepath.Join("/proc/self/fd", strconv.Itoa(fd))
			err = unix.Mount("overlay", o.merged, fsType(t), 0, "lowerdir="+path+",upperdir="+o.upper+",workdir="+o.work)
			o.mounted = err == nil
			closed := unix.Close(fd)
			if errors.Is(err, unix.EINVAL) {
				t.Skip("this kernel's overlayfs takes no layers on detached mounts (6.15)")
			}
			o.do("mount", errors.Join(err, closed))
			o.write("a", "changed")
			o.shows(file("a", "changed"))
		},
	},
	{
		Name: "remount-other-layers",
		Doc:  "A remount with other layers is refused or changes nothing (fs/overlayfs/super.c, ovl_remount).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")), upper(file("b", "upper")))
			other := o.layer("other", []node{file("x", "other")})
			err := unix.Mount("", o.merged, "", unix.MS_REMOUNT, "lowerdir="+other+",upperdir="+o.upper+",workdir="+o.work)
			if err != nil {
				o.refused("remount with other layers", err, unix.EINVAL)
			}
			o.shows(file("a", "lower"), file("b", "upper"))
		},
	},
	{
		Name: "remount-keeps-open-files",
		Doc:  "A remount that changes nothing leaves open files as they are (mount(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_RDWR)
			o.do("remount", unix.Mount("", o.merged, "", unix.MS_REMOUNT, ""))
			o.refused("remount read-only while a file is open for writing",
				unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""), unix.EBUSY)
			o.do("write", writeAll(fd, "L"))
			o.do("close", unix.Close(fd))
			o.shows(file("a", "Lower"))
		},
	},
	{
		Name: "work-deep-leftover-is-read-only",
		Doc:  "A work directory with more in it than a kernel leaves is not cleaned, and the mount is read-only (fs/overlayfs/super.c, ovl_make_workdir).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")))
			o.do("leave a deep tree", dir("work", dir("x", dir("y", dir("z", file("deep", ""))))).make(o.work))
			o.do("mount", o.mount())
			err := os.WriteFile(o.at("b"), nil, 0o600)
			if err == nil {
				t.Skip("this kernel's overlayfs cleans the work directory to any depth")
			}
			o.refused("create", err, unix.EROFS)
			o.compare("mounted", o.merged, []node{file("a", "lower")})
			o.do("clean up", os.RemoveAll(filepath.Join(o.work, "work")))
		},
	},
	{
		Name: "work-reused-in-turn",
		Doc:  "A work directory serves one upper layer after another with index=off, and is clean for each (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=off"), lower(file("a", "lower"), dir("d", file("x", ""))))
			for _, name := range []string{"second", "third"} {
				o.do("remove d", os.RemoveAll(o.at("d")))
				o.mkdir("d")
				o.write("a", name)
				o.shows(file("a", name), dir("d"))
				o.unmount()
				o.upper = o.layer(name, nil)
				o.do("mount with another upper layer", o.mount())
				o.shows(file("a", "lower"), dir("d", file("x", "")))
			}
		},
	},
	{
		Name: "busy-working-directory",
		Doc:  "An overlay that is the working directory of a process is busy (umount(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))))
			leave := o.enter(o.at("d"))
			err := unix.Unmount(o.merged, 0)
			leave()
			o.refused("unmount", err, unix.EBUSY)
			o.shows(dir("d", file("a", "")))
		},
	},
}

// lowersOf adds the lower layers of another overlay.
func lowersOf(other *overlay) part {
	return func(o *overlay) { o.lowers = append(o.lowers, other.lowers...) }
}

// upperOf takes the upper layer of another overlay, and a work directory of its
// own.
func upperOf(other *overlay) part {
	return func(o *overlay) { o.upper = other.upper }
}

// bind mounts path over itself until the case ends, with flags.
func (o *overlay) bind(path string, flags uintptr) {
	o.t.Helper()
	o.do("bind "+path, unix.Mount(path, path, "", unix.MS_BIND, ""))
	o.t.Cleanup(func() { o.do("unbind "+path, unix.Unmount(path, 0)) })
	if flags != 0 {
		o.do("change the bind mount", unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""))
	}
}
