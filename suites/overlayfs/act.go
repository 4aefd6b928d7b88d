package overlayfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// The acts of the cases on names in the overlay. Those that return nothing end
// the case if they go wrong.

func (o *overlay) unlink(name string) {
	o.t.Helper()
	o.do("unlink "+name, unix.Unlink(o.at(name)))
}

func (o *overlay) rmdir(name string) {
	o.t.Helper()
	o.do("rmdir "+name, unix.Rmdir(o.at(name)))
}

func (o *overlay) mkdir(name string) {
	o.t.Helper()
	o.do("mkdir "+name, unix.Mkdir(o.at(name), 0o755))
}

func (o *overlay) link(from, to string) {
	o.t.Helper()
	o.do("link "+from+" to "+to, unix.Link(o.at(from), o.at(to)))
	o.noteLink(to)
}

func (o *overlay) chmod(name string, bits uint32) {
	o.t.Helper()
	o.do("chmod "+name, unix.Chmod(o.at(name), bits))
}

// write replaces the content of a file, which is made if it is not there.
func (o *overlay) write(name, text string) {
	o.t.Helper()
	o.do("write "+name, os.WriteFile(o.at(name), []byte(text), 0o644))
}

func (o *overlay) rename(from, to string) {
	o.t.Helper()
	o.do("rename "+from+" to "+to, unix.Rename(o.at(from), o.at(to)))
}

// renameat2 is rename with flags, which came with 3.15.
func (o *overlay) renameat2(from, to string, flags uint) error {
	o.t.Helper()
	err := unix.Renameat2(unix.AT_FDCWD, o.at(from), unix.AT_FDCWD, o.at(to), flags)
	if errors.Is(err, unix.ENOSYS) {
		o.t.Skip("this kernel has no renameat2")
	}
	return err
}

// stat is lstat(2).
func (o *overlay) stat(name string) (st unix.Stat_t) {
	o.t.Helper()
	o.do("lstat "+name, unix.Lstat(o.at(name), &st))
	return st
}

// open opens a file; the case has to close it.
func (o *overlay) open(name string, flags int) int {
	o.t.Helper()
	fd, err := unix.Open(o.at(name), flags|unix.O_CLOEXEC, 0o644)
	o.do("open "+name, err)
	return fd
}
