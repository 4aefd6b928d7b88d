package overlayfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// An exercise is a way to read, write or ask about a file that has to do the
// same on an overlay as on the file system below: with a lower file and with one
// that was copied up. It tells what it saw; a kernel that lacks it says so to
// both.
type exercise struct {
	name, doc string
	flags     int // of open(2)
	do        func(fd int) (saw string, err error)
}

// exercised is the content of the file: a hole of 8 pages between two of data.
var exercised = strings.Repeat("d", 4096) + strings.Repeat("\x00", 8*4096) + strings.Repeat("e", 4096)

var exercises = []exercise{
	{"preadv2-nowait", "reads without waiting (preadv2(2), RWF_NOWAIT)", unix.O_RDONLY, func(fd int) (string, error) {
		b := make([]byte, 100)
		n, err := unix.Preadv2(fd, [][]byte{b}, 0, unix.RWF_NOWAIT)
		return fmt.Sprintf("%q", b[:max(n, 0)]), err
	}},
	{"pwritev2-dsync", "writes through (pwritev2(2), RWF_DSYNC)", unix.O_RDWR, func(fd int) (string, error) {
		n, err := unix.Pwritev2(fd, [][]byte{[]byte("start")}, 0, unix.RWF_DSYNC)
		return fmt.Sprint(n), err
	}},
	{"pwritev2-unknown-flag", "refuses a flag nobody knows (pwritev2(2))", unix.O_RDWR, func(fd int) (string, error) {
		n, err := unix.Pwritev2(fd, [][]byte{[]byte("x")}, 0, 1<<30)
		return fmt.Sprint(n), err
	}},
	{"readv", "reads into several buffers (readv(2))", unix.O_RDONLY, func(fd int) (string, error) {
		a, b := make([]byte, 5), make([]byte, 7)
		n, err := unix.Preadv(fd, [][]byte{a, b}, 4090)
		return fmt.Sprintf("%d %q %q", n, a, b), err
	}},
	{"seek-out-of-range", "refuses to seek before the start (lseek(2))", unix.O_RDONLY, func(fd int) (string, error) {
		at, err := unix.Seek(fd, -1, unix.SEEK_SET)
		return fmt.Sprint(at), err
	}},
	{"seek-data-beyond-end", "has no data beyond the end (lseek(2), ENXIO)", unix.O_RDONLY, func(fd int) (string, error) {
		at, err := unix.Seek(fd, 1<<20, unix.SEEK_DATA)
		return fmt.Sprint(at), err
	}},
	{"offset-shared-by-dup", "moves one offset for two descriptors (dup(2))", unix.O_RDWR, func(fd int) (string, error) {
		other, err := unix.Dup(fd)
		if err != nil {
			return "", err
		}
		defer unix.Close(other)
		err = writeAll(other, "abc")
		at, seek := unix.Seek(fd, 0, unix.SEEK_CUR)
		return fmt.Sprint(at), errors.Join(err, seek)
	}},
	{"write-beyond-largest", "refuses to write beyond the largest file (write(2), EFBIG)", unix.O_RDWR, func(fd int) (string, error) {
		n, err := unix.Pwrite(fd, []byte("x"), 1<<63-1)
		return fmt.Sprint(n), err
	}},
	{"truncate-beyond-largest", "truncates to the largest size, or refuses (truncate(2), EFBIG)", unix.O_RDWR, func(fd int) (string, error) {
		if err := unix.Ftruncate(fd, 1<<63-1); err != nil {
			return "", err
		}
		end, err := unix.Seek(fd, 0, unix.SEEK_END)
		return fmt.Sprint(end), errors.Join(err, unix.Ftruncate(fd, 10))
	}},
	{"limit-write", "writes up to the limit of the process, and no further (setrlimit(2), RLIMIT_FSIZE)", unix.O_RDWR, limited(func(fd int) (string, error) {
		n, err := unix.Pwrite(fd, []byte("0123456789"), sizeLimit-4)
		m, beyond := unix.Pwrite(fd, []byte("x"), sizeLimit)
		return fmt.Sprint(n, m, beyond), err
	})},
	{"limit-truncate", "does not grow beyond the limit of the process (setrlimit(2), RLIMIT_FSIZE)", unix.O_RDWR, limited(func(fd int) (string, error) {
		return "", unix.Ftruncate(fd, sizeLimit+1)
	})},
	{"limit-fallocate", "reserves nothing beyond the limit of the process (setrlimit(2), RLIMIT_FSIZE)", unix.O_RDWR, limited(func(fd int) (string, error) {
		return "", unix.Fallocate(fd, 0, sizeLimit, 10)
	})},
	{"fallocate-collapse", "takes a range out, or refuses (fallocate(2))", unix.O_RDWR, fallocate(unix.FALLOC_FL_COLLAPSE_RANGE)},
	{"fallocate-insert", "puts a range in, or refuses (fallocate(2))", unix.O_RDWR, fallocate(unix.FALLOC_FL_INSERT_RANGE)},
	{"fallocate-zero", "zeroes a range, or refuses (fallocate(2))", unix.O_RDWR, fallocate(unix.FALLOC_FL_ZERO_RANGE)},
	{"fallocate-punch-without-keep", "refuses a hole that would change the size (fallocate(2))", unix.O_RDWR, fallocate(unix.FALLOC_FL_PUNCH_HOLE)},
	{"copy-range-overlapping", "does not copy a range onto itself (copy_file_range(2), EINVAL)", unix.O_RDWR, func(fd int) (string, error) {
		from, to := int64(0), int64(100)
		n, err := unix.CopyFileRange(fd, &from, fd, &to, 4096, 0)
		return fmt.Sprint(n), err
	}},
	{"direct-read", "reads past the cache, where the file system can (open(2), O_DIRECT)", unix.O_RDONLY | unix.O_DIRECT, func(fd int) (string, error) {
		b := aligned(2 * 4096)
		n, err := unix.Pread(fd, b, 4096*8)
		return fmt.Sprintf("%d %q", n, b[4090:4100]), err
	}},
	{"direct-write", "writes past the cache, where the file system can (open(2), O_DIRECT)", unix.O_RDWR | unix.O_DIRECT, func(fd int) (string, error) {
		b := aligned(2 * 4096)
		copy(b, "direct")
		n, err := unix.Pwrite(fd, b[:4096], 4096)
		return fmt.Sprint(n), err
	}},
	{"fiemap", "tells where data lies, where the file system does (Documentation/filesystems/fiemap.rst)", unix.O_RDONLY, func(fd int) (string, error) {
		var head [4]uint64 // fm_start, fm_length, fm_flags and fm_mapped_extents, fm_extent_count: none to be told, but counted
		head[1] = 1 << 30
		const fiemap = 0xc020660b
		_, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), fiemap, uintptr(unsafe.Pointer(&head[0])))
		return fmt.Sprint(head[2] >> 32), errnoOr(e)
	}},
	{"sync-range", "syncs a range (sync_file_range(2))", unix.O_RDWR, func(fd int) (string, error) {
		return "", errors.Join(writeAll(fd, "x"), unix.SyncFileRange(fd, 0, 4096, unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER))
	}},
	{"unknown-ioctl", "refuses an ioctl nobody knows (ioctl(2), ENOTTY)", unix.O_RDONLY, func(fd int) (string, error) {
		_, err := unix.IoctlGetInt(fd, 0x7a7a)
		return "", err
	}},
	{"bytes-to-read", "tells how much there is to read (ioctl_tty(2), FIONREAD)", unix.O_RDONLY, func(fd int) (string, error) {
		n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		return fmt.Sprint(n), err
	}},
	{"mapping-beyond-end", "maps the page of the end with zeroes after it (mmap(2))", unix.O_RDWR, func(fd int) (string, error) {
		if err := unix.Ftruncate(fd, 10); err != nil {
			return "", err
		}
		m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil {
			return "", err
		}
		defer unix.Munmap(m)
		return fmt.Sprintf("%q", m[:20]), nil
	}},
	{"mapping-of-read-only-descriptor", "is not mapped shared for writing by a descriptor for reading (mmap(2), EACCES)", unix.O_RDONLY, func(fd int) (string, error) {
		m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err == nil {
			unix.Munmap(m)
		}
		return "", err
	}},
	{"aio", "is written and read by io_submit(2)", unix.O_RDWR, submitAIO},
	{"uring", "is written and read by io_uring(7), with registered buffers, too", unix.O_RDWR, submitRing},
}

