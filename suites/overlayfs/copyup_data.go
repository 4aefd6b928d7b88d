package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dataCalls change the content of the subject, or its attributes by a
// descriptor, each by a call of its own.
var dataCalls = []call{
	{"ftruncate", "ftruncate(2) keeps the bytes before the new end", "d/a",
		withFd(unix.O_WRONLY, func(fd int) error { return unix.Ftruncate(fd, 2) }), 0, written("lo")},
	{"writev", "writev(2) writes all its pieces to what was copied up", "d/a",
		withFd(unix.O_WRONLY, func(fd int) error {
			_, err := unix.Writev(fd, [][]byte{[]byte("L"), []byte("OW")})
			return err
		}), 0, written("LOWer")},
	{"set-append-flag", "write(2) adds at the end once F_SETFL has set O_APPEND", "d/a",
		withFd(unix.O_WRONLY, appendBySetfl), 0, written("lower+more")},
	{"punch-hole", "fallocate(2) with FALLOC_FL_PUNCH_HOLE leaves zeros and the size", "d/a",
		withFd(unix.O_RDWR, func(fd int) error {
			return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 1, 3)
		}), 0, written("l\x00\x00\x00r")},
	{"fallocate-keeping-size", "fallocate(2) with FALLOC_FL_KEEP_SIZE leaves content and size", "d/a",
		withFd(unix.O_RDWR, func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, 8192) }), 0,
		written("lower")},
	{"copy-file-range", "copy_file_range(2) within a file copies the bytes", "d/a",
		withFd(unix.O_RDWR, func(fd int) error {
			from, to := int64(0), int64(5)
			n, err := unix.CopyFileRange(fd, &from, fd, &to, 3, 0)
			if err == nil && n != 3 {
				err = fmt.Errorf("copied %d bytes of 3", n)
			}
			return err
		}), 0, written("lowerlow")},
	{"splice", "splice(2) from a pipe writes the bytes", "d/a", withFd(unix.O_WRONLY, spliceInto), 0, written("Lower")},
	{"sendfile", "sendfile(2) from a lower file to itself opened for writing appends nothing of its own making", "d/a",
		sendToItself, 0, written("lower")},
	{"fchown", "fchown(2) by a descriptor that is open for reading copies up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return unix.Fchown(fd, 11, 12) }), 0,
		func(n node) node { return n.owned(11, 12) }},
	{"fsetxattr", "fsetxattr(2) by a descriptor that is open for reading copies up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return unix.Fsetxattr(fd, "trusted.new", []byte("new"), 0) }), 0,
		func(n node) node { return n.xattr("trusted.new", "new") }},
	{"futimens", "futimens(3) by a descriptor that is open for reading copies up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return setTimesOf(fd, stamp.Add(time.Hour)) }), 0,
		func(n node) node { return n.changed(stamp.Add(time.Hour)) }},
	{"chmod-by-proc-fd", "chmod(2) of an O_PATH descriptor's name in /proc copies up", "d/a",
		withFd(unix.O_PATH, func(fd int) error { return unix.Chmod(procFd(fd), 0o604) }), 0,
		func(n node) node { return n.perm(0o604) }},
	{"write-by-proc-fd", "Opening an O_PATH descriptor's name in /proc for writing copies up", "d/a",
		withFd(unix.O_PATH, func(fd int) error {
			return withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "L") })(procFd(fd))
		}), 0, written("Lower")},
	{"chown-by-empty-path", "fchownat(2) with AT_EMPTY_PATH of an O_PATH descriptor copies up", "d/a",
		withFd(unix.O_PATH, func(fd int) error { return unix.Fchownat(fd, "", 11, 12, unix.AT_EMPTY_PATH) }), 0,
		func(n node) node { return n.owned(11, 12) }},
	{"lsetxattr-symlink", "lsetxattr(2) copies the symbolic link up, and not its target", "d/l",
		func(p string) error { return unix.Lsetxattr(p, "trusted.new", []byte("new"), 0) }, 0,
		func(n node) node { return n.xattr("trusted.new", "new") }},
}

