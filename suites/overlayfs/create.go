package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// createCases make something new where a whiteout is: the kernel prepares it in
// the work directory, as itself, and then has to give it what open(2) and
// mkdir(2) promise the caller.
var createCases = []suites.Case{
	{
		Name: "create-over-whiteout-by-another-user",
		Doc:  "What a user makes over a whiteout is the user's own (open(2), mkdir(2)).",
		Run:  createByAnother,
	},
	{
		Name: "create-over-whiteout-mode-is-exact",
		Doc:  "What is made over a whiteout has the mode asked for less the umask (umask(2)).",
		Run:  createExactMode,
	},
	{
		Name: "create-over-whiteout-in-setgid-directory",
		Doc:  "What is made over a whiteout in a set-group-ID directory has its group (inode(7)).",
		Run:  createInSetgid,
	},
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
