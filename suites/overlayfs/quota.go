package overlayfs

import (
	"errors"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// quotaCases run into a limit of the disk the upper layer is on: of its room, its
// inodes, or of what a user or a project may have of it.
var quotaCases = []suites.Case{
	{
		Name:  "quota-user-write",
		Doc:   "A user who has used up the quota on the upper layer's file system writes no more through the overlay: EDQUOT, what was written before is kept (write(2)).",
		Disks: []string{"xfs"},
		Run: func(t *suites.T) {
			o := newOverlay(t, allOn("xfs", "uquota"), lower(file("a", "lower").owned(nobody, nobody)))
			o.limit(usrQuota, nobody, 64<<10)
			fd := o.open("a", unix.O_WRONLY|unix.O_APPEND)
			o.refused("write", fill(fd, 1<<20), unix.EDQUOT)
			unix.Close(fd)
			o.do("truncate", unix.Truncate(o.at("a"), 5))
			o.shows(file("a", "lower").owned(nobody, nobody))
		},
	},
	{
		Name:  "quota-project",
		Doc:   "What is copied up to a directory of a project counts for it, and finds no room beyond the project's limit: ENOSPC, as on xfs itself (xfs_quota(8)).",
		Disks: []string{"xfs"},
		Run: func(t *suites.T) {
			const project = 42
			big := long(4 << 20)
			o := layers(t, allOn("xfs", "pquota"), lower(file("a", big), file("b", "small")))
			for _, layer := range []string{o.upper, o.work} {
				o.setProject(layer, project)
			}
			o.limit(prjQuota, project, 2<<20)
			o.do("mount the overlay", o.mount())
			o.refused("chmod", unix.Chmod(o.at("a"), 0o600), unix.ENOSPC, unix.EDQUOT)
			o.checkWork()
			o.upperHolds()
			o.chmod("b", 0o600)
			if got := o.projectOf(o.inUpper("b")); got != project {
				t.Errorf("the copied up file is of project %d, want %d", got, project)
			}
			o.shows(file("a", big), file("b", "small").perm(0o600))
		},
	},
	{
		Name:  "quota-mounter",
		Doc:   "Without CAP_SYS_RESOURCE of the mounter the quota of ext4 holds for what is written through the overlay, whoever writes: EDQUOT (overlayfs.rst, permission model; quotactl(2)).",
		Disks: []string{"ext4-quota"},
		Run: func(t *suites.T) {
			big := long(256 << 10)
			o := layers(t, allOn("ext4-quota", "usrquota"), lower(file("a", big).owned(nobody, nobody), file("b", "small").owned(nobody, nobody)))
			o.limit(usrQuota, nobody, 300<<10) // the lower file has most of it
			o.do("mount the overlay", without([]int{unix.CAP_SYS_RESOURCE}, o.mount))
			o.refused("chmod", unix.Chmod(o.at("a"), 0o600), unix.EDQUOT)
			o.checkWork()
			o.upperHolds()
			fd := o.open("b", unix.O_WRONLY|unix.O_APPEND)
			o.refused("write", fill(fd, 1<<20), unix.EDQUOT)
			unix.Close(fd)
			o.limit(usrQuota, nobody, 0)
			o.chmod("a", 0o600)
			o.do("truncate", unix.Truncate(o.at("b"), 5))
			o.shows(file("a", big).owned(nobody, nobody).perm(0o600), file("b", "small").owned(nobody, nobody))
		},
	},
	{
		Name:  "full-disk",
		Doc:   "A file the disk has no room for is not copied up: ENOSPC, nothing of it is left, and it is when there is room (open(2)).",
		Disks: []string{"ext4"},
		Run: func(t *suites.T) {
			big := long(1 << 20)
			o := newOverlay(t, allOn("ext4", ""), lower(file("a", big), dir("d", dir("e", file("b", "small")))))
			o.fillDisk(256 << 10)
			o.refused("open for writing", opened(unix.O_WRONLY)(o.at("a")), unix.ENOSPC)
			o.checkWork()
			o.upperHolds()
			o.chmod("d/e/b", 0o600)
			o.do("make room", os.Remove(o.dir+"/fill"))
			o.chmod("a", 0o600)
			o.shows(file("a", big).perm(0o600), dir("d", dir("e", file("b", "small").perm(0o600))))
		},
	},
	{
		Name:  "full-disk-write",
		Doc:   "A write the disk has no room for is ENOSPC, and what was written before is kept (write(2)).",
		Disks: []string{"ext4"},
		Run: func(t *suites.T) {
			o := newOverlay(t, allOn("ext4", ""), lower(file("a", "lower")))
			fd := o.open("a", unix.O_WRONLY|unix.O_APPEND)
			o.fillDisk(64 << 10)
			o.refused("write", fill(fd, 4<<20), unix.ENOSPC)
			unix.Close(fd)
			o.do("truncate", unix.Truncate(o.at("a"), 5))
			o.do("make room", os.Remove(o.dir+"/fill"))
			o.shows(file("a", "lower"))
		},
	},
	{
		Name:  "full-disk-inodes",
		Doc:   "Where the disk has no inodes left nothing is copied up, removed or made: ENOSPC, all is as it was, and can be done when there are some (open(2), unlink(2)).",
		Disks: []string{"ext4-few-inodes"},
		Run: func(t *suites.T) {
			o := newOverlay(t, allOn("ext4-few-inodes", ""), lower(dir("d", file("a", "lower"), file("b", ""))))
			o.fillInodes(0)
			o.refused("chmod", unix.Chmod(o.at("d/a"), 0o600), unix.ENOSPC)
			o.refused("unlink", unix.Unlink(o.at("d/b")), unix.ENOSPC)
			o.refused("create", os.WriteFile(o.at("d/c"), nil, 0o600), unix.ENOSPC)
			o.checkWork()
			o.makeRoom()
			o.shows(dir("d", file("a", "lower"), file("b", "")))
			o.chmod("d/a", 0o600)
			o.unlink("d/b")
			o.shows(dir("d", file("a", "lower").perm(0o600)))
		},
	},
}

// fill writes up to so many bytes, and returns the error it meets.
func fill(fd, most int) (err error) {
	block := []byte(long(4096))
	for n := 0; err == nil && n < most; {
		var wrote int
		wrote, err = unix.Write(fd, block)
		n += wrote
	}
	if err == nil {
		err = unix.Fsync(fd) // room may be looked for late
	}
	return err
}

// fillDisk fills the disk but for so many bytes.
func (o *overlay) fillDisk(left int64) {
	o.t.Helper()
	fd, err := unix.Open(o.dir+"/fill", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	o.do("make a file to fill the disk", err)
	defer unix.Close(fd)
	size := int64(0)
	for step := int64(4 << 20); step >= 4096; {
		switch err := unix.Fallocate(fd, 0, size, step); {
		case errors.Is(err, unix.ENOSPC):
			step /= 2
		default:
			o.do("fill the disk", err)
			size += step
		}
	}
	o.do("leave room", unix.Ftruncate(fd, size-left))
	o.do("sync", unix.Fsync(fd))
}

// Kinds of quota (quotactl(2)).
const (
	usrQuota = 0
	prjQuota = 2
)

// limit sets how many bytes of the overlay's disk a user or project may have; 0
// takes the limit away. xfs has commands of its own (quotactl(2)).
func (o *overlay) limit(kind int, id int, bytes uint64) {
	o.t.Helper()
	if o.diskFS == "xfs" {
		o.limitXFS(kind, id, bytes)
		return
	}
	const setQuota, blockLimits = 0x800008, 1
	q := struct { // struct if_dqblk
		HardBlocks, SoftBlocks, Space                    uint64
		HardInodes, SoftInodes, Inodes, BlockTime, ITime uint64
		Valid                                            uint32
		_                                                uint32
	}{HardBlocks: bytes / 1024, SoftBlocks: bytes / 1024, Valid: blockLimits}
	o.do("set a quota", o.quotactl(setQuota, kind, id, unsafe.Pointer(&q)))
}

func (o *overlay) limitXFS(kind, id int, bytes uint64) {
	o.t.Helper()
	const setLimit, version, softLimit, hardLimit = 0x5804, 1, 1 << 2, 1 << 3
	q := struct { // struct fs_disk_quota; blocks are of 512 bytes
		Version, Flags int8
		Fields         uint16
		ID             uint32
		HardBlocks     uint64
		SoftBlocks     uint64
		_              [88]byte
	}{Version: version, Fields: softLimit | hardLimit, ID: uint32(id), HardBlocks: bytes / 512, SoftBlocks: bytes / 512}
	q.Flags = int8(1 << kind)
	o.do("set a quota", o.quotactl(setLimit, kind, id, unsafe.Pointer(&q)))
}

func (o *overlay) quotactl(command, kind, id int, arg unsafe.Pointer) error {
	device, err := unix.BytePtrFromString(o.disk.path)
	if err != nil {
		return err
	}
	code := uintptr(command)<<8 | uintptr(kind)
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL, code, uintptr(unsafe.Pointer(device)), uintptr(id), uintptr(arg), 0, 0)
	runtime.KeepAlive(device)
	if errno != 0 {
		return errno
	}
	return nil
}

// fsxattr is struct fsxattr of include/uapi/linux/fs.h.
type fsxattr struct {
	Flags, ExtentSize, Extents, Project, CowExtentSize uint32
	_                                                  [8]byte
}

const (
	fsGetXattr     = 0x801c581f // FS_IOC_FSGETXATTR
	fsSetXattr     = 0x401c5820 // FS_IOC_FSSETXATTR
	projectInherit = 0x200      // FS_XFLAG_PROJINHERIT
)

func (o *overlay) fsx(path string, change func(*fsxattr)) (x fsxattr) {
	o.t.Helper()
	o.do("get or set the project", withFd(unix.O_RDONLY, func(fd int) error {
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsGetXattr, uintptr(unsafe.Pointer(&x))); errno != 0 {
			return errno
		}
		if change == nil {
			return nil
		}
		change(&x)
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fsSetXattr, uintptr(unsafe.Pointer(&x))); errno != 0 {
			return errno
		}
		return nil
	})(path))
	return x
}

// setProject makes a directory, and what is made in it, part of a project.
func (o *overlay) setProject(path string, project uint32) {
	o.t.Helper()
	o.fsx(path, func(x *fsxattr) { x.Project = project; x.Flags |= projectInherit })
}

func (o *overlay) projectOf(path string) uint32 {
	o.t.Helper()
	return o.fsx(path, nil).Project
}
