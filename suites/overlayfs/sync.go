package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// syncCases are about what is on the disk, and when.
var syncCases = withDisks("ext4", "", []suites.Case{
	{
		Name: "sync-file",
		Doc:  "fsync(2) and fdatasync(2) of a copied up file bring what was written to the disk (fsync(2)).",
		Run: func(t *suites.T) {
			for name, sync := range map[string]func(int) error{"fsync": unix.Fsync, "fdatasync": unix.Fdatasync} {
				o := diskOverlay(t, nil, lower(file("a", "lower")))
				fd := o.open("a", unix.O_WRONLY|unix.O_TRUNC)
				o.do("write", writeAll(fd, long(20000)))
				if n := o.writes(name, func() error { return sync(fd) }); n < 20000/512 {
					t.Errorf("%s wrote %d sectors to the disk, want at least %d", name, n, 20000/512)
				}
				unix.Close(fd)
				o.keeps(file("a", long(20000)))
			}
		},
	},
	{
		Name: "sync-lower-file",
		Doc:  "fsync(2) of a lower file that is open for reading succeeds and writes nothing (fs/overlayfs/file.c, ovl_fsync).",
		Run: func(t *suites.T) {
			o := diskOverlay(t, nil, lower(file("a", "lower")), upper(file("b", "")))
			fd := o.open("a", unix.O_RDONLY)
			o.writesNothing("fsync", func(int) error {
				o.flushed()
				o.write("b", "dirty")
				return nil
			}, func(int) error { return unix.Fsync(fd) })
			unix.Close(fd)
			o.shows(file("a", "lower"), file("b", "dirty"))
		},
	},
	{
		Name: "sync-file-system",
		Doc:  "syncfs(2) on the overlay brings all that was written through it to the disk (sync(2); fs/overlayfs/super.c, ovl_sync_fs).",
		Run: func(t *suites.T) {
			syncAll(t, func(o *overlay) error { return withFd(unix.O_RDONLY, unix.Syncfs)(o.merged) })
		},
	},
	{
		Name: "sync-everything",
		Doc:  "sync(2) brings all that was written through the overlay to the disk (sync(2)).",
		Run:  func(t *suites.T) { syncAll(t, func(*overlay) error { unix.Sync(); return nil }) },
	},
	{
		Name: "sync-remount-read-only",
		Doc:  "Remounting read-only brings all that was written to the disk (fs/overlayfs/super.c, ovl_remount).",
		Run: func(t *suites.T) {
			syncAll(t, func(o *overlay) error { return unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_RDONLY, "") })
		},
	},
	{
		Name: "sync-unmount",
		Doc:  "Unmounting the overlay brings all that was written to the disk (fs/overlayfs/super.c, ovl_sync_fs).",
		Run: func(t *suites.T) {
			syncAll(t, func(o *overlay) error { o.mounted = false; return unix.Unmount(o.merged, 0) })
		},
	},
	{
		Name: "sync-copy-up",
		Doc:  "A file that was copied up is whole after a power cut as soon as its name is on the disk (fs/overlayfs/copy_up.c, ovl_copy_up_file: the data is synced before the file gets its name).",
		Run: func(t *suites.T) {
			o := diskOverlay(t, nil, lower(file("a", long(300_000)), file("other", "")))
			o.chmod("a", 0o600)
			o.commit()
			after := o.powerCut()
			if _, err := os.Lstat(after.inUpper("a")); err != nil {
				t.Fatalf("the name is not on the disk although the journal was committed: %v", err)
			}
			o.do("mount the overlay after a power cut", after.mount())
			after.compare("after a power cut", after.merged, []node{file("a", long(300_000)).perm(0o600), file("other", "")})
		},
	},
	{
		Name: "sync-rename",
		Doc:  "A file written anew, synced and renamed over a lower one is there after a power cut once the directory was synced (fsync(2)).",
		Run: func(t *suites.T) {
			o := diskOverlay(t, nil, lower(dir("d", file("a", "old"))))
			fd := o.open("d/new", unix.O_CREAT|unix.O_WRONLY)
			o.do("write and sync", errors.Join(writeAll(fd, "new"), unix.Fsync(fd), unix.Close(fd)))
			o.rename("d/new", "d/a")
			o.do("sync the directory", withFd(unix.O_RDONLY, unix.Fsync)(o.at("d")))
			o.keeps(dir("d", file("a", "new")))
		},
	},
	{
		Name: "sync-whiteout",
		Doc:  "A lower file that was removed stays away after a power cut once the directory was synced (fsync(2)).",
		Run: func(t *suites.T) {
			o := diskOverlay(t, nil, lower(dir("d", file("a", "old"), file("b", "kept"))))
			o.unlink("d/a")
			o.do("sync the directory", withFd(unix.O_RDONLY, unix.Fsync)(o.at("d")))
			o.keeps(dir("d", file("b", "kept")))
		},
	},
	{
		Name: "sync-redirect",
		Doc:  "A lower directory that was renamed is whole at its new name after a power cut once the parents were synced (overlayfs.rst, renaming directories; fsync(2)).",
		Run: func(t *suites.T) {
			o := diskOverlay(t, []part{option("redirect_dir=on")}, lower(dir("d", file("a", "old"), dir("e", file("b", "deep"))), dir("to")))
			o.rename("d", "to/moved")
			o.do("sync the directories", errors.Join(withFd(unix.O_RDONLY, unix.Fsync)(o.at("to")), withFd(unix.O_RDONLY, unix.Fsync)(o.merged)))
			o.keeps(dir("to", dir("moved", file("a", "old"), dir("e", file("b", "deep")))))
		},
	},
	{
		Name: "sync-opaque",
		Doc:  "A directory made in the place of a removed one is empty after a power cut once the parent was synced (overlayfs.rst, whiteouts and opaque directories; fsync(2)).",
		Run: func(t *suites.T) {
			o := diskOverlay(t, nil, lower(dir("d", file("a", "old"))))
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("d")
			o.do("sync the directory", withFd(unix.O_RDONLY, unix.Fsync)(o.merged))
			o.keeps(dir("d"))
		},
	},
	{
		Name: "sync-volatile",
		Doc:  "On a volatile mount no kind of sync writes to the disk, and copying up does not (overlayfs.rst since 5.10, volatile mount).",
		Run: func(t *suites.T) {
			o := layers(t, allOn("ext4", lazyJournal), lower(file("0", long(100_000)), file("1", long(100_000)), file("2", long(100_000))))
			o.options = append(o.options, "volatile")
			if err := o.mount(); errors.Is(err, unix.EINVAL) {
				t.Skip("this kernel's overlayfs has no volatile mounts (5.10)")
			} else {
				o.do("mount", err)
			}
			o.flushed()
			o.writesNothing("copy up, write and sync", func(int) error { return nil }, func(try int) error {
				return withFd(unix.O_WRONLY, func(fd int) error {
					return errors.Join(writeAll(fd, "changed"), unix.Fsync(fd), unix.Fdatasync(fd), unix.Syncfs(fd))
				})(o.at(strconv.Itoa(try)))
			})
			o.endVolatile()
		},
	},
	{
		Name: "freeze-upper",
		Doc:  "While the upper layer's file system is frozen, a write through the overlay waits, and goes on when it is thawed; the overlay itself cannot be frozen (ioctl_fsfreeze in fs/ioctl.c).",
		Run:  freezeUpper,
	},
})

