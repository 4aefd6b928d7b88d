package overlayfs

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A trespass is something root of a user namespace does to what belongs to
// nobody it knows: with the rights of any other user, for its own do not reach
// there, and without copying up, for the copy could not have that owner
// (user_namespaces(7); fs/overlayfs/copy_up.c, ovl_copy_up_one).
type trespass struct {
	name, doc string
	do        func(*overlay) error
	want      unix.Errno // 0: it is allowed
}

// trespasses are done to these: open and closed in d, both of root outside, and
// fd, a directory of root outside.
var (
	theirs = []node{dir("d", file("open", "text").perm(0o666).foreign(), file("closed", "text").perm(0o600).foreign(), file("own", "text")),
		dir("fd", file("x", "text").perm(0o666)).perm(0o777).foreign()}
	trespasses = []trespass{
		{"read-open", "reads what all may read", func(o *overlay) error { return opened(unix.O_RDONLY)(o.at("d/open")) }, 0},
		{"read-closed", "does not read what others may not", func(o *overlay) error { return opened(unix.O_RDONLY)(o.at("d/closed")) }, unix.EACCES},
		{"open-for-writing", "does not copy up by opening", func(o *overlay) error { return opened(unix.O_WRONLY)(o.at("d/open")) }, unix.EOVERFLOW},
		{"truncate", "does not copy up by truncating", func(o *overlay) error { return unix.Truncate(o.at("d/open"), 0) }, unix.EOVERFLOW},
		{"open-closed-for-writing", "does not write what others may not", func(o *overlay) error { return opened(unix.O_WRONLY)(o.at("d/closed")) }, unix.EACCES},
		{"chmod", "does not change another's mode", func(o *overlay) error { return unix.Chmod(o.at("d/open"), 0o777) }, unix.EPERM},
		{"chown", "does not take another's file", func(o *overlay) error { return unix.Lchown(o.at("d/open"), 0, 0) }, unix.EPERM},
		{"utimes", "does not set another's times", func(o *overlay) error { return setTimes(o.at("d/open"), stamp) }, unix.EPERM},
		{"rename", "does not copy up by renaming", func(o *overlay) error { return unix.Rename(o.at("d/open"), o.at("d/new")) }, unix.EOVERFLOW},
		{"create-in", "does not copy up another's directory to make a file in it", func(o *overlay) error { return os.WriteFile(o.at("fd/new"), nil, 0o644) }, unix.EOVERFLOW},
		{"unlink-in", "does not copy up another's directory to remove from it", func(o *overlay) error { return unix.Unlink(o.at("fd/x")) }, unix.EOVERFLOW},
		{"set-attribute", "does not set an attribute of another's file", func(o *overlay) error { return unix.Setxattr(o.at("d/open"), accessACL, []byte(acl(0o640, 1, 4)), 0) }, unix.EPERM},
	}
)

func trespassCases() (cases []suites.Case) {
	for _, tr := range trespasses {
		cases = append(cases, confined{
			name:  "userns-foreign-" + tr.name,
			doc:   "Root of a user namespace " + tr.doc + ", if the owner has no ID there (user_namespaces(7); fs/overlayfs/copy_up.c, ovl_copy_up_one).",
			lower: theirs,
			inside: func(o *overlay) {
				if tr.name == "set-attribute" {
					needACL(o.t)
				}
				o.mountInside()
				if err := tr.do(o); tr.want == 0 {
					o.do(tr.name, err)
				} else {
					o.refused(tr.name, err, tr.want)
				}
				for _, name := range []string{"d/open", "d/closed", "fd"} {
					if st := o.stat(name); st.Uid != overflowID || st.Gid != overflowID {
						o.t.Errorf("%s is shown as %d:%d, want %d", name, st.Uid, st.Gid, overflowID)
					}
				}
			},
			outside: func(o *overlay) {
				upper, err := readTree(o.upper)
				o.do("read the upper layer", err)
				delete(upper, ".")
				delete(upper, "d") // copied up on the way
				if len(upper) > 0 {
					o.t.Errorf("the upper layer holds %v, want nothing but d", slices.Collect(maps.Keys(upper)))
				}
			},
		}.suitesCase())
	}
	return cases
}

// usernsOptions are what a mount in a user namespace may be asked for. What needs
// attributes of the overlay's own is refused or done without.
var usernsOptions = []struct {
	name    string
	options string
	refuse  bool
	needs   string // the option lacks() knows it by
}{
	{"redirect", "redirect_dir=on", false, "redirect_dir"},
	{"metacopy", "metacopy=on", false, "metacopy"},
	{"index", "index=on", false, "index"},
	{"nfs-export", "nfs_export=on", false, "nfs_export"},
	{"xino", "xino=on", false, "xino"},
	{"userxattr-redirect", "userxattr,redirect_dir=on", true, "redirect_dir"},
	{"userxattr-metacopy", "userxattr,metacopy=on", true, "metacopy"},
	{"userxattr-index", "userxattr,index=on", false, "index"},
	{"userxattr-nfs-export", "userxattr,nfs_export=on", false, "nfs_export"},
	{"userxattr-xino", "userxattr,xino=on", false, "xino"},
}

func usernsOptionCases() (cases []suites.Case) {
	for _, u := range usernsOptions {
		promise := " is refused or does no harm"
		if u.refuse {
			promise = " is refused, for user attributes are anyone's to set"
		}
		cases = append(cases, ownFSCase("userns-option-"+u.name,
			"In a user namespace "+u.options+promise+" (overlayfs.rst, user xattr; fs/overlayfs/super.c, ovl_make_workdir).",
			func(t *suites.T) {
				o := onOwnFS(t, lower(dir("d", file("x", "lower")), file("a", "lower"), file("b", "lower"), file("c", "lower")))
				if lacks(t, u.needs) {
					t.Skipf("this kernel's overlayfs has no %s", u.needs)
				}
				if !mountsInside(t) {
					t.Skip("this kernel's overlayfs is not mounted in user namespaces (5.11)")
				}
				o.options = strings.Split(u.options, ",")
				if err := o.mount(); err != nil || u.refuse {
					o.refused("mount", err, unix.EINVAL, unix.EPERM)
					o.options = nil
					o.do("mount without", o.mount())
				}
				o.chmod("a", 0o600)
				o.unlink("b")
				o.link("c", "e")
				o.write("e", "changed")
				d := "d"
				if err := unix.Rename(o.at("d"), o.at("r")); err == nil {
					d = "r"
				} else {
					o.refused("rename a directory", err, unix.EXDEV)
				}
				o.shows(dir(d, file("x", "lower")), file("a", "lower").perm(0o600), file("c", "changed"), file("e", "changed"))
			}))
	}
	return cases
}

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
