package overlayfs

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// Inode flags (ioctl_iflags(2); include/uapi/linux/fs.h, FS_SYNC_FL and others).
const (
	synchron   = 0x8
	immutable  = 0x10
	appendOnly = 0x20
	noAtime    = 0x80
	allFlags   = immutable | appendOnly | noAtime | synchron
)

// protattr is the attribute that keeps, of an upper file, the flags that would
// keep the kernel itself from changing it (fs/overlayfs/util.c since 5.15,
// ovl_set_protattr).
const protattr = private + "protattr"

// flagCases are about inode flags, which are kept when a file is copied up.
var flagCases = withDisks("ext4", "", []suites.Case{
	{
		Name: "flags-immutable-lower",
		Doc:  "A lower file that is immutable is changed by nothing, and not copied up (ioctl_iflags(2), FS_IMMUTABLE_FL).",
		Run: func(t *suites.T) {
			o := flagged(t, "d/a", immutable)
			o.everyView(func(v view) {
				at := string(v) + ": "
				o.hasFlags(at, o.at("d/a"), immutable)
				o.refused(at+"open for writing", opened(unix.O_WRONLY)(o.at("d/a")), unix.EPERM)
				o.refused(at+"chmod", unix.Chmod(o.at("d/a"), 0o600), unix.EPERM)
				o.refused(at+"truncate", unix.Truncate(o.at("d/a"), 0), unix.EPERM)
				o.refused(at+"set an extended attribute", unix.Setxattr(o.at("d/a"), "trusted.x", []byte("v"), 0), unix.EPERM)
				o.refused(at+"unlink", unix.Unlink(o.at("d/a")), unix.EPERM)
				o.refused(at+"link", unix.Link(o.at("d/a"), o.at("d/c")), unix.EPERM)
				o.refused(at+"rename", unix.Rename(o.at("d/a"), o.at("d/c")), unix.EPERM)
			})
			o.upperHolds()
			o.shows(flagTree...)
		},
	},
	{
		Name: "flags-immutable-taken-off",
		Doc:  "Taking the immutable flag off a lower file copies it up, and it can be changed (ioctl_iflags(2); fs/overlayfs/inode.c since 5.15, ovl_fileattr_set).",
		Run: func(t *suites.T) {
			o := flagged(t, "d/a", immutable)
			o.setFlags(o.at("d/a"), 0)
			o.hasFlags("upper", o.inUpper("d/a"), 0)
			o.hasFlags("lower", o.inLower("d/a"), immutable)
			o.everyView(func(v view) { o.hasFlags(string(v), o.at("d/a"), 0) })
			o.write("d/a", "changed")
			o.shows(dir("d", file("a", "changed").perm(0o640), file("b", "other")))
		},
	},
	{
		Name: "flags-immutable-set",
		Doc:  "A lower file made immutable through the overlay is copied up and immutable for good, without the flag in the upper layer (fs/overlayfs/util.c since 5.15, ovl_set_protattr).",
		Run: func(t *suites.T) {
			o := flagged(t, "d/a", 0)
			o.setFlags(o.at("d/a"), immutable)
			o.hasFlags("upper", o.inUpper("d/a"), 0)
			if got, err := getXattr(o.inUpper("d/a"), protattr); err != nil || got != "i" {
				t.Errorf("%s of the upper file is %q (%v), want \"i\"", protattr, got, err)
			}
			o.everyView(func(v view) {
				o.hasFlags(string(v), o.at("d/a"), immutable)
				o.refused(string(v)+": open for writing", opened(unix.O_WRONLY)(o.at("d/a")), unix.EPERM)
				o.refused(string(v)+": unlink", unix.Unlink(o.at("d/a")), unix.EPERM)
			})
			o.setFlags(o.at("d/a"), 0)
			o.unlink("d/a")
			o.shows(dir("d", file("b", "other")))
		},
	},
	{
		Name: "flags-append-only",
		Doc:  "A lower file that is append-only is copied up to be appended to, and stays append-only (ioctl_iflags(2), FS_APPEND_FL; fs/overlayfs/copy_up.c since 5.15, ovl_copy_fileattr).",
		Run: func(t *suites.T) {
			o := flagged(t, "d/a", appendOnly)
			o.refused("open for writing", opened(unix.O_WRONLY)(o.at("d/a")), unix.EPERM)
			o.refused("open truncating", opened(unix.O_WRONLY|unix.O_TRUNC)(o.at("d/a")), unix.EPERM)
			o.do("append", withFd(unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, " and more") })(o.at("d/a")))
			o.hasFlags("upper", o.inUpper("d/a"), 0)
			o.everyView(func(v view) {
				o.hasFlags(string(v), o.at("d/a"), appendOnly)
				o.refused(string(v)+": open for writing", opened(unix.O_WRONLY)(o.at("d/a")), unix.EPERM)
				o.refused(string(v)+": truncate", unix.Truncate(o.at("d/a"), 0), unix.EPERM)
			})
			o.do("append again", withFd(unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, ", twice") })(o.at("d/a")))
			o.shows(dir("d", file("a", "lower and more, twice").perm(0o640), file("b", "other")))
		},
	},
	{
		Name: "flags-kept-on-copy-up",
		Doc:  "The flags for synchronous updates and against times of access are kept when a file is copied up (fs/overlayfs/copy_up.c since 5.15, ovl_copy_fileattr).",
		Run: func(t *suites.T) {
			o := flagged(t, "d/a", noAtime|synchron)
			o.chmod("d/a", 0o600)
			o.hasFlags("upper", o.inUpper("d/a"), noAtime|synchron)
			o.everyView(func(v view) { o.hasFlags(string(v), o.at("d/a"), noAtime|synchron) })
			o.shows(dir("d", file("a", "lower").perm(0o600), file("b", "other")))
		},
	},
	{
		Name: "flags-immutable-directory",
		Doc:  "What is in an immutable lower directory is copied up and changed, and nothing is made in it or removed, before and after (ioctl_iflags(2); fs/overlayfs/copy_up.c since 5.15, ovl_copy_fileattr).",
		Run: func(t *suites.T) {
			o := flagged(t, "d", immutable)
			o.refused("create", opened(unix.O_CREAT|unix.O_WRONLY)(o.at("d/new")), unix.EPERM)
			o.chmod("d/a", 0o600)
			o.hasFlags("upper", o.inUpper("d"), 0)
			o.everyView(func(v view) {
				o.hasFlags(string(v), o.at("d"), immutable)
				o.refused(string(v)+": create", opened(unix.O_CREAT|unix.O_WRONLY)(o.at("d/new")), unix.EPERM)
				o.refused(string(v)+": unlink", unix.Unlink(o.at("d/b")), unix.EPERM)
				o.refused(string(v)+": rename", unix.Rename(o.at("d/a"), o.at("a")), unix.EPERM)
			})
			o.shows(dir("d", file("a", "lower").perm(0o600), file("b", "other")))
		},
	},
	{
		Name: "flags-immutable-work",
		Doc:  "A work directory that cannot be cleaned, being immutable, makes the mount read-only (fs/overlayfs/super.c, ovl_workdir_create).",
		Run: func(t *suites.T) {
			o := layers(t, allOn("ext4", ""), lower(file("a", "lower")))
			work := o.work + "/work"
			o.do("make what is left over", os.MkdirAll(work+"/left", 0o755))
			o.setFlags(work, immutable)
			o.do("mount", o.mount())
			o.refused("create", os.WriteFile(o.at("b"), nil, 0o600), unix.EROFS)
			o.compare("read-only", o.merged, []node{file("a", "lower")})
			o.do("unmount", unix.Unmount(o.merged, 0))
			o.mounted = false
			o.setFlags(work, 0)
			o.do("mount when it can be cleaned", o.mount())
			o.write("b", "new")
			o.shows(file("a", "lower"), file("b", "new"))
		},
	},
})

