package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

var whiteoutCases = []suites.Case{
	{Name: "unlink-lower-leaves-whiteout", Doc: "A lower file that is removed is hidden by a whiteout (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"), file("b", ""))))
			o.unlink("d/a")
			o.shows(dir("d", file("b", "").old()))
			o.upperHolds(dir("d", whiteout("a")))
		}},
	{Name: "unlink-copied-up-leaves-whiteout", Doc: "Removing a file that was copied up does not bring the lower one back (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.write("a", "changed")
			o.unlink("a")
			o.shows()
			o.upperHolds(whiteout("a"))
		}},
	{Name: "unlink-upper-leaves-nothing", Doc: "Removing a file that is in the upper layer alone leaves no whiteout (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d")), upper(dir("d", file("a", "upper")), file("b", "")))
			o.unlink("d/a")
			o.unlink("b")
			o.shows(dir("d"))
			o.upperHolds(dir("d"))
		}},
	{Name: "unlink-name-of-both-layers", Doc: "Removing a name that upper and lower have leaves a whiteout (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")), upper(file("a", "upper")))
			o.unlink("a")
			o.shows()
			o.upperHolds(whiteout("a"))
		}},
	{Name: "unlink-again-over-whiteout", Doc: "A name removed, made and removed once more stays removed (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			for range 3 {
				o.unlink("a")
				o.write("a", "again")
			}
			o.unlink("a")
			o.shows()
			o.upperHolds(whiteout("a"))
		}},
	{Name: "rmdir-lower-leaves-whiteout", Doc: "A lower directory that is removed is hidden by a whiteout (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d"), file("a", "")))
			o.rmdir("d")
			o.shows(file("a", ""))
			o.upperHolds(whiteout("d"))
		}},
	{Name: "rmdir-of-emptied-leaves-one-whiteout", Doc: "A merged directory whose files are all removed can be removed, and one whiteout is left (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""), dir("s", file("b", "")))))
			o.do("remove all", os.RemoveAll(o.at("d")))
			o.shows()
			o.upperHolds(whiteout("d"))
		}},
	{Name: "rmdir-with-lower-children-is-enotempty", Doc: "A directory that is empty in the upper layer but not below is not empty (rmdir(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))), upper(dir("d")))
			o.refused("rmdir", unix.Rmdir(o.at("d")), unix.ENOTEMPTY, unix.EEXIST)
			o.shows(dir("d", file("a", "lower")).old())
			o.upperHolds(dir("d").old())
		}},
	{Name: "rmdir-with-upper-children-is-enotempty", Doc: "A directory with a file in the upper layer is not empty (rmdir(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d")), upper(dir("d", file("a", "upper"))))
			o.refused("rmdir", unix.Rmdir(o.at("d")), unix.ENOTEMPTY, unix.EEXIST)
			o.shows(dir("d", file("a", "upper")).old())
		}},
	{Name: "rmdir-over-whiteouts-of-middle-layer", Doc: "A directory whose files are hidden by whiteouts of a lower layer is empty (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", whiteout("a"))), lower(dir("d", file("a", "lower"))))
			o.rmdir("d")
			o.shows()
			o.upperHolds(whiteout("d"))
		}},
	{Name: "whiteout-hides-file", Doc: "A whiteout in the upper layer hides the name below and is hidden itself (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", ""), file("b", "")), upper(whiteout("a")))
			o.shows(file("b", ""))
		}},
	{Name: "whiteout-hides-directory", Doc: "A whiteout hides a directory with all that is in it (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))), upper(whiteout("d")))
			o.shows()
			o.refused("open d/a", unix.Access(o.at("d/a"), unix.F_OK), unix.ENOENT)
		}},
	{Name: "whiteout-of-middle-layer-hides", Doc: "A whiteout in a lower layer hides the name in the layers below it (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("b", "")), lower(whiteout("a")), lower(file("a", "")))
			o.shows(file("b", ""))
			o.upperHolds()
		}},
	{Name: "whiteout-of-bottom-layer-hides", Doc: "A whiteout in the lowest layer is not shown (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("b", "")), lower(whiteout("a")))
			o.shows(file("b", ""))
		}},
	{Name: "remove-what-replaced-middle-whiteout", Doc: "Removing what was made over a whiteout of a middle layer does not bring the lowest back (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(whiteout("a")), lower(file("a", "lowest")))
			o.write("a", "new")
			o.unlink("a")
			o.shows()
		}},
	{Name: "mknod-of-whiteout-is-eperm", Doc: "A whiteout cannot be made through the overlay (fs/overlayfs/dir.c, ovl_mknod).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("mknod", unix.Mknod(o.at("w"), unix.S_IFCHR|0o600, 0), unix.EPERM)
			o.shows(file("a", "lower"))
		}},
	{Name: "mknod-of-other-devices", Doc: "Devices with other numbers than a whiteout's, or of the other kind, are made and shown (mknod(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "")))
			block, char := device("block", unix.S_IFBLK, 0, 0), device("char", unix.S_IFCHR, 0, 1)
			o.do("mknod a block device", unix.Mknod(o.at("block"), block.mode, int(block.rdev)))
			o.do("mknod a character device", unix.Mknod(o.at("char"), char.mode, int(char.rdev)))
			o.shows(file("a", ""), block, char)
		}},
	{Name: "rename-whiteout-flag-is-einval", Doc: "RENAME_WHITEOUT is for the layer below, not for the overlay itself (fs/overlayfs/dir.c, ovl_rename).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("rename", o.renameat2("a", "b", unix.RENAME_WHITEOUT), unix.EINVAL)
			o.shows(file("a", "lower"))
			o.upperHolds()
		}},
	{Name: "remove-many", Doc: "Many names removed at once are all hidden, however their whiteouts are stored (overlayfs.rst, whiteouts and opaque directories).",
		Run: removeMany},
	{Name: "create-over-whiteout-by-another-user", Doc: "What a user makes over a whiteout is the user's own (open(2), mkdir(2)).",
		Run: createByAnother},
	{Name: "create-over-whiteout-mode-is-exact", Doc: "What is made over a whiteout has the mode asked for less the umask (umask(2)).",
		Run: createExactMode},
	{Name: "create-over-whiteout-in-setgid-directory", Doc: "What is made over a whiteout in a set-group-ID directory has its group (inode(7)).",
		Run: createInSetgid},
}