// directoryCalls change the subject's directory itself.
var directoryCalls = []call{
	{"chmod-directory", "chmod(2) copies a directory up without what is in it", "d",
		func(p string) error { return unix.Chmod(p, 0o2770) }, 0,
		func(n node) node { return n.perm(0o2770) }},
	{"chown-directory", "chown(2) copies a directory up without what is in it", "d",
		func(p string) error { return unix.Chown(p, 11, 12) }, 0,
		func(n node) node { return n.owned(11, 12) }},
	{"utimensat-directory", "utimensat(2) copies a directory up without what is in it", "d",
		func(p string) error { return setTimes(p, stamp.Add(time.Minute)) }, 0,
		func(n node) node { return n.changed(stamp.Add(time.Minute)) }},
	{"fchmod-directory", "fchmod(2) of a directory open for reading copies it up", "d",
		withFd(unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) error { return unix.Fchmod(fd, 0o700) }), 0,
		func(n node) node { return n.perm(0o700) }},
	{"fsetxattr-directory", "fsetxattr(2) of a directory open for reading copies it up", "d",
		withFd(unix.O_RDONLY|unix.O_DIRECTORY, func(fd int) error { return unix.Fsetxattr(fd, "trusted.new", []byte("1"), 0) }), 0,
		func(n node) node { return n.xattr("trusted.new", "1") }},
}

// moreHarmlessCalls look, lock and advise, and copy nothing up.
var moreHarmlessCalls = []call{
	{"statx", "statx(2) copies nothing up", "d/a", func(p string) error {
		var st unix.Statx_t
		return unix.Statx(unix.AT_FDCWD, p, 0, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	}, 0, nil},
	{"readahead", "readahead(2) copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error {
			_, _, e := unix.Syscall(unix.SYS_READAHEAD, uintptr(fd), 0, 4096)
			return errnoOr(e)
		}), 0, nil},
	{"fadvise", "posix_fadvise(2) copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED) }), 0, nil},
	{"posix-lock", "fcntl(2) with F_SETLK for reading copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error {
			return unix.FcntlFlock(uintptr(fd), unix.F_SETLK, &unix.Flock_t{Type: unix.F_RDLCK})
		}), 0, nil},
	{"read-lease", "fcntl(2) with F_SETLEASE for reading copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
			return err
		}), 0, nil},
	{"write-lease", "fcntl(2) with F_SETLEASE for writing, granted or not, copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error {
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_WRLCK)
			if errors.Is(err, unix.EAGAIN) {
				err = nil
			}
			return err
		}), 0, nil},
	{"seek-data", "lseek(2) with SEEK_DATA and SEEK_HOLE copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error {
			hole, err := unix.Seek(fd, 0, unix.SEEK_HOLE)
			if err == nil && hole != 5 {
				err = fmt.Errorf("the hole is at %d, want 5", hole)
			}
			return err
		}), 0, nil},
	{"shared-read-only-mapping", "A shared mapping for reading copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error {
			m, err := unix.Mmap(fd, 0, 5, unix.PROT_READ, unix.MAP_SHARED)
			if err != nil {
				return err
			}
			if string(m) != "lower" {
				err = fmt.Errorf("the mapping holds %q", m)
			}
			return errors.Join(err, unix.Munmap(m))
		}), 0, nil},
	{"syncfs", "syncfs(2) copies nothing up", "d/a",
		withFd(unix.O_RDONLY, unix.Syncfs), 0, nil},
	{"fanotify-mark", "fanotify_mark(2) copies nothing up", "d/a", func(p string) error {
		fd, err := unix.FanotifyInit(unix.FAN_CLOEXEC, unix.O_RDONLY)
		if err != nil {
			return err
		}
		return errors.Join(unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN|unix.FAN_MODIFY, unix.AT_FDCWD, p), unix.Close(fd))
	}, 0, nil},
	{"list-directory", "Listing a lower directory copies nothing up", "d",
		func(p string) error { _, err := os.ReadDir(p); return err }, 0, nil},
	{"bind-mount", "Binding a lower directory elsewhere copies nothing up", "d", func(p string) error {
		if err := unix.Mount(p, p, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		return unix.Unmount(p, 0)
	}, 0, nil},
	{"change-directory", "Making a lower directory the working one copies nothing up", "d", func(p string) error {
		back, err := os.Getwd()
		if err != nil {
			return err
		}
		return errors.Join(os.Chdir(p), os.Chdir(back))
	}, 0, nil},
}

