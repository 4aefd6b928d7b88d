package overlayfs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A stage is a tree that acts are done on, and what they hold open of it.
type stage struct {
	root string
	held []held
}

// A held is a file or directory that was opened by an act and is still open.
type held struct {
	path string // it had when it was opened
	fd   int
	ino  uint64 // it had when it was opened
}

// holdMax is how many files are held at once.
const holdMax = 3

// ways are what a file is opened for.
var ways = []int{unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_APPEND, unix.O_RDONLY}

// hold opens what is at path, and lets go of what was held longest if that is
// too much.
func (p *stage) hold(path string, n int) error {
	full := join(p.root, path)
	flags := ways[n%len(ways)]
	if isKind(full, unix.S_IFDIR) {
		flags = unix.O_RDONLY
	}
	if isKind(full, unix.S_IFIFO) {
		return unix.EINVAL
	}
	fd, err := unix.Open(full, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	p.held = append(p.held, held{path, fd, st.Ino})
	if len(p.held) > holdMax {
		err = unix.Close(p.held[0].fd)
		p.held = p.held[1:]
	}
	return err
}

// write changes one of what is held by its descriptor.
func (p *stage) write(_ string, n int) error {
	if len(p.held) == 0 {
		return nil
	}
	fd := p.held[n%len(p.held)].fd
	switch n / 4 % 6 {
	case 0:
		_, err := unix.Pwrite(fd, []byte("at"), int64(n))
		return err
	case 1:
		return unix.Ftruncate(fd, int64(n*3))
	case 2:
		return unix.Fchmod(fd, 0o600|uint32(n))
	case 3:
		_, err := unix.Seek(fd, int64(n%5), unix.SEEK_CUR)
		return errors.Join(err, writeAll(fd, "on"))
	}
	return writeAll(fd, fmt.Sprint("held ", n))
}

func (p *stage) release() {
	for _, h := range p.held {
		unix.Close(h.fd)
	}
	p.held = nil
}

// heldDifferences says in what the descriptors held of both differ, and which
// lead to another number than at first. With an index not in links: what was
// removed can keep one (fs/overlayfs/dir.c, ovl_drop_nlink; seen in 6.1).
func (f fuzz) heldDifferences(o *overlay, over, model *stage) (lines []string) {
	counted := f.counted() && !f.links
	for i, h := range over.held {
		var st unix.Stat_t
		if err := unix.Fstat(h.fd, &st); err != nil || o.keepsNumbers() && st.Ino != h.ino {
			lines = append(lines, fmt.Sprintf("what was opened as %s is inode %d (%v), and was %d", h.path, st.Ino, err, h.ino))
		}
		got, want := h.look(counted), model.held[i].look(counted)
		if got != want {
			lines = append(lines, fmt.Sprintf("what was opened as %s is %s, and %s on the plain tree", h.path, got, want))
		}
	}
	return lines
}

// look is what a descriptor shows, as text: the names of a directory from its
// start, or the content of a file, where the descriptor reads it.
func (h held) look(counted bool) string {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return "fstat: " + err.Error()
	}
	text := fmt.Sprintf("%#o of %d:%d", st.Mode, st.Uid, st.Gid)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return text + " with " + h.names()
	}
	if counted {
		text += fmt.Sprintf(" with %d links", st.Nlink)
	}
	at, err := unix.Seek(h.fd, 0, unix.SEEK_CUR)
	return fmt.Sprintf("%s at %d (%v) of %d bytes %s", text, at, err, st.Size, show(readFd(h.fd)))
}

func (h held) names() string {
	if _, err := unix.Seek(h.fd, 0, unix.SEEK_SET); err != nil {
		return "seek: " + err.Error()
	}
	all, err := readBatch(h.fd, listBuffer)
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, e := range all {
		names = append(names, e.name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}
