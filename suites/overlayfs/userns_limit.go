package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// usernsLimitCases are what a user namespace may not do.
var usernsLimitCases = []suites.Case{
	confined{
		name:  "userns-device-nodes",
		doc:   "In a user namespace a whiteout can be made and no other device, and none through the overlay (mknod(2), CAP_MKNOD; fs/namei.c, vfs_mknod; since 5.8).",
		lower: []node{dir("d")},
		inside: func(o *overlay) {
			plain := o.layer("plain", nil)
			o.do("make a whiteout", unix.Mknod(plain+"/w", unix.S_IFCHR, 0))
			o.mountInside()
			for _, at := range []string{plain, o.at("d")} {
				o.refused("make a character device", unix.Mknod(at+"/c", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))), unix.EPERM)
				o.refused("make a block device", unix.Mknod(at+"/b", unix.S_IFBLK|0o600, int(unix.Mkdev(7, 0))), unix.EPERM)
			}
			o.refused("make a whiteout through the overlay", unix.Mknod(o.at("d/w"), unix.S_IFCHR, 0), unix.EPERM)
			o.shows(dir("d"))
		},
	}.suitesCase(),
	confined{
		name:  "userns-device-not-opened",
		doc:   "A device in a lower layer is shown and not opened, for the file system was mounted in a user namespace (mount_namespaces(7); fs/namespace.c, SB_I_NODEV).",
		lower: []node{device("null", unix.S_IFCHR, 1, 3).perm(0o666)},
		inside: func(o *overlay) {
			o.mountInside()
			o.refused("open", opened(unix.O_RDONLY)(o.at("null")), unix.EACCES)
			o.shows(device("null", unix.S_IFCHR, 1, 3).perm(0o666))
		},
	}.suitesCase(),
	confined{
		name:  "userns-remount",
		doc:   "Its own overlay a user namespace makes read-only and writable again (mount(2)).",
		lower: []node{file("a", "lower")},
		inside: func(o *overlay) {
			o.mountInside()
			o.do("remount read-only", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			o.refused("chmod", unix.Chmod(o.at("a"), 0o600), unix.EROFS)
			o.do("remount writable", unix.Mount("", o.merged, "", unix.MS_REMOUNT, ""))
			o.chmod("a", 0o600)
			o.shows(file("a", "lower").perm(0o600))
		},
		holds: []node{file("a", "lower").perm(0o600)},
	}.suitesCase(),
	{
		Name: "userns-mount-of-another",
		Doc:  "An overlay mounted outside is used in a user namespace by its mode bits, and is neither unmounted, nor remounted, nor freed of its flags there (mount_namespaces(7), locked mounts).",
		Run: func(t *suites.T) {
			open := dir("d", file("own", "lower"), file("other", "lower").foreign())
			o := newOverlay(t, lower(shifted([]node{open, dir("closed").foreign()})...), confined{}.given)
			o.do("remount with flags", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV, ""))
			t.Enter(o.dir, userns())
			o.shows(shifted([]node{dir("d", file("own", "Lower"), file("new", "new")), dir("closed").foreign()})...)
		},
		Within: func(t *suites.T) {
			o := entered(t)
			o.work = "" // of the mount outside
			o.refused("unmount", unix.Unmount(o.merged, 0), unix.EINVAL)
			o.refused("remount", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""), unix.EPERM)
			o.refused("drop the flags", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND, ""), unix.EPERM)
			o.do("write", withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "L") })(o.at("d/own")))
			o.refused("write another's", opened(unix.O_WRONLY)(o.at("d/other")), unix.EACCES)
			o.refused("chmod another's", unix.Chmod(o.at("d/other"), 0o777), unix.EPERM)
			o.refused("create in another's directory", unix.Mkdir(o.at("closed/s"), 0o755), unix.EACCES)
			o.write("d/new", "new")
			o.unlink("d/other")
		},
	},
	{
		Name:   "userns-mount-max",
		Doc:    "No more mounts are made in a mount namespace than fs.mount-max says: ENOSPC, and there is room again after an unmount (Documentation/admin-guide/sysctl/fs.rst).",
		Run:    mountMax,
		Within: fillMounts,
	},
	confined{
		name:  "userns-over-overlay-of-another",
		doc:   "An overlay mounted outside is the lower layer of one in a user namespace (overlayfs.rst, permission model).",
		lower: []node{file("a", "lower").owned(3, 4), dir("d", file("x", ""))},
		prepare: func(o *overlay) {
			below := o.layer("below", []node{file("b", "below")})
			o.do("mount the inner overlay", unix.Mount("overlay", o.lowers[0], fsType(o.t), 0, "lowerdir="+o.lowers[0]+":"+below))
			o.t.Cleanup(func() { o.do("unmount the inner overlay", unix.Unmount(o.lowers[0], 0)) })
		},
		inside: func(o *overlay) {
			o.mountInside()
			o.chmod("a", 0o600)
			o.write("d/new", "new")
			o.unlink("b")
			o.shows(file("a", "lower").perm(0o600).owned(3, 4), dir("d", file("x", ""), file("new", "new")))
		},
		holds: []node{file("a", "lower").perm(0o600).owned(3, 4), dir("d", file("new", "new")), whiteout("b")},
	}.suitesCase(),
	ownFSCase("userns-nested",
		"An overlay in a user namespace is the lower layer of another one there (overlayfs.rst, permission model).",
		func(t *suites.T) {
			inner := onOwnFS(t, lower(file("a", "lower"), file("gone", ""), dir("d", file("x", ""))))
			inner.mountInside()
			inner.write("u", "inner")
			inner.unlink("gone")
			outer := layers(t, within, over(inner))
			outer.mountInside()
			outer.chmod("a", 0o600)
			outer.write("u", "outer")
			outer.unlink("d/x")
			outer.shows(file("a", "lower").perm(0o600), file("u", "outer"), dir("d"))
			outer.upperHolds(file("a", "lower").perm(0o600), file("u", "outer"), dir("d", whiteout("x")))
		}),
	ownFSCase("userns-read-only",
		"Lower layers alone are mounted read-only in a user namespace, and are not made writable (overlayfs.rst, multiple lower layers).",
		func(t *suites.T) {
			o := onOwnFS(t, readOnly, lower(file("a", "1"), dir("d", file("x", ""))), lower(file("a", "2"), dir("d", file("y", ""))))
			o.mountInside()
			o.refused("chmod", unix.Chmod(o.at("a"), 0o600), unix.EROFS)
			o.refused("remount writable", unix.Mount("", o.merged, "", unix.MS_REMOUNT, ""), unix.EROFS)
			o.compare("mounted", o.merged, []node{file("a", "1"), dir("d", file("x", ""), file("y", ""))})
		}),
	confined{
		name:  "userns-upper-of-another",
		doc:   "An upper layer that is another's is not mounted to be written in a user namespace: it is refused, or nothing is made there (fs/overlayfs/super.c, ovl_make_workdir).",
		lower: []node{file("a", "lower")},
		prepare: func(o *overlay) {
			o.do("take the upper layer back", errors.Join(os.Lchown(o.upper, 0, 0), os.Lchown(o.work, 0, 0)))
		},
		inside: func(o *overlay) {
			o.work = "" // which the part cannot look into
			data := "lowerdir=" + o.lowers[0] + ",upperdir=" + o.upper + ",workdir=" + o.dir + "/work"
			if err := unix.Mount("overlay", o.merged, fsType(o.t), 0, data); err != nil {
				o.refused("mount", err, unix.EACCES, unix.EPERM)
				return
			}
			o.mounted = true
			o.refused("chmod", unix.Chmod(o.at("a"), 0o600), unix.EROFS, unix.EACCES, unix.EPERM)
			o.refused("create", os.WriteFile(o.at("b"), nil, 0o600), unix.EROFS, unix.EACCES, unix.EPERM)
			o.compare("mounted", o.merged, []node{file("a", "lower")})
		},
	}.suitesCase(),
}