func exerciseCases() (cases []suites.Case) {
	for _, e := range exercises {
		cases = append(cases, suites.Case{
			Name: "io-" + e.name,
			Doc:  "A file " + e.doc + ", as on the file system below, copied up or not (overlayfs.rst, non-directories).",
			Run:  e.run,
		})
	}
	return append(cases, ioCases...)
}

func (e exercise) run(t *suites.T) {
	o := layers(t, lower(file("lower", ""), file("copied", "")))
	plain := o.layer("plain", []node{file("lower", ""), file("copied", "")})
	for _, path := range []string{o.inLower("lower"), o.inLower("copied"), plain + "/lower", plain + "/copied"} {
		o.do("write the file", withHole(path))
	}
	o.remember()
	o.do("mount", o.mount())
	o.chmod("copied", 0o600)
	o.do("chmod the plain file", os.Chmod(plain+"/copied", 0o600))
	for _, name := range []string{"lower", "copied"} {
		want, expected := e.try(plain + "/" + name)
		if errors.Is(expected, unix.ENOSYS) {
			t.Skip("this kernel lacks the system call")
		}
		got, err := e.try(o.at(name))
		if got != want || !sameError(err, expected) {
			t.Errorf("%s file: saw %q (%v), on the file system below %q (%v)", name, got, outcome(err), want, outcome(expected))
		}
	}
	o.everyView(func(v view) {
		for _, name := range []string{"lower", "copied"} {
			got, err := os.ReadFile(o.at(name))
			want, below := os.ReadFile(plain + "/" + name)
			if !bytes.Equal(got, want) || err != nil || below != nil {
				t.Errorf("%s: %s holds %s (%v), on the file system below %s (%v)", v, name, show(string(got)), err, show(string(want)), below)
			}
		}
	})
}

