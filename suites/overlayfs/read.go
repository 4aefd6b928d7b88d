package overlayfs

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// checkReads wants each regular file to be the same by a descriptor and by a
// mapping as by its name, and reading it to count as an access to the upper file
// if the last was when layers began (mount(8), relatime): the kernel's clock goes
// in steps, so that one after another may be at the same time.
func (o *overlay) checkReads(tr tree, raw []tree, wrong complaint) {
	counts, redirects := o.countsAccess(), hasRedirect(raw)
	for path, f := range tr {
		if f.Mode&unix.S_IFMT != unix.S_IFREG {
			continue
		}
		err := withFd(unix.O_RDONLY|unix.O_NOFOLLOW, func(fd int) error { return checkDescriptor(fd, path, f, wrong) })(filepath.Join(o.merged, path))
		if err != nil {
			wrong(path, "%v", err)
		}
		real, isUpper, _ := o.real(path, raw, redirects)
		if stale := real.Atim.Sec == stamp.Unix(); !counts || !isUpper || !stale {
			continue
		}
		var st unix.Stat_t
		flags, _ := flagsOf(filepath.Join(o.upper, path))
		if err := unix.Lstat(filepath.Join(o.upper, path), &st); flags&noAtime == 0 && (err != nil || st.Atim == real.Atim) {
			wrong(path, "reading it has not changed the upper file's time of last access (%v)", err)
		}
	}
}

// checkDescriptor reads by fd, and from a mapping, what f was read to be.
func checkDescriptor(fd int, path string, f found, wrong complaint) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Ino != f.Ino || st.Dev != f.Dev || st.Mode != f.Mode || st.Size != f.Size || st.Nlink != f.Nlink {
		wrong(path, "a descriptor of it tells of inode %d of mode %#o, %d bytes and %d links, its name of %d of %#o, %d and %d",
			st.Ino, st.Mode, st.Size, st.Nlink, f.Ino, f.Mode, f.Size, f.Nlink)
	}
	first := make([]byte, 1)
	if n, err := unix.Read(fd, first); err != nil || string(first[:n]) != f.text[:min(1, len(f.text))] {
		wrong(path, "a descriptor of it reads %q first (%v)", first[:n], err)
	}
	// A mapping of a hole makes tmpfs fill it.
	if len(f.text) == 0 || f.Blocks*512 < f.Size {
		return nil
	}
	m, err := unix.Mmap(fd, 0, len(f.text), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	if string(m) != f.text {
		wrong(path, "a mapping of it has %s, and reading gives %s", show(string(m)), show(f.text))
	}
	return unix.Munmap(m)
}

// countsAccess reports whether a read is to be noted in the upper layer.
func (o *overlay) countsAccess() bool {
	if o.upper == "" {
		return false
	}
	for _, dir := range []string{o.merged, o.upper} {
		var fs unix.Statfs_t
		if unix.Statfs(dir, &fs) != nil || fs.Flags&unix.ST_RELATIME == 0 || fs.Flags&(unix.ST_NOATIME|unix.ST_RDONLY) != 0 {
			return false
		}
	}
	return true
}
