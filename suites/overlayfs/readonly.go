package overlayfs

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// changes are what a read-only overlay refuses. The overlay holds file a and
// directory d.
var changes = []struct {
	name string
	do   func(root string) error
}{
	{"create", func(root string) error { return os.WriteFile(root+"/new", nil, 0o644) }},
	{"open for writing", func(root string) error { return opened(unix.O_RDWR)(root + "/a") }},
	{"truncate", func(root string) error { return unix.Truncate(root+"/a", 0) }},
	{"mkdir", func(root string) error { return unix.Mkdir(root+"/new", 0o755) }},
	{"mknod", func(root string) error { return unix.Mknod(root+"/new", unix.S_IFIFO|0o644, 0) }},
	{"symlink", func(root string) error { return unix.Symlink("a", root+"/new") }},
	{"link", func(root string) error { return unix.Link(root+"/a", root+"/new") }},
	{"unlink", func(root string) error { return unix.Unlink(root + "/a") }},
	{"rmdir", func(root string) error { return unix.Rmdir(root + "/d") }},
	{"rename", func(root string) error { return unix.Rename(root+"/a", root+"/new") }},
	{"chmod", func(root string) error { return unix.Chmod(root+"/a", 0o600) }},
	{"chown", func(root string) error { return unix.Chown(root+"/a", 1, 1) }},
	{"utimensat", func(root string) error { return setTimes(root+"/a", stamp) }},
	{"setxattr", func(root string) error { return unix.Setxattr(root+"/a", "trusted.new", nil, 0) }},
}

// readonlyCases have no upper layer, or a read-only mount.
var readonlyCases = []suites.Case{
	{
		Name: "no-upper-refuses-changes",
		Doc:  "An overlay without upper layer is read-only: every change is EROFS (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, readOnly, lower(file("a", "1")), lower(dir("d", file("b", ""))))
			o.refusesChanges(file("a", "1"), dir("d", file("b", "")))
		},
	},
	{
		Name: "no-upper-merges",
		Doc:  "An overlay without upper layer shows the merged lower ones (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, readOnly, lower(dir("d", file("a", "1"), whiteout("b")), whiteout("c")),
				lower(dir("d", file("a", "2"), file("b", "2"), file("x", "2")), file("c", "")))
			o.shows(dir("d", file("a", "1"), file("x", "2")))
		},
	},
	{
		Name: "no-upper-stays-read-only",
		Doc:  "An overlay without upper layer cannot be remounted for writing (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, readOnly, lower(file("a", "1")), lower(dir("d")))
			o.refused("remount read-write", unix.Mount("", o.merged, "", unix.MS_REMOUNT, ""), unix.EROFS)
			o.refusesChanges(file("a", "1"), dir("d"))
		},
	},
	{
		Name: "remount-read-only",
		Doc:  "An overlay remounted read-only refuses every change, and takes them again when remounted (mount(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "1"), dir("d")))
			o.write("b", "before")
			o.do("remount read-only", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
			for _, c := range changes {
				o.refused(c.name, c.do(o.merged), unix.EROFS)
			}
			o.upperHolds(file("b", "before"))
			o.do("remount read-write", unix.Mount("", o.merged, "", unix.MS_REMOUNT, ""))
			o.write("a", "after")
			o.shows(file("a", "after"), file("b", "before"), dir("d"))
		},
	},
	{
		Name: "read-only-lower-mount",
		Doc:  "The lower layer may be on a read-only mount (overlayfs.rst, upper and lower).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower"), dir("d", file("b", ""))))
			o.bind(o.lowers[0], unix.MS_RDONLY)
			o.do("mount the overlay", o.mount())
			o.write("a", "changed")
			o.unlink("d/b")
			o.shows(file("a", "changed"), dir("d"))
		},
	},
}

// refusesChanges wants every change refused, and nodes shown afterwards.
func (o *overlay) refusesChanges(nodes ...node) {
	o.t.Helper()
	for _, c := range changes {
		o.refused(c.name, c.do(o.merged), unix.EROFS)
	}
	o.shows(nodes...)
}
