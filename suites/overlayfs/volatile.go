package overlayfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// volatileCases mount without a promise to keep what was written (overlayfs.rst
// since 5.10, volatile mount).
var volatileCases = []suites.Case{
	{
		Name: "volatile-leaves-a-mark",
		Doc:  "A volatile mount leaves a mark in the work directory, with which no other mount is made until it is removed (overlayfs.rst since 5.10, volatile mount).",
		Run: func(t *suites.T) {
			o := volatileOverlay(t, lower(file("a", "lower")))
			o.write("a", "changed")
			mark := filepath.Join(o.work, "work", "incompat", "volatile")
			o.do("stat the mark", unix.Access(mark, unix.F_OK))
			o.do("unmount", unix.Unmount(o.merged, 0))
			o.mounted = false
			o.refused("mount volatile again", o.mount(), unix.EINVAL)
			o.options = nil
			o.refused("mount without volatile", o.mount(), unix.EINVAL)
			o.do("remove the mark", os.RemoveAll(filepath.Join(o.work, "work", "incompat")))
			o.do("mount when the mark is gone", o.mount())
			o.shows(file("a", "changed"))
		},
	},
	{
		Name: "volatile-sync",
		Doc:  "On a volatile mount every kind of sync succeeds, and what was written is read (overlayfs.rst since 5.10, volatile mount).",
		Run: func(t *suites.T) {
			o := volatileOverlay(t, lower(file("a", "lower"), dir("d")))
			o.do("write and sync", withFd(unix.O_RDWR|unix.O_SYNC, func(fd int) error {
				return errors.Join(writeAll(fd, "L"), unix.Fsync(fd), unix.Fdatasync(fd), unix.Syncfs(fd))
			})(o.at("a")))
			o.do("sync a directory", withFd(unix.O_RDONLY, unix.Fsync)(o.at("d")))
			o.compare("volatile", o.merged, []node{file("a", "Lower"), dir("d")})
			o.endVolatile()
		},
	},
	{
		Name: "volatile-shown",
		Doc:  "mountinfo says that a mount is volatile (proc(5)).",
		Run: func(t *suites.T) {
			o := volatileOverlay(t, lower(file("a", "")))
			if got := o.mountinfo(); !strings.Contains(got, "volatile") {
				t.Errorf("mountinfo says %s, want volatile", got)
			}
			o.endVolatile()
		},
	},
	{
		Name: "volatile-remount",
		Doc:  "A volatile mount is remounted read-only and back (mount(2)).",
		Run: func(t *suites.T) {
			o := volatileOverlay(t, lower(file("a", "lower")))
			o.do("remount read-only", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			o.refused("create", os.WriteFile(o.at("b"), nil, 0o600), unix.EROFS)
			o.do("remount read-write", unix.Mount("", o.merged, "", unix.MS_REMOUNT, ""))
			o.write("b", "new")
			o.compare("volatile", o.merged, []node{file("a", "lower"), file("b", "new")})
			o.endVolatile()
		},
	},
	{
		Name: "volatile-without-upper",
		Doc:  "Without upper layer there is nothing volatile, and the mount may be repeated (fs/overlayfs/super.c, ovl_parse_opt).",
		Run: func(t *suites.T) {
			o := volatileOverlay(t, readOnly, lower(file("a", "1")), lower(file("b", "2")))
			o.shows(file("a", "1"), file("b", "2"))
		},
	},
}

// volatileOverlay is newOverlay with the option, where the kernel has it.
func volatileOverlay(t *suites.T, parts ...part) *overlay {
	t.Helper()
	o := layers(t, parts...)
	o.options = append(o.options, "volatile")
	if err := o.mount(); errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel's overlayfs has no volatile mounts (5.10)")
	} else {
		o.do("mount", err)
	}
	return o
}

// endVolatile unmounts the overlay and removes its mark, which is no leftover.
func (o *overlay) endVolatile() {
	o.t.Helper()
	o.do("unmount", unix.Unmount(o.merged, 0))
	o.mounted = false
	o.do("remove the mark", os.RemoveAll(filepath.Join(o.work, "work", "incompat")))
}
