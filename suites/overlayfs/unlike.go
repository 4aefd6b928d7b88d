package overlayfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// unlikeCases have layers on file systems that lack something, or have something
// that others do not.
var unlikeCases = []suites.Case{
	{
		Name: "unlike-no-xattrs",
		Doc:  "An upper file system without extended attributes takes copies and whiteouts; an opaque directory is refused with EIO, and renaming a lower directory with EXDEV (fs/overlayfs/super.c, ovl_make_workdir: falling back; fs/overlayfs/dir.c, ovl_set_opaque_xerr).",
		Run: func(t *suites.T) {
			o := newOverlay(t, upperOn("ramfs", ""), lower(dir("d"), dir("e", file("y", "why")), file("a", "lower"), file("b", "gone")))
			o.meddled = true // nothing keeps the numbers of what is copied up
			o.write("a", "changed")
			o.unlink("b")
			o.refused("rename a lower directory", unix.Rename(o.at("e"), o.at("f")), unix.EXDEV)
			o.rmdir("d")
			o.refused("mkdir in the place of a removed directory", unix.Mkdir(o.at("d"), 0o755), unix.EIO)
			o.mkdir("new")
			o.shows(dir("e", file("y", "why")), file("a", "changed"), dir("new"))
		},
	},
	{
		Name: "unlike-no-xattrs-index",
		Doc:  "On an upper file system without extended attributes index and metacopy are turned off, and the mount says so (fs/overlayfs/super.c, ovl_make_workdir).",
		Run: func(t *suites.T) {
			o := newOverlay(t, upperOn("ramfs", ""), option("index=on"), option("metacopy=on"), lower(file("a", "lower")))
			o.meddled = true
			if got := o.mountinfo(); strings.Contains(got, "index=on") || strings.Contains(got, "metacopy=on") {
				t.Errorf("mountinfo says %s, want neither index=on nor metacopy=on", got)
			}
			o.chmod("a", 0o600)
			o.upperHolds(file("a", "lower").perm(0o600))
			o.shows(file("a", "lower").perm(0o600))
		},
	},
	{
		Name: "unlike-no-types", Disks: []string{"xfs-no-ftype"},
		Doc: "An upper file system whose directories tell no types is mounted with a warning, and what is looked up by name is right (fs/overlayfs/super.c, ovl_make_workdir: \"upper fs needs to support d_type\").",
		Run: func(t *suites.T) {
			at := t.Dir() + "/xfs"
			d := attach(t, t.Disk("xfs-no-ftype"))
			if err := tryMount(t, d.path, "xfs", at, 0, ""); errors.Is(err, unix.EINVAL) {
				t.Skip("this kernel mounts no xfs without file types (CONFIG_XFS_SUPPORT_V4)")
			} else if errors.Is(err, unix.ENODEV) {
				t.Skip("this kernel has no xfs")
			} else if err != nil {
				t.Fatalf("mount xfs: %v", err)
			}
			o := layers(t, lower(dir("d", file("a", "lower"), file("b", "gone"))))
			o.upper, o.work = at+"/upper", at+"/work"
			o.do("make the upper layer", os.Mkdir(o.upper, 0o755))
			o.do("make the work directory", os.Mkdir(o.work, 0o755))
			o.do("mount the overlay", o.mount())
			o.write("d/a", "changed")
			o.unlink("d/b")
			o.everyView(func(v view) {
				if b, err := os.ReadFile(o.at("d/a")); err != nil || string(b) != "changed" {
					t.Errorf("%s: d/a reads %q (%v), want changed", v, b, err)
				}
				o.refused(string(v)+": stat of a removed file", unix.Access(o.at("d/b"), unix.F_OK), unix.ENOENT)
			})
		},
	},
	{
		Name: "unlike-vfat", Disks: []string{"vfat"},
		Doc: "A file system that takes names for the same that are not, as vfat does, is refused as any layer with EINVAL (fs/overlayfs/util.c, ovl_dentry_weird).",
		Run: func(t *suites.T) {
			at := t.Dir() + "/vfat"
			mountDisk(t, "vfat", at, 0, "")
			o := layers(t, lower(file("a", "lower")))
			good := o.lowers
			o.lowers = []string{at}
			o.refused("mount with a lower layer on vfat", o.mount(), unix.EINVAL)
			o.lowers = good
			o.upper, o.work = at+"/upper", at+"/work"
			o.do("make the upper layer", os.Mkdir(o.upper, 0o755))
			o.do("make the work directory", os.Mkdir(o.work, 0o755))
			o.refused("mount with an upper layer on vfat", o.mount(), unix.EINVAL)
			o.work = ""
		},
	},
	{
		Name: "unlike-casefold", Disks: []string{"ext4-casefold"},
		Doc: "A directory that takes names of another case for the same is refused as a layer over one that does not (overlayfs.rst since 6.17, casefold; fs/overlayfs/util.c, ovl_dentry_weird).",
		Run: func(t *suites.T) {
			at := t.Dir() + "/folded"
			d := attach(t, t.Disk("ext4-casefold"))
			if err := tryMount(t, d.path, "ext4", at, 0, ""); err != nil {
				t.Skipf("this kernel mounts no ext4 that folds cases: %v", err)
			}
			const casefold = 0x40000000 // FS_CASEFOLD_FL
			o := layers(t, lower(file("a", "lower")))
			folded := at + "/lower"
			o.do("make a layer", os.Mkdir(folded, 0o755))
			o.do("have it fold cases", withFd(unix.O_RDONLY, func(fd int) error {
				return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, casefold)
			})(folded))
			o.do("make a file", os.WriteFile(folded+"/Name", nil, 0o644))
			o.do("find it by another case", unix.Access(folded+"/nAME", unix.F_OK))
			o.lowers = []string{folded}
			o.remember()
			o.refused("mount", o.mount(), unix.EINVAL)
		},
	},
	{
		Name: "unlike-xino-auto", Disks: []string{"ext4"},
		Doc: "With xino=auto, lower layers whose inode numbers have 32 bits at most, as those of ext4, give every file the device number of the mount, and a number that copying up does not change (overlayfs.rst, inode properties).",
		Run: func(t *suites.T) {
			at := t.Dir() + "/elsewhere"
			mountDisk(t, "ext4", at, 0, "")
			o := newOverlay(t, allOn("ext4", ""), option("xino=auto"), func(o *overlay) {
				o.do("make a layer", dir("lower", dir("d", file("a", "lower"), symlink("l", "a"), fifo("p"))).make(at))
				o.lowers = append(o.lowers, at+"/lower")
			})
			before := map[string]identity{}
			for _, name := range []string{"d", "d/a", "d/l", "d/p"} {
				before[name] = o.identity(name)
				if dev := o.identity(".").dev; before[name].dev != dev {
					t.Errorf("%s is on device %#x, want that of the mount, %#x", name, before[name].dev, dev)
				}
				o.do("copy up", unix.Lchown(o.at(name), 1, 1))
			}
			o.everyView(func(v view) {
				for name, was := range before {
					if is := o.identity(name); is.ino != was.ino || is.dev != o.identity(".").dev {
						t.Errorf("%s: %s is %v, was %v", v, name, is, was)
					}
				}
			})
			o.shows(dir("d", file("a", "lower").owned(1, 1), symlink("l", "a").owned(1, 1), fifo("p").owned(1, 1)).owned(1, 1))
		},
	},
	{
		Name: "unlike-same-uuid", Disks: []string{"ext4"},
		Doc: "Files of two lower file systems of one UUID, as a disk and its copy are, stay apart although their inode numbers are the same (fs/overlayfs/super.c, ovl_lower_uuid_ok).",
		Run: func(t *suites.T) {
			o := layers(t, func(o *overlay) {
				for _, name := range []string{"first", "second"} {
					at := filepath.Join(t.Dir(), name)
					mountDisk(t, "ext4", at, 0, "") // each is a copy of one image
					o.do("make a layer", dir("lower", file("of-"+name, name)).make(at))
					o.lowers = append(o.lowers, at+"/lower")
				}
			})
			o.do("mount the overlay", o.mount())
			a, b := o.identity("of-first"), o.identity("of-second")
			if a.ino != b.ino {
				t.Fatalf("the files' numbers are %d and %d, and should be the same", a.ino, b.ino)
			}
			if a == b {
				t.Errorf("two files are both %v", a)
			}
			o.shows(file("of-first", "first"), file("of-second", "second"))
			o.chmod("of-first", 0o600) // its number changes, there being no telling where it is from
			o.compare("copied up", o.merged, []node{file("of-first", "first").perm(0o600), file("of-second", "second")})
		},
	},
	{
		Name: "unlike-uuid-changed", Disks: []string{"ext4"},
		Doc: "With index, layers whose file system was given another UUID are stale; with uuid=off they are not (overlayfs.rst since 5.10, UUID and fsid: uuid=off; sharing and copying layers).",
		Run: func(t *suites.T) {
			for uuid, want := range map[string]error{"": unix.ESTALE, "uuid=off": nil} {
				o := layers(t, allOn("ext4", ""), option("index=on"), lower(file("a", "lower"), file("b", "below")))
				if uuid != "" {
					o.options = append(o.options, uuid)
				}
				err := o.mount()
				if errors.Is(err, unix.EINVAL) {
					t.Skip("this kernel's overlayfs has no uuid=off (5.10)")
				}
				o.do("mount the overlay", err)
				o.chmod("a", 0o600)
				was := o.identity("a")
				o.unmount()
				o.changeUUID()
				if err := o.mount(); !errors.Is(err, want) {
					t.Errorf("with %q: mount after the UUID was changed: %v, want %v", uuid, outcome(err), outcome(want))
				}
				if want == nil {
					if is := o.identity("a"); is.ino != was.ino {
						t.Errorf("a is inode %d, was %d", is.ino, was.ino)
					}
					o.shows(file("a", "lower").perm(0o600), file("b", "below"))
				}
			}
		},
	},
	{
		Name: "unlike-copied-disk", Disks: []string{"ext4"},
		Doc: "A disk copied as it is, with all layers on it, is mounted with index as before (overlayfs.rst, sharing and copying layers: the UUID and the file handles are the same).",
		Run: func(t *suites.T) {
			o := newOverlay(t, allOn("ext4", ""), option("index=on"), lower(file("a", "lower"), file("b", "below")))
			o.chmod("a", 0o600)
			was := o.identity("a")
			o.do("sync the disk", withFd(unix.O_RDONLY, unix.Syncfs)(o.dir))
			after := o.powerCut()
			o.do("mount the copy", after.mount())
			if is := after.identity("a"); is.ino != was.ino {
				t.Errorf("a is inode %d, was %d", is.ino, was.ino)
			}
			after.shows(file("a", "lower").perm(0o600), file("b", "below"))
		},
	},
	{
		Name: "unlike-copied-layers", Disks: []string{"ext4"},
		Doc: "Layers copied file by file are stale with index, and are mounted without it (overlayfs.rst, sharing and copying layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, allOn("ext4", ""), option("index=on"), lower(file("a", "lower"), file("b", "below")))
			o.chmod("a", 0o600)
			o.unmount()
			root, err := getXattr(o.upper, origin)
			o.do("read the upper layer's origin", err)
			at := t.Dir() + "/to"
			mountDisk(t, "ext4", at, 0, "")
			to := &overlay{t: t, dir: at, lowerFS: at, options: o.options}
			lower(file("a", "lower"), file("b", "below"))(to)
			to.upper, to.work, to.merged = to.layer("upper", []node{file("a", "lower").perm(0o600)}), to.layer("work", nil), to.layer("merged", nil)
			o.do("copy the upper layer's attribute", unix.Setxattr(to.upper, origin, []byte(root), 0))
			to.remember()
			t.Cleanup(to.checkInvariants)
			o.refused("mount the copy with index", to.mount(), unix.ESTALE)
			to.options = []string{"index=off"}
			o.do("mount the copy without index", to.mount())
			to.meddled = true
			to.shows(file("a", "lower").perm(0o600), file("b", "below"))
		},
	},
}