// try opens the file and does it; an error of the open is one of it all.
func (e exercise) try(path string) (saw string, err error) {
	failed := withFd(e.flags, func(fd int) error { saw, err = e.do(fd); return nil })(path)
	return saw, errors.Join(failed, err)
}

// withHole writes the file's data around its hole.
func withHole(path string) error {
	return withFd(unix.O_WRONLY, func(fd int) error {
		_, err := unix.Pwrite(fd, []byte(exercised[:4096]), 0)
		_, end := unix.Pwrite(fd, []byte(exercised[9*4096:]), 9*4096)
		return errors.Join(err, end)
	})(path)
}

// seekAll goes from data to hole to data, to the end.
func seekAll(fd int) (saw string, err error) {
	at, whence := int64(0), unix.SEEK_DATA
	for range 10 {
		if at, err = unix.Seek(fd, at, whence); err != nil {
			return saw + fmt.Sprint(err), nil
		}
		saw += fmt.Sprint(at, " ")
		whence = unix.SEEK_DATA + unix.SEEK_HOLE - whence
	}
	return saw, nil
}

func fallocate(mode uint32) func(fd int) (string, error) {
	return func(fd int) (string, error) { return "", unix.Fallocate(fd, mode, 4096, 4096) }
}

// sizeLimit is the limit to a file's size that limited sets, in bytes.
const sizeLimit = 10*4096 + 100

// limited does it with a limit to the size of files, without the signal that
// tells of it.
func limited(do func(fd int) (string, error)) func(fd int) (string, error) {
	return func(fd int) (string, error) {
		signal.Ignore(unix.SIGXFSZ)
		defer signal.Reset(unix.SIGXFSZ)
		var was unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &was); err != nil {
			return "", err
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: sizeLimit, Max: was.Max}); err != nil {
			return "", err
		}
		saw, err := do(fd)
		return saw, errors.Join(err, unix.Setrlimit(unix.RLIMIT_FSIZE, &was))
	}
}
