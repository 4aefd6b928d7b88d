package overlayfs

import (
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// aclNames are the attributes ACLs are kept in (acl(5)).
var aclNames = []string{accessACL, defaultACL}

// anyACL is an access control list whose permissions come from the bits of n.
func anyACL(n int) []byte {
	bits := uint32(n)
	return []byte(acl(0o700|(bits>>1&7)<<3|bits>>3&7, nobody, uint16(bits&7)))
}

// protections are what a fuzz sets the flags of a file to: mostly none, for what
// is protected ends much of what could be done to it.
var protections = []int{0, unix.STATX_ATTR_IMMUTABLE, 0, unix.STATX_ATTR_APPEND, 0}

// setFlags sets the flags of a file or directory. Immutable and append-only have
// the same bits as in statx(2).
func setFlags(path string, flags int) error {
	return onFile(path, unix.O_RDONLY|unix.O_NONBLOCK, func(fd int) error {
		return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags)
	})
}

// protection reads the flags of all there is in a tree that can have some.
func protection(root string, tr tree) map[string]int {
	flags := make(map[string]int)
	for path, f := range tr {
		if kind := f.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
			continue
		}
		err := withFd(unix.O_RDONLY|unix.O_NOFOLLOW, func(fd int) (err error) {
			flags[path], err = unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
			return err
		})(filepath.Join(root, path))
		if errors.Is(err, unix.ENOTTY) {
			return nil // this file system has none
		}
	}
	return flags
}