// flagTree is what flagged puts into the lower layer.
var flagTree = []node{dir("d", file("a", "lower").perm(0o640), file("b", "other"))}

// flagged is an overlay on ext4 with flags set on a file of its lower layer,
// where the kernel keeps flags when it copies up.
func flagged(t *suites.T, name string, flags int) *overlay {
	t.Helper()
	o := layers(t, allOn("ext4", ""), lower(flagTree...))
	o.setFlags(o.inLower(name), flags)
	o.remember()
	o.do("mount the overlay", o.mount())
	if flags&(immutable|appendOnly) != 0 {
		if f, err := flagsOf(o.at(name)); err != nil || f&allFlags != flags {
			t.Skipf("this kernel's overlayfs does not show inode flags (5.15): %#x (%v)", f, err)
		}
	}
	return o
}

func flagsOf(path string) (int, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	return int(flags), err
}

func (o *overlay) setFlags(path string, flags int) {
	o.t.Helper()
	o.do("set inode flags", withFd(unix.O_RDONLY, func(fd int) error {
		old, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
		if err != nil {
			return err
		}
		return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(old)&^allFlags|flags)
	})(path))
}

func (o *overlay) hasFlags(where, path string, want int) {
	o.t.Helper()
	if got, err := flagsOf(path); err != nil || got&allFlags != want {
		o.t.Errorf("%s: inode flags %#x (%v), want %#x", where, got&allFlags, err, want)
	}
}
