package overlayfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// smallUpper puts the upper layer and the work directory on a small file system
// of their own, mounted with options.
func smallUpper(options string) part {
	return func(o *overlay) {
		o.t.Helper()
		disk := o.layer("small", nil)
		o.do("mount a small file system", unix.Mount("small", disk, "tmpfs", 0, options))
		o.t.Cleanup(func() { o.do("unmount the small file system", unix.Unmount(disk, 0)) })
		o.upper, o.work = disk+"/upper", disk+"/work"
		o.do("make the upper layer", os.Mkdir(o.upper, 0o755))
		o.do("make the work directory", os.Mkdir(o.work, 0o755))
	}
}

// exhaustCases run out of room in the upper layer: nothing is half done, and it
// can be done again when there is room.
var exhaustCases = []suites.Case{
	{
		Name: "full-copy-up",
		Doc:  "A file that has no room in the upper layer is not copied up: ENOSPC, and it is still read from below (open(2)).",
		Run: func(t *suites.T) {
			big := long(256 << 10)
			o := newOverlay(t, smallUpper("size=128k"), lower(dir("d", file("a", big), file("b", "small"))))
			o.refused("open for writing", opened(unix.O_RDWR)(o.at("d/a")), unix.ENOSPC)
			o.shows(dir("d", file("a", big), file("b", "small")))
			o.do("open truncating", opened(unix.O_WRONLY|unix.O_TRUNC)(o.at("d/a")))
			o.shows(dir("d", file("a", ""), file("b", "small")))
		},
	},
	{
		Name: "full-write",
		Doc:  "A write to a copied up file that has no room is ENOSPC, and what was written before is kept (write(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, smallUpper("size=64k"), lower(file("a", "lower")))
			fd := o.open("a", unix.O_WRONLY|unix.O_APPEND)
			var err error
			for written := 0; err == nil && written < 1<<20; {
				var n int
				n, err = unix.Write(fd, []byte(long(4096)))
				written += n
			}
			unix.Close(fd)
			o.refused("write", err, unix.ENOSPC)
			o.do("truncate", unix.Truncate(o.at("a"), 5))
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "full-parents",
		Doc:  "A file whose directories have no room for inodes in the upper layer is not changed: ENOSPC, and is when there is room again (chmod(2)).",
		Run: func(t *suites.T) {
			deep := func(n node) node { return dir("a", dir("b", dir("c", dir("d", n)))) }
			o := newOverlay(t, smallUpper("nr_inodes=20"), lower(deep(file("f", "lower"))))
			o.fillInodes(2)
			o.refused("chmod", unix.Chmod(o.at("a/b/c/d/f"), 0o600), unix.ENOSPC)
			if got, err := os.ReadFile(o.at("a/b/c/d/f")); err != nil || string(got) != "lower" {
				t.Errorf("f reads %q (%v), want lower", got, err)
			}
			o.makeRoom()
			o.chmod("a/b/c/d/f", 0o600)
			o.shows(deep(file("f", "lower").perm(0o600)))
		},
	},
	{
		Name: "full-whiteout",
		Doc:  "A lower file whose whiteout has no room is not removed: ENOSPC, and is when there is room again (unlink(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, smallUpper("nr_inodes=10"), lower(file("a", "lower"), file("b", "")))
			o.fillInodes(0)
			o.refused("unlink", unix.Unlink(o.at("a")), unix.ENOSPC)
			if got, err := os.ReadFile(o.at("a")); err != nil || string(got) != "lower" {
				t.Errorf("a reads %q (%v), want lower", got, err)
			}
			o.makeRoom()
			o.unlink("a")
			o.shows(file("b", ""))
		},
	},
	{
		Name: "full-rename",
		Doc:  "A lower file that has no room to be copied up is not renamed: ENOSPC, and both names are as they were (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, smallUpper("nr_inodes=10"), lower(file("a", "lower"), file("b", "other")))
			o.fillInodes(0)
			o.refused("rename", unix.Rename(o.at("a"), o.at("b")), unix.ENOSPC)
			o.makeRoom()
			o.shows(file("a", "lower"), file("b", "other"))
		},
	},
	{
		Name: "full-mkdir-over-whiteout",
		Doc:  "A directory that has no room in the place of a removed one is not made: ENOSPC, and the name stays free (mkdir(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, smallUpper("nr_inodes=12"), lower(dir("d", file("x", "")), file("b", "")))
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.fillInodes(0)
			o.refused("mkdir", unix.Mkdir(o.at("d"), 0o755), unix.ENOSPC)
			o.makeRoom()
			o.shows(file("b", ""))
			o.mkdir("d")
			o.shows(dir("d"), file("b", ""))
		},
	},
}

// fillInodes makes files beside the upper layer until so many can be made no
// more.
func (o *overlay) fillInodes(left int) {
	o.t.Helper()
	o.do("make a directory to fill", os.Mkdir(o.upper+"/../fill", 0o755))
	n := 0
	for ; ; n++ {
		if err := unix.Mknod(o.filler(n), unix.S_IFREG|0o600, 0); err != nil {
			o.refused("fill the file system", err, unix.ENOSPC)
			break
		}
	}
	for ; left > 0; left-- {
		n--
		o.do("leave room", os.Remove(o.filler(n)))
	}
}

func (o *overlay) filler(n int) string { return fmt.Sprintf("%s/../fill/%03d", o.upper, n) }

func (o *overlay) makeRoom() {
	o.t.Helper()
	o.do("make room", os.RemoveAll(o.upper+"/../fill"))
}