// mountRoom is how many mounts a part of userns-mount-max may add.
const mountRoom = 5

func mountMax(t *suites.T) {
	const limit = "/proc/sys/fs/mount-max"
	was, err := os.ReadFile(limit)
	if err != nil {
		t.Skip("this kernel has no limit to the number of mounts (4.9)")
	}
	list, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	o := layers(t, lower(shifted([]node{file("a", "lower")})...), confined{}.given)
	t.Cleanup(func() { o.do("set the limit back", os.WriteFile(limit, was, 0)) })
	max := strings.Count(string(list), "\n") + mountRoom
	o.do("set the limit", os.WriteFile(limit, []byte(strconv.Itoa(max)), 0))
	t.Enter(o.dir, userns())
}

func fillMounts(t *suites.T) {
	o := entered(t)
	o.work = "" // in use by several mounts at the end
	lower := "lowerdir=" + o.lowers[0] + ":" + o.layer("second", nil)
	mount := func(i int) error {
		return unix.Mount("overlay", o.layer(fmt.Sprint("m", i), nil), fsType(t), 0, lower)
	}
	for i := range mountRoom {
		o.do(fmt.Sprint("mount ", i), mount(i))
	}
	o.refused("mount one more", mount(mountRoom), unix.ENOSPC)
	o.do("unmount one", unix.Unmount(o.dir+"/m0", 0))
	o.do("mount when there is room", mount(mountRoom))
	for i := range mountRoom {
		o.do("unmount", unix.Unmount(fmt.Sprint(o.dir, "/m", i+1), 0))
	}
}
