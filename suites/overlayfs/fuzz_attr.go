package overlayfs

import (
	"encoding/binary"
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// aclNames are the attributes ACLs are kept in (acl(5)).
var aclNames = []string{"system.posix_acl_access", "system.posix_acl_default"}

// acl is an ACL whose permissions come from the bits of n, in the form of
// linux/posix_acl_xattr.h: a version, and entries of tag, permissions and id in
// the order of their tags.
func acl(n int) []byte {
	const nobodyInParticular = 1<<32 - 1
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{
		{0x01, 7, nobodyInParticular},                  // the owner
		{0x02, uint16(n) & 7, nobody},                  // a user
		{0x04, uint16(n) >> 1 & 7, nobodyInParticular}, // the group
		{0x10, uint16(n)>>2&7 | 4, nobodyInParticular}, // the mask
		{0x20, uint16(n) >> 3 & 7, nobodyInParticular}, // others
	} {
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, e.id)
	}
	return b
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