// upperOn puts the upper layer and the work directory on a file system of their
// own that needs no disk.
func upperOn(fs, options string) part {
	return func(o *overlay) {
		o.t.Helper()
		at := o.layer("upperfs", nil)
		o.do("mount a file system for the upper layer", unix.Mount(fs, at, fs, 0, options))
		o.t.Cleanup(func() { o.do("unmount the upper layer's file system", unix.Unmount(at, 0)) })
		o.upper, o.work = at+"/upper", at+"/work"
		o.do("make the upper layer", os.Mkdir(o.upper, 0o755))
		o.do("make the work directory", os.Mkdir(o.work, 0o755))
	}
}

// changeUUID gives the overlay's disk another UUID (EXT4_IOC_SETFSUUID of
// fs/ext4/ext4.h, since 6.0).
func (o *overlay) changeUUID() {
	o.t.Helper()
	const setUUID = 0x4008662c
	arg := struct { // struct fsuuid
		Len, Flags uint32
		UUID       [16]byte
	}{Len: 16, UUID: [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}
	err := withFd(unix.O_RDONLY, func(fd int) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), setUUID, uintptr(unsafe.Pointer(&arg))); errno != 0 {
			return errno
		}
		return nil
	})(o.dir)
	if errors.Is(err, unix.ENOTTY) {
		o.t.Skip("this kernel's ext4 changes no UUID while mounted (6.0)")
	}
	o.do("change the UUID", err)
	o.do("unmount the disk", unix.Unmount(o.dir, 0))
	o.do("mount the disk again", unix.Mount(o.disk.path, o.dir, "ext4", 0, ""))
}
