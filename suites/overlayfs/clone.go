package overlayfs

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// cloned is the size of the files that share their data.
const cloned = 1 << 20

// cloneCases are about file systems that let files share their data. They run
// on xfs, and on btrfs where that is worth it.
func cloneCases() []suites.Case {
	var all []suites.Case
	for _, disk := range []string{"xfs", "btrfs"} {
		all = append(all, withDisks(disk, "", []suites.Case{
			{
				Name: "clone-copy-up-" + disk,
				Doc:  "On " + disk + " a file is copied up by sharing its data with the lower one, and each keeps its own content (fs/overlayfs/copy_up.c since 4.10, do_clone_file_range).",
				Run: func(t *suites.T) {
					big := long(cloned)
					o := cloneOverlay(t, disk, lower(file("a", big)))
					o.chmod("a", 0o600)
					if !o.shared(o.inUpper("a")) {
						t.Error("the upper file has data of its own, want it shared with the lower one")
					}
					o.do("write", withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "changed") })(o.at("a")))
					o.shows(file("a", "changed"+big[7:]).perm(0o600))
				},
			},
			{
				Name: "clone-file-" + disk,
				Doc:  "On " + disk + " FICLONE makes a file of the overlay share its data with a lower one, which is not copied up for it (ioctl_ficlone(2)).",
				Run: func(t *suites.T) {
					big := long(cloned)
					o := cloneOverlay(t, disk, lower(file("a", big)))
					to, from := o.open("b", unix.O_CREAT|unix.O_WRONLY), o.open("a", unix.O_RDONLY)
					o.do("clone", errors.Join(unix.IoctlFileClone(to, from), unix.Close(to), unix.Close(from)))
					if !o.shared(o.inUpper("b")) {
						t.Error("the clone has data of its own")
					}
					o.upperHolds(file("b", big))
					o.shows(file("a", big), file("b", big))
				},
			},
			{
				Name: "clone-range-" + disk,
				Doc:  "On " + disk + " FICLONERANGE replaces a part of a lower file, which is copied up, by that of another (ioctl_ficlonerange(2)).",
				Run: func(t *suites.T) {
					big := long(cloned)
					other := long(2 * cloned)[cloned:]
					o := cloneOverlay(t, disk, lower(file("a", big), file("b", other)))
					to, from := o.open("b", unix.O_WRONLY), o.open("a", unix.O_RDONLY)
					arg := unix.FileCloneRange{Src_fd: int64(from), Src_offset: 64 << 10, Src_length: 128 << 10, Dest_offset: 256 << 10}
					o.do("clone", errors.Join(unix.IoctlFileCloneRange(to, &arg), unix.Close(to), unix.Close(from)))
					o.shows(file("a", big), file("b", other[:256<<10]+big[64<<10:192<<10]+other[384<<10:]))
				},
			},
			{
				Name: "clone-same-" + disk,
				Doc:  "On " + disk + " FIDEDUPERANGE makes upper files share what is the same in both, and refuses to do so to a lower file with EPERM, which is not copied up (ioctl_fideduperange(2); fs/overlayfs/file.c, ovl_remap_file_range).",
				Run: func(t *suites.T) {
					big := long(cloned)
					o := cloneOverlay(t, disk, lower(file("a", big)))
					o.write("b", big)
					o.write("c", big)
					if got := o.dedupe("b", "c", unix.O_RDWR); got != int32(len(big)) {
						t.Errorf("deduping upper files gave %d, want %d", got, len(big))
					}
					if got := o.dedupe("b", "a", unix.O_RDONLY); got != -int32(unix.EPERM) {
						t.Errorf("deduping a lower file gave %d, want EPERM", got)
					}
					o.upperHolds(file("b", big), file("c", big))
					o.shows(file("a", big), file("b", big), file("c", big))
				},
			},
		})...)
	}
	return append(all, withDisks("ext4", "", []suites.Case{{
		Name: "clone-not-there",
		Doc:  "Where the file system cannot share data FICLONE is refused with EOPNOTSUPP and changes nothing, and files are copied up all the same (ioctl_ficlone(2)).",
		Run: func(t *suites.T) {
			big := long(cloned)
			o := newOverlay(t, allOn("ext4", ""), lower(file("a", big), file("b", "kept")))
			to, from := o.open("b", unix.O_WRONLY), o.open("a", unix.O_RDONLY)
			o.refused("clone", unix.IoctlFileClone(to, from), unix.EOPNOTSUPP)
			unix.Close(to)
			unix.Close(from)
			o.chmod("a", 0o600)
			o.shows(file("a", big).perm(0o600), file("b", "kept"))
		},
	}})...)
}

// cloneOverlay is an overlay all on the disk, whose lower layer's data is on it,
// so that there is something to share.
func cloneOverlay(t *suites.T, disk string, parts ...part) *overlay {
	t.Helper()
	o := newOverlay(t, append([]part{allOn(disk, "")}, parts...)...)
	o.do("sync the disk", withFd(unix.O_RDONLY, unix.Syncfs)(o.dir))
	return o
}

// dedupe has the first file's data shared with the second, and returns how many
// bytes were, or an errno made negative.
func (o *overlay) dedupe(from, to string, flags int) int32 {
	o.t.Helper()
	src, dst := o.open(from, unix.O_RDONLY), o.open(to, flags)
	arg := unix.FileDedupeRange{Src_length: uint64(o.stat(from).Size), Info: []unix.FileDedupeRangeInfo{{Dest_fd: int64(dst)}}}
	o.do("dedupe", errors.Join(unix.IoctlFileDedupeRange(src, &arg), unix.Close(src), unix.Close(dst)))
	if arg.Info[0].Status < 0 {
		return arg.Info[0].Status
	}
	return int32(arg.Info[0].Bytes_deduped)
}

// An extent is where a part of a file lies, as struct fiemap_extent of
// include/uapi/linux/fiemap.h has it.
type extent struct {
	Logical, Physical, Length uint64
	_                         [2]uint64
	Flags                     uint32
	_                         [3]uint32
}

// fiemapShared says that other files have the extent's data, too.
const fiemapShared = 0x2000

// extentsOf maps a file by FS_IOC_FIEMAP (Documentation/filesystems/fiemap.rst).
func extentsOf(path string) ([]extent, error) {
	const fiemap, syncFirst = 0xc020660b, 1
	var arg struct {
		Start, Length        uint64
		Flags, Mapped, Count uint32
		_                    uint32
		Extents              [64]extent
	}
	arg.Length, arg.Flags, arg.Count = ^uint64(0), syncFirst, uint32(len(arg.Extents))
	err := withFd(unix.O_RDONLY, func(fd int) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fiemap, uintptr(unsafe.Pointer(&arg))); errno != 0 {
			return errno
		}
		return nil
	})(path)
	return arg.Extents[:arg.Mapped], err
}

// shared reports whether all data of the file is shared.
func (o *overlay) shared(path string) bool {
	o.t.Helper()
	extents, err := extentsOf(path)
	o.do("map the file's data", err)
	for _, e := range extents {
		if e.Flags&fiemapShared == 0 {
			return false
		}
	}
	return len(extents) > 0
}