// moreRefusedCalls are refused before anything is copied up.
var moreRefusedCalls = []call{
	{"utimensat-by-another", "utimensat(2) by another user is refused and copies nothing up", "d/a",
		unprivileged(func(p string) error { return setTimes(p, stamp) }), unix.EPERM, nil},
	{"setxattr-by-another", "setxattr(2) of a security attribute by another user is refused and copies nothing up", "d/a",
		unprivileged(func(p string) error { return unix.Setxattr(p, "security.kplay", nil, 0) }), unix.EPERM, nil},
	{"unlink-by-another", "unlink(2) in another's directory is refused and copies nothing up", "d/a",
		unprivileged(unix.Unlink), unix.EACCES, nil},
	{"rename-by-another", "rename(2) in another's directory is refused and copies nothing up", "d/a",
		unprivileged(func(p string) error { return unix.Rename(p, p+"b") }), unix.EACCES, nil},
	{"create-by-another", "creat(2) in another's directory is refused and copies nothing up", "d",
		unprivileged(func(p string) error { return unix.Mknod(p+"/new", unix.S_IFREG|0o644, 0) }), unix.EACCES, nil},
	{"mkdir-by-another", "mkdir(2) in another's directory is refused and copies nothing up", "d",
		unprivileged(func(p string) error { return unix.Mkdir(p+"/new", 0o755) }), unix.EACCES, nil},
	{"truncate-directory", "truncate(2) of a directory is refused and copies nothing up", "d",
		func(p string) error { return unix.Truncate(p, 0) }, unix.EISDIR, nil},
	{"unlink-directory", "unlink(2) of a directory is refused and copies nothing up", "d",
		unix.Unlink, unix.EISDIR, nil},
	{"rmdir-of-file", "rmdir(2) of a file is refused and copies nothing up", "d/a",
		unix.Rmdir, unix.ENOTDIR, nil},
	{"rmdir-full", "rmdir(2) of a full directory is refused and copies nothing up", "d",
		unix.Rmdir, unix.ENOTEMPTY, nil},
	{"mkdir-existing", "mkdir(2) of a name that is there is refused and copies nothing up", "d/a",
		func(p string) error { return unix.Mkdir(p, 0o755) }, unix.EEXIST, nil},
	{"symlink-existing", "symlink(2) under a name that is there is refused and copies nothing up", "d/a",
		func(p string) error { return unix.Symlink("x", p) }, unix.EEXIST, nil},
	{"write-by-read-only-descriptor", "write(2) by a descriptor open for reading is refused and copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return writeAll(fd, "x") }), unix.EBADF, nil},
	{"ftruncate-read-only-descriptor", "ftruncate(2) by a descriptor open for reading is refused and copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return unix.Ftruncate(fd, 0) }), unix.EINVAL, nil},
	{"fallocate-read-only-descriptor", "fallocate(2) by a descriptor open for reading is refused and copies nothing up", "d/a",
		withFd(unix.O_RDONLY, func(fd int) error { return unix.Fallocate(fd, 0, 0, 9) }), unix.EBADF, nil},
}

// procFd is the name of a descriptor in /proc, by which it can be opened anew.
func procFd(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// errnoOr is nil for no error, which is a non-nil error as a unix.Errno.
func errnoOr(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// setTimesOf is futimens(3), which is utimensat(2) without a path.
func setTimesOf(fd int, at time.Time) error {
	ts := unix.NsecToTimespec(at.UnixNano())
	_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&[2]unix.Timespec{ts, ts})), 0, 0, 0)
	return errnoOr(e)
}

func appendBySetfl(fd int) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND); err != nil {
		return err
	}
	return writeAll(fd, "+more")
}

func spliceInto(fd int) error {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if err := writeAll(pipe[1], "L"); err != nil {
		return err
	}
	_, err := unix.Splice(pipe[0], nil, fd, nil, 1, 0)
	return err
}

// sendToItself reads by a descriptor from before the copy-up.
func sendToItself(path string) error {
	return withFd(unix.O_RDONLY, func(from int) error {
		return withFd(unix.O_WRONLY, func(to int) error {
			n, err := unix.Sendfile(to, from, nil, 5)
			if err == nil && n != 5 {
				err = fmt.Errorf("sent %d bytes of 5", n)
			}
			return err
		})(path)
	})(path)
}
