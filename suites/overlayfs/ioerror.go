package overlayfs

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// errorCases have a disk fail under a layer. The file system has no journal, so
// that what fails is the files' data and not the file system.
var errorCases = withDisks("ext4-no-journal", "dm_mod dm_flakey", []suites.Case{
	{
		Name: "error-lower-read",
		Doc:  "A file whose data cannot be read is not copied up: EIO, nothing of it is left above, and it is when it can be read again (open(2); fs/overlayfs/copy_up.c, ovl_copy_up_file).",
		Run: func(t *suites.T) {
			big := long(300_000)
			o, m := failing(t, true, dir("d", file("a", big), file("b", "")))
			o.stat("d/a")
			m.failAll()
			o.refused("open for writing", opened(unix.O_WRONLY)(o.at("d/a")), unix.EIO)
			o.checkWork()
			if _, err := os.Lstat(o.inUpper("d/a")); !errors.Is(err, unix.ENOENT) {
				t.Errorf("d/a is in the upper layer (%v), want nothing", err)
			}
			m.pass()
			o.do("write when it can be read", withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "L") })(o.at("d/a")))
			o.shows(dir("d", file("a", "L"+big[1:]), file("b", "")))
		},
	},
	{
		Name: "error-lower-read-truncating",
		Doc:  "A file opened truncating is copied up without its data, which need not be readable (fs/overlayfs/copy_up.c, ovl_copy_up_flags).",
		Run: func(t *suites.T) {
			o, m := failing(t, true, file("a", long(300_000)))
			o.stat("a")
			m.failAll()
			o.do("open truncating", opened(unix.O_WRONLY|unix.O_TRUNC)(o.at("a")))
			m.pass()
			o.shows(file("a", ""))
		},
	},
	{
		Name: "error-upper-write",
		Doc:  "A file whose data cannot be written to the upper layer's disk is not copied up: EIO, nothing of it is left, and it is when the disk can be written to (fs/overlayfs/copy_up.c, ovl_copy_up_file).",
		Run: func(t *suites.T) {
			big := long(300_000)
			o, m := failing(t, false, file("a", big))
			m.failWrites()
			o.refused("open for writing", opened(unix.O_WRONLY)(o.at("a")), unix.EIO)
			o.checkWork()
			o.upperHolds()
			m.pass()
			o.chmod("a", 0o600)
			o.shows(file("a", big).perm(0o600))
		},
	},
	{
		Name: "error-reported-once",
		Doc:  "That written data did not reach the disk is said by fsync(2) once to each descriptor (fsync(2); Documentation/filesystems/vfs.rst, handling errors during writeback).",
		Run: func(t *suites.T) {
			o, m := failing(t, false, file("a", "lower"))
			first, second := o.open("a", unix.O_RDWR), o.open("a", unix.O_RDWR)
			o.do("write", writeAll(first, "LOWER"))
			m.failWrites()
			o.refused("fsync by the first descriptor", unix.Fsync(first), unix.EIO)
			m.pass()
			o.do("fsync by the first descriptor again", unix.Fsync(first))
			o.refused("fsync by the second descriptor", unix.Fsync(second), unix.EIO)
			o.do("fsync by the second descriptor again", unix.Fsync(second))
			o.do("write again and sync", errors.Join(writeAll(second, "lower"), unix.Fsync(second)))
			unix.Close(first)
			unix.Close(second)
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "error-syncfs",
		Doc:  "That written data did not reach the upper layer's disk is said by syncfs(2) on the overlay (syncfs(2) since 5.8; fs/overlayfs/super.c, ovl_sync_fs).",
		Run: func(t *suites.T) {
			o, m := failing(t, false, file("a", "lower"))
			fd := o.open("a", unix.O_RDWR)
			o.do("write", writeAll(fd, "LOWER"))
			m.failWrites()
			err := unix.Syncfs(fd)
			m.pass()
			o.refused("syncfs", err, unix.EIO)
			unix.Close(fd)
			o.write("a", "again")
			o.shows(file("a", "again"))
		},
	},
	{
		Name: "error-volatile-sticks",
		Doc:  "After data of a volatile mount did not reach the disk, every sync fails until the overlay is mounted anew (overlayfs.rst since 5.12, volatile mount).",
		Run: func(t *suites.T) {
			o, m := failingLayers(t, false, file("a", "lower"), file("b", ""))
			o.options = append(o.options, "volatile")
			if err := o.mount(); errors.Is(err, unix.EINVAL) {
				t.Skip("this kernel's overlayfs has no volatile mounts (5.10)")
			} else {
				o.do("mount", err)
			}
			fd := o.open("a", unix.O_RDWR)
			o.do("write", writeAll(fd, "LOWER"))
			o.do("sync before it fails", errors.Join(unix.Fsync(fd), unix.Syncfs(fd)))
			m.failWrites()
			err := withFd(unix.O_RDONLY, unix.Syncfs)(filepath.Dir(o.upper)) // which writes what is dirty
			m.pass()
			o.refused("sync the disk itself", err, unix.EIO)
			for range 2 {
				o.refused("fsync", unix.Fsync(fd), unix.EIO)
				o.refused("fdatasync", unix.Fdatasync(fd), unix.EIO)
				o.refused("syncfs", unix.Syncfs(fd), unix.EIO)
				o.refused("fsync of another file", withFd(unix.O_WRONLY, unix.Fsync)(o.at("b")), unix.EIO)
			}
			unix.Close(fd)
			o.endVolatile()
			o.do("mount anew", o.mount())
			o.do("sync", withFd(unix.O_WRONLY, unix.Fsync)(o.at("b")))
			o.endVolatile()
		},
	},
	{
		Name: "error-lower-list",
		Doc:  "A lower directory that cannot be read is listed with an error, and whole when it can be read again (readdir(3)).",
		Run: func(t *suites.T) {
			var many []node
			for _, n := range []string{"a", "b", "c"} {
				many = append(many, file(n, n))
			}
			o, m := failing(t, true, dir("d", many...))
			o.stat("d")
			m.failAll()
			_, err := os.ReadDir(o.at("d"))
			m.pass()
			o.refused("list", err, unix.EIO)
			o.shows(dir("d", many...))
		},
	},
})

// failing is an overlay whose lower layer, or else its upper one, is on a disk
// that can be told to fail. Nothing of it is in the caches.
func failing(t *suites.T, lowerFails bool, nodes ...node) (*overlay, *mapped) {
	t.Helper()
	o, m := failingLayers(t, lowerFails, nodes...)
	o.do("mount the overlay", o.mount())
	return o, m
}

func failingLayers(t *suites.T, lowerFails bool, nodes ...node) (*overlay, *mapped) {
	t.Helper()
	m := mapOver(t, "ext4-no-journal")
	at := t.TempDir()
	mountDevice(t, m.path, "ext4", at, 0, "")
	if !lowerFails {
		o := layers(t, lower(nodes...), func(o *overlay) {
			o.upper, o.work = at+"/upper", at+"/work"
			o.do("make the upper layer", os.Mkdir(o.upper, 0o755))
			o.do("make the work directory", os.Mkdir(o.work, 0o755))
		})
		o.holdWriteback()
		return o, m
	}
	if err := dir("lower", nodes...).make(at); err != nil {
		t.Fatal(err)
	}
	o := layers(t, func(o *overlay) { o.lowers = []string{at + "/lower"} })
	// The kernel forgets what the disk holds.
	o.do("unmount the disk", unix.Unmount(at, 0))
	o.do("mount the disk again", unix.Mount(m.path, at, "ext4", 0, ""))
	return o, m
}