// diskOverlay is an overlay on ext4 all of which is on the disk, and from which
// nothing reaches the disk by itself. options come before the layers.
func diskOverlay(t *suites.T, options []part, parts ...part) *overlay {
	t.Helper()
	o := newOverlay(t, append(append([]part{allOn("ext4", lazyJournal)}, options...), parts...)...)
	o.flushed()
	return o
}

// syncAll wants the deed to bring to the disk what was done before.
func syncAll(t *suites.T, deed func(*overlay) error) {
	t.Helper()
	o := diskOverlay(t, nil, lower(dir("d", file("a", "lower"), file("b", "gone"))))
	o.write("d/a", "changed")
	o.write("d/new", long(20000))
	o.unlink("d/b")
	if n := o.writes("sync", func() error { return deed(o) }); n < 20000/512 {
		t.Errorf("%d sectors were written to the disk, want at least %d", n, 20000/512)
	}
	o.keeps(dir("d", file("a", "changed"), file("new", long(20000))))
	if o.mounted {
		o.do("remount read-write", unix.Mount("", o.merged, "", unix.MS_REMOUNT, ""))
	}
}

// commit has the journal of the disk written, by syncing a file that was not
// touched by the case before.
func (o *overlay) commit() {
	o.t.Helper()
	fd, err := unix.Open(o.dir+"/other", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	o.do("make a file beside the layers", err)
	o.do("sync it", errors.Join(unix.Fsync(fd), unix.Close(fd)))
}

// FIFREEZE and FITHAW are of include/uapi/linux/fs.h.
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

func freezeUpper(t *suites.T) {
	o := newOverlay(t, allOn("ext4", ""), lower(file("a", "lower")))
	fd := o.open("a", unix.O_WRONLY)
	defer unix.Close(fd)
	freeze := func(path string, request uint) error {
		return withFd(unix.O_RDONLY, func(fd int) error { return unix.IoctlSetInt(fd, request, 0) })(path)
	}
	o.refused("freeze the overlay", freeze(o.merged, fiFreeze), unix.EOPNOTSUPP)
	o.do("freeze the upper layer's file system", freeze(o.dir, fiFreeze))
	frozen := true
	thaw := func() {
		if frozen {
			o.do("thaw", freeze(o.dir, fiThaw))
			frozen = false
		}
	}
	t.Cleanup(thaw)
	tid, done := make(chan int), make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		tid <- unix.Gettid()
		done <- writeAll(fd, "frozen")
	}()
	stat := fmt.Sprintf("/proc/self/task/%d/stat", <-tid)
	for waits := false; !waits; {
		select {
		case err := <-done:
			t.Fatalf("the write ended while the file system was frozen (%v)", err)
		default:
			b, err := os.ReadFile(stat)
			o.do("look at the writer", err)
			_, state, _ := strings.Cut(string(b), ") ")
			waits = strings.HasPrefix(state, "D") // proc(5): waiting in uninterruptible sleep
		}
	}
	thaw()
	o.do("write when it is thawed", <-done)
	if b, err := os.ReadFile(o.at("a")); err != nil || string(b) != "frozen" {
		t.Errorf("a reads %q (%v), want frozen", b, err)
	}
}