// creations make each type of file under a name that was removed.
var creations = []struct {
	name string
	make func(path string) error
	node node
}{
	{"file", func(p string) error { return os.WriteFile(p, []byte("new"), 0o644) }, file("a", "new")},
	{"empty-file", func(p string) error { return unix.Mknod(p, unix.S_IFREG|0o644, 0) }, file("a", "")},
	{"directory", func(p string) error { return unix.Mkdir(p, 0o755) }, dir("a")},
	{"symlink", func(p string) error { return unix.Symlink("target", p) }, symlink("a", "target")},
	{"fifo", func(p string) error { return unix.Mkfifo(p, 0o644) }, fifo("a")},
	{"socket", func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) }, socket("a")},
	{"device", func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))) },
		device("a", unix.S_IFCHR, 1, 3)},
	{"hard-link", func(p string) error { return unix.Link(filepath.Dir(p)+"/other", p) }, file("a", "other")},
}

// creationCases are every type of file made over the whiteout of a file, and of
// a directory with something in it.
func creationCases() (cases []suites.Case) {
	for _, removed := range []node{file("a", "lower"), dir("a", file("x", "lower"))} {
		for _, c := range creations {
			kind := "file"
			if len(removed.children) > 0 {
				kind = "directory"
			}
			cases = append(cases, suites.Case{
				Name: fmt.Sprintf("create-%s-over-removed-%s", c.name, kind),
				Doc:  "What is made under a removed name takes the place of its whiteout, and nothing below shows through (overlayfs.rst, whiteouts and opaque directories).",
				Run: func(t *suites.T) {
					o := newOverlay(t, lower(removed), upper(file("other", "other")))
					o.do("remove a", os.RemoveAll(o.at("a")))
					o.do("make "+c.name, c.make(o.at("a")))
					o.shows(c.node, file("other", "other"))
					o.upperHolds(c.node, file("other", "other"))
				},
			})
		}
	}
	return cases
}

// manyNames is enough to fill several buffers of getdents(2).
const manyNames = 300

func removeMany(t *suites.T) {
	var nodes []node
	for i := range manyNames {
		nodes = append(nodes, file(fmt.Sprintf("f%04d", i), ""))
	}
	o := newOverlay(t, lower(dir("d", nodes...)))
	for _, n := range nodes[1:] {
		o.unlink("d/" + n.name)
	}
	o.shows(dir("d", nodes[0].old()))
}

func createByAnother(t *suites.T) {
	o := newOverlay(t, lower(dir("d", file("a", ""), file("s", ""), dir("sub")).perm(0o777)))
	o.do("remove all in d", errors.Join(os.Remove(o.at("d/a")), os.Remove(o.at("d/s")), os.Remove(o.at("d/sub"))))
	o.do("create as another user", as(nobody, nobody+1, func() error {
		return errors.Join(unix.Mknod(o.at("d/a"), unix.S_IFREG|0o644, 0),
			unix.Symlink("to", o.at("d/s")), unix.Mkdir(o.at("d/sub"), 0o755),
			unix.Mkdir(o.at("d/plain"), 0o755))
	}))
	o.shows(dir("d", file("a", "").owned(nobody, nobody+1), symlink("s", "to").owned(nobody, nobody+1),
		dir("sub").owned(nobody, nobody+1), dir("plain").owned(nobody, nobody+1)).perm(0o777))
}

func createExactMode(t *suites.T) {
	o := newOverlay(t, lower(file("a", ""), dir("d"), file("b", "")))
	o.do("remove all", errors.Join(os.Remove(o.at("a")), os.Remove(o.at("b")), os.Remove(o.at("d"))))
	// The fixture sets the umask back.
	unix.Umask(0o027)
	o.do("mknod", unix.Mknod(o.at("a"), unix.S_IFREG|0o4666, 0))
	o.do("mkdir", unix.Mkdir(o.at("d"), 0o1777))
	fd, err := unix.Open(o.at("b"), unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o777)
	o.do("open", err)
	unix.Close(fd)
	o.shows(file("a", "").perm(0o4640), dir("d").perm(0o1750), file("b", "").perm(0o750))
}

func createInSetgid(t *suites.T) {
	o := newOverlay(t, lower(dir("d", file("a", ""), dir("s")).owned(0, 9).perm(0o2777)))
	o.unlink("d/a")
	o.rmdir("d/s")
	o.write("d/a", "new")
	o.mkdir("d/s")
	o.mkdir("d/plain")
	o.shows(dir("d", file("a", "new").owned(0, 9), dir("s").owned(0, 9).perm(0o2755),
		dir("plain").owned(0, 9).perm(0o2755)).owned(0, 9).perm(0o2777))
}
