package overlayfs

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// handles are of everything an overlay shows, by path.
type handles map[string]unix.FileHandle

// takeHandles makes a handle of all there is, and reads it. To make one of a
// directory the kernel may copy it up (fs/overlayfs/export.c, ovl_connect_layer).
func (o *overlay) takeHandles() (tree, handles, error) {
	tr, err := readTree(o.merged)
	if err != nil {
		return nil, nil, err
	}
	hs := make(handles)
	for path := range tr {
		if hs[path], _, err = unix.NameToHandleAt(unix.AT_FDCWD, filepath.Join(o.merged, path), 0); err != nil {
			return nil, nil, fmt.Errorf("make a handle of %s: %w", path, err)
		}
	}
	return tr, hs, nil
}

// follow wants each handle to lead to what it was made of. It is to be called
// before anything else is looked at: handles are there to find what is in no
// cache.
func (hs handles) follow(o *overlay, tr tree, wrong complaint) {
	if len(hs) == 0 {
		return
	}
	root := o.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	defer unix.Close(root)
	for _, path := range slices.Sorted(maps.Keys(hs)) {
		flags := unix.O_PATH | unix.O_NOFOLLOW
		if tr[path].Mode&unix.S_IFMT == unix.S_IFREG {
			flags = unix.O_RDONLY
		}
		fd, err := unix.OpenByHandleAt(root, hs[path], flags|unix.O_CLOEXEC)
		if err != nil {
			wrong(path, "open by its handle: %v", err)
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil || st.Ino != tr[path].Ino || st.Mode != tr[path].Mode {
			wrong(path, "its handle leads to inode %d of mode %#o (%v), it was made of %d of %#o", st.Ino, st.Mode, err, tr[path].Ino, tr[path].Mode)
		}
		if text := tr[path].text; flags == unix.O_RDONLY && readFd(fd) != text[:min(len(text), readMax)] {
			wrong(path, "by its handle it reads %s, want %s", show(readFd(fd)), show(text))
		}
		unix.Close(fd)
	}
}
