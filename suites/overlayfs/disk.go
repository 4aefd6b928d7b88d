package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// disks are the file systems for what tmpfs does not have. They are mounted by
// loop devices; the images are sparse files on the case's tmpfs.
var disks = []suites.Disk{
	ext4("ext4", "-O", "metadata_csum_seed"), // so that its UUID can be changed
	ext4("ext4-quota", "-O", "quota,project", "-E", "quotatype=usrquota:prjquota"),
	ext4("ext4-casefold", "-O", "casefold", "-E", "encoding=utf8"),
	ext4("ext4-few-inodes", "-N", "32"),
	ext4("ext4-no-journal", "-O", "^has_journal"),
	xfs("xfs"),
	xfs("xfs-no-ftype", "-m", "crc=0", "-n", "ftype=0"),
	{Name: "btrfs", Tool: "mkfs.btrfs", Package: "btrfs-progs", Size: 128 << 20, Args: []string{"-q", "FILE"}, Modules: []string{"loop", "btrfs"}},
	{Name: "vfat", Tool: "mkfs.vfat", Package: "dosfstools", Size: 4 << 20, Args: []string{"FILE"}, Modules: []string{"loop", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1"}},
	{Name: "squashfs", Tool: "sqfstar", Package: "squashfs-tools", Args: []string{"-quiet", "-no-progress", "-exports", "FILE"}, Content: packFixed(fixedTree), Modules: []string{"loop", "squashfs"}},
	{Name: "erofs", Tool: "mkfs.erofs", Package: "erofs-utils", Args: []string{"--all-root", "FILE", "TREE"}, Content: packFixed(plainTree), Modules: []string{"loop", "erofs"}},
}

func ext4(name string, args ...string) suites.Disk {
	all := []string{"-q", "-F"}
	if !slices.Contains(args, "-N") {
		all = append(all, "-N", "4096")
	}
	// Nothing is left for the kernel to do when it is mounted.
	all = append(all, "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard")
	return suites.Disk{
		Name: name, Tool: "mkfs.ext4", Package: "e2fsprogs", Size: 64 << 20,
		Args: slices.Concat(all, args, []string{"FILE"}), Modules: []string{"loop", "ext4", "quota_v2"},
	}
}

// xfs is of the least size that mkfs.xfs makes since 5.19.
func xfs(name string, args ...string) suites.Disk {
	return suites.Disk{
		Name: name, Tool: "mkfs.xfs", Package: "xfsprogs", Size: 300 << 20,
		Args: slices.Concat([]string{"-q"}, args, []string{"FILE"}), Modules: []string{"loop", "xfs"},
	}
}

// withDisks gives the cases, which ask for the disks and load the modules.
func withDisks(names, loads string, cases []suites.Case) []suites.Case {
	var all []suites.Case
	for _, c := range cases {
		c.Disks = append(slices.Clone(c.Disks), strings.Fields(names)...)
		c.Loads = append(slices.Clone(c.Loads), strings.Fields(loads)...)
		all = append(all, c)
	}
	return all
}

// fsOf is the type of a disk's file system: its name up to the first dash.
func fsOf(name string) string {
	fs, _, _ := strings.Cut(name, "-")
	return fs
}

// A loop is a loop device with an image in it.
type loop struct {
	t     *suites.T
	path  string // /dev/loop0
	image string // the file behind it
	fd    int    // keeps it; -1 when it was detached
}

// attach puts an image into a loop device, until the case ends (loop(4)).
func attach(t *suites.T, image string) *loop {
	t.Helper()
	t.Load("loop")
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("this kernel has no loop devices")
	}
	defer unix.Close(control)
	number, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
	if err != nil {
		t.Fatalf("find a free loop device: %v", err)
	}
	d := &loop{t: t, path: fmt.Sprint("/dev/loop", number), image: image}
	if d.fd, err = unix.Open(d.path, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		t.Fatalf("open the loop device: %v", err)
	}
	t.Cleanup(d.detach)
	back, err := unix.Open(image, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open the image: %v", err)
	}
	defer unix.Close(back)
	if err := unix.IoctlSetInt(d.fd, unix.LOOP_SET_FD, back); err != nil {
		t.Fatalf("attach the image: %v", err)
	}
	return d
}

// detach takes the image out again. The device must not be in use.
func (d *loop) detach() {
	if d.fd < 0 {
		return
	}
	if err := unix.IoctlSetInt(d.fd, unix.LOOP_CLR_FD, 0); err != nil && !errors.Is(err, unix.ENXIO) {
		d.t.Errorf("detach the image: %v", err)
	}
	unix.Close(d.fd)
	d.fd = -1
}

// mountDisk mounts a new image of the disk at the directory, which it makes,
// until the case ends, and returns the device it is in.
func mountDisk(t *suites.T, name, at string, flags uintptr, options string) *loop {
	t.Helper()
	d := attach(t, t.Disk(name))
	mountDevice(t, d.path, fsOf(name), at, flags, options)
	return d
}

// mountDevice mounts what is in a device at the directory, which it makes, until
// the case ends. The case is skipped where the kernel has no such file system.
func mountDevice(t *suites.T, device, fs, at string, flags uintptr, options string) {
	t.Helper()
	err := tryMount(t, device, fs, at, flags, options)
	if errors.Is(err, unix.ENODEV) {
		t.Skipf("this kernel has no %s", fs)
	}
	if err != nil {
		t.Fatalf("mount %s: %v", fs, err)
	}
}

// tryMount is mountDevice for a case to judge how it went.
func tryMount(t *suites.T, device, fs, at string, flags uintptr, options string) error {
	t.Helper()
	for _, d := range disks {
		if fsOf(d.Name) == fs {
			t.Load(d.Modules...)
			break
		}
	}
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	err := unix.Mount(device, at, fs, flags, options)
	if err != nil {
		return err
	}
	t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: the case did
			t.Errorf("unmount %s: %v", filepath.Base(at), err)
			unix.Unmount(at, unix.MNT_DETACH)
		}
	})
	return nil
}

// allOn has all of the overlay on a disk of its own, mounted with options. It
// comes before the layers.
func allOn(name, options string) part {
	return func(o *overlay) {
		o.t.Helper()
		o.onDisk(name, options)
		o.lowerFS = o.dir
		o.upper, o.work, o.merged = o.layer("upper", nil), o.layer("work", nil), o.layer("merged", nil)
	}
}

// onDisk moves the overlay's place to a disk, before it has any layer.
func (o *overlay) onDisk(name, options string) {
	o.t.Helper()
	o.dir = filepath.Join(o.dir, "disk")
	o.disk, o.diskFS = mountDisk(o.t, name, o.dir, 0, options), fsOf(name)
	o.do("make the disk's root searchable", os.Chmod(o.dir, 0o755))
}

// lowerOn is a lower layer that is a disk.
func lowerOn(name string) part {
	return func(o *overlay) {
		o.t.Helper()
		at := filepath.Join(o.dir, name)
		mountDisk(o.t, name, at, unix.MS_RDONLY, "")
		o.lowers = append(o.lowers, at)
	}
}
