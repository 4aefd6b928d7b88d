package initramfs

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/u-root/u-root/pkg/cpio"
)

// A layer is a newc cpio archive being written. It holds no two records of one
// path, and each comes after those of the directories it lies in: the kernel
// makes none by itself and drops what has no place
// (Documentation/driver-api/early-userspace/buffer-format.rst).
type layer struct {
	w    cpio.RecordWriter
	have map[string]uint64 // type and permissions of the paths written
}

func newLayer(w io.Writer) *layer {
	return &layer{w: cpio.Newc.Writer(w), have: make(map[string]uint64)}
}

// add writes a record, and before it those of the directories it needs.
func (l *layer) add(r cpio.Record) error {
	if !path.IsAbs(r.Name) || path.Clean(r.Name) != r.Name || r.Name == "/" || strings.ContainsRune(r.Name, 0) {
		return fmt.Errorf("add %q: it is not a plain absolute path", r.Name)
	}
	if _, ok := l.have[r.Name]; ok {
		return fmt.Errorf("add %s: it is there already", r.Name)
	}
	if err := l.addParent(r.Name); err != nil {
		return err
	}
	l.have[r.Name] = r.Mode
	if err := l.w.WriteRecord(r); err != nil {
		return fmt.Errorf("add %s: %w", r.Name, err)
	}
	return nil
}

// addParent has the directory of name in the archive.
func (l *layer) addParent(name string) error {
	dir := path.Dir(name)
	mode, ok := l.have[dir]
	switch {
	case dir == "/":
		return nil
	case !ok:
		return l.add(cpio.Directory(dir, 0o755))
	case mode&cpio.S_IFMT != cpio.S_IFDIR:
		return fmt.Errorf("add %s: %s is not a directory", name, dir)
	}
	return nil
}

// sizeMax is the size a newc header has room for, in bytes: eight hex digits.
const sizeMax = 1<<32 - 1

// addContent adds a regular file of size bytes.
func (l *layer) addContent(guest string, mode os.FileMode, r io.ReaderAt, size int64) error {
	if size > sizeMax {
		return fmt.Errorf("add %s: %d bytes are more than an initramfs can hold in a file", guest, size)
	}
	return l.add(cpio.Record{
		// A section has no Close, so that the writer leaves the file open.
		ReaderAt: io.NewSectionReader(r, 0, size),
		Info:     cpio.Info{Name: guest, Mode: cpio.S_IFREG | uint64(mode.Perm()), FileSize: uint64(size)},
	})
}

// addFile adds a file of the host with its permissions. Links are followed.
func (l *layer) addFile(guest, host string) error {
	info, err := os.Stat(host)
	if err != nil {
		return fmt.Errorf("add %s: %w", guest, err)
	}
	// Before it is opened: to open a FIFO would wait for its other end.
	if !info.Mode().IsRegular() {
		return fmt.Errorf("add %s: %s is not a regular file", guest, host)
	}
	f, err := os.Open(host)
	if err != nil {
		return fmt.Errorf("add %s: %w", guest, err)
	}
	defer f.Close()
	return l.addContent(guest, info.Mode(), f, info.Size())
}
