package overlayfs

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// An act is one thing a fuzz does to a tree.
type act struct {
	kind     string
	from, to string // paths in the tree
	n        int    // what the kind makes of it
	another  bool   // a user without privileges does it
}

// String is the act as a person would do it.
func (a act) String() string {
	words := []string{a.kind, a.from}
	if actKinds[a.kind].two {
		words = append(words, a.to)
	}
	if a.another {
		words = append(words, "by another user")
	}
	return strings.TrimSpace(fmt.Sprintf("%s (%d)", strings.Join(words, " "), a.n))
}

// An actKind is how an act is done, and how often in proportion to others.
type actKind struct {
	weight int
	new    bool // the path is that of something to make
	two    bool // it has a second path
	do     func(from, to string, n int) error
	held   func(p *stage, path string, n int) error // instead of do, for what is held open
	mounts bool                                     // it is done to the overlay as a whole
	root   bool                                     // it is for root alone: others may get so far, or so far
}

// actKinds are all that changes a tree and can be told of by a path. What is
// done by two names relative to each other is done under one root.
var actKinds = map[string]actKind{
	"create": {weight: 6, new: true, do: func(p, _ string, n int) error {
		return withNew(p, n%2*unix.O_EXCL, func(fd int) error { return writeAll(fd, fmt.Sprint("new ", n)) })
	}},
	"remake": {weight: 8, root: true, do: func(p, _ string, n int) error {
		if err := os.RemoveAll(p); err != nil {
			return bare(err)
		}
		return makeAny(p, n)
	}},
	"make": {weight: 4, new: true, do: func(p, _ string, n int) error { return makeAny(p, n) }},
	"overwrite": {weight: 3, do: func(p, _ string, n int) error {
		return onFile(p, unix.O_WRONLY, func(fd int) error { _, err := unix.Pwrite(fd, []byte(fmt.Sprint("w", n)), int64(n)); return err })
	}},
	"aio": {weight: 2, do: func(p, _ string, n int) error {
		return onFile(p, unix.O_RDWR, func(fd int) error { return aioBoth(fd, n) })
	}},
	"pwritev2": {weight: 2, do: func(p, _ string, n int) error {
		return onFile(p, unix.O_WRONLY, func(fd int) error {
			_, err := unix.Pwritev2(fd, [][]byte{[]byte("v2"), []byte(fmt.Sprint(n))}, int64(n), writeFlags[n%len(writeFlags)])
			return err
		})
	}},
	"append": {weight: 3, do: func(p, _ string, n int) error {
		if n%2 == 0 {
			return onFile(p, unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, fmt.Sprint("+", n)) })
		}
		return onFile(p, unix.O_WRONLY, func(fd int) error { return appendLater(fd, fmt.Sprint("+", n)) })
	}},
	"truncate":   {weight: 5, do: func(p, _ string, n int) error { return truncate(p, n) }},
	"mkdir":      {weight: 5, new: true, do: func(p, _ string, n int) error { return unix.Mkdir(p, 0o700|uint32(n)) }},
	"unlink":     {weight: 6, do: func(p, _ string, _ int) error { return unix.Unlink(p) }},
	"rmdir":      {weight: 4, do: func(p, _ string, _ int) error { return unix.Rmdir(p) }},
	"remove-all": {weight: 2, root: true, do: func(p, _ string, _ int) error { return bare(os.RemoveAll(p)) }},
	"chmod": {weight: 3, do: func(p, _ string, n int) error {
		if isKind(p, unix.S_IFLNK) {
			return unix.EOPNOTSUPP
		}
		return unix.Chmod(p, 0o700|uint32(n)|uint32(n%4)*0o2000)
	}},
	"chown": {weight: 2, do: func(p, _ string, n int) error { return unix.Lchown(p, n, n+1) }},
	"utimes": {weight: 3, do: func(p, _ string, n int) error {
		return bare(setTimes(p, stamp.Add(time.Duration(n)*time.Second+1)))
	}},
	"touch": {weight: 1, do: func(p, _ string, _ int) error {
		return unix.UtimesNanoAt(unix.AT_FDCWD, p, nil, unix.AT_SYMLINK_NOFOLLOW)
	}},
	"setxattr": {weight: 3, do: func(p, _ string, n int) error {
		return unix.Lsetxattr(p, fmt.Sprint(xattrSpaces[n%2], n%3), []byte(long(n*n%700)), n/8%3)
	}},
	"removexattr": {weight: 2, do: func(p, _ string, n int) error { return unix.Lremovexattr(p, fmt.Sprint(xattrSpaces[n%2], n%3)) }},
	"acl":         {weight: 3, do: func(p, _ string, n int) error { return unix.Setxattr(p, aclNames[n%2], anyACL(n), 0) }},
	"chattr":      {weight: 2, root: true, do: func(p, _ string, n int) error { return setFlags(p, protections[n%len(protections)]) }},
	"reopen":      {weight: 2, do: func(p, _ string, _ int) error { return onFile(p, unix.O_WRONLY, func(int) error { return nil }) }},
	"sync":        {weight: 1, do: func(p, _ string, _ int) error { return onFile(p, unix.O_RDONLY, unix.Fsync) }},
	"fallocate": {weight: 3, do: func(p, _ string, n int) error {
		return onFile(p, unix.O_WRONLY, func(fd int) error { return unix.Fallocate(fd, uint32(n%4), int64(n), 100) })
	}},
	"copy-range": {weight: 3, two: true, do: func(p, q string, n int) error {
		return pair(p, q, func(in, out int) error {
			from, to := int64(n%3), int64(n)
			_, err := unix.CopyFileRange(in, &from, out, &to, 7, 0)
			if !errors.Is(err, unix.EXDEV) {
				return err
			}
			// The files below are on two file systems, which the kernel lets shine
			// through: who copies goes on by hand (copy_file_range(2), EXDEV).
			b := make([]byte, 7)
			n, err := unix.Pread(in, b, from)
			if err == nil {
				_, err = unix.Pwrite(out, b[:n], to)
			}
			return err
		})
	}},
	"sendfile": {weight: 3, two: true, do: func(p, q string, n int) error {
		return pair(p, q, func(in, out int) error {
			from := int64(n % 5)
			_, err := unix.Sendfile(out, in, &from, 7)
			return err
		})
	}},
	"link":       {weight: 4, two: true, do: func(p, q string, _ int) error { return unix.Link(p, q) }},
	"rename":     {weight: 10, two: true, do: func(p, q string, _ int) error { return unix.Rename(p, q) }},
	"exchange":   {weight: 6, two: true, do: func(p, q string, _ int) error { return rename2(p, q, unix.RENAME_EXCHANGE) }},
	"noreplace":  {weight: 2, two: true, do: func(p, q string, _ int) error { return rename2(p, q, unix.RENAME_NOREPLACE) }},
	"hold":       {weight: 6, held: (*stage).hold},
	"held-write": {weight: 6, held: (*stage).write},
	"cycle":      {weight: 2, mounts: true},
	"rotate":     {weight: 2, mounts: true},
}

// writeFlags are those of pwritev2(2), but for RWF_APPEND, which overlayfs drops
// in 6.1 (fs/overlayfs/file.c, ovl_iocb_to_rwf).
var writeFlags = []int{0, unix.RWF_DSYNC, unix.RWF_SYNC}

// aioBoth writes, and reads what it wrote, as io_submit(2) does.
func aioBoth(fd, n int) error {
	text := []byte(fmt.Sprint("aio ", n))
	if _, err := aio(fd, aioWrite, text, int64(n)); err != nil {
		return err
	}
	again := make([]byte, len(text))
	if got, err := aio(fd, aioRead, again, int64(n)); err != nil || got != len(text) || string(again) != string(text) {
		return errors.Join(err, unix.EIO)
	}
	return nil
}

// xattrSpaces are where extended attributes are set: one is seen by root alone.
var xattrSpaces = []string{"trusted.", "security."}

// masks are what umask(2) is set to for an act.
var masks = []int{0, 0o022, 0o077, 0}

func (a act) do(p *stage) error {
	k := actKinds[a.kind]
	deed := func() error { return k.do(filepath.Join(p.root, a.from), filepath.Join(p.root, a.to), a.n) }
	if k.held != nil {
		deed = func() error { return k.held(p, a.from, a.n) }
	}
	defer unix.Umask(unix.Umask(masks[a.n/2%len(masks)]))
	if a.another {
		return as(nobody, nobody+1, deed)
	}
	return deed()
}

// makeAny makes a file of any type.
func makeAny(p string, n int) error {
	switch n % 7 {
	case 0, 1:
		return withNew(p, unix.O_EXCL, func(fd int) error { return writeAll(fd, fmt.Sprint("made ", n)) })
	case 2, 3:
		return unix.Mkdir(p, 0o777)
	case 4:
		return unix.Symlink(fmt.Sprint("to ", n), p)
	case 5:
		return unix.Mkfifo(p, 0o666)
	}
	return unix.Mknod(p, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
}

// truncate sets a file's length, in one of the ways there are.
func truncate(p string, n int) error {
	switch n % 3 {
	case 0:
		return onFile(p, unix.O_WRONLY, func(fd int) error { return unix.Ftruncate(fd, int64(n*n)) })
	case 1:
		return onFile(p, unix.O_WRONLY|unix.O_TRUNC, func(fd int) error { return writeAll(fd, fmt.Sprint("t", n)) })
	}
	if isKind(p, unix.S_IFLNK) {
		return unix.ELOOP
	}
	return unix.Truncate(p, int64(n*n))
}

func rename2(from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}

// withNew creates a file for f.
func withNew(path string, flags int, f func(fd int) error) error {
	if isKind(path, unix.S_IFIFO) {
		return unix.EINVAL
	}
	fd, err := unix.Open(path, flags|unix.O_CREAT|unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o666)
	if err != nil {
		return err
	}
	return errors.Join(f(fd), unix.Close(fd))
}

// onFile opens what must not be a FIFO, whose opener would wait, for f.
func onFile(path string, flags int, f func(fd int) error) error {
	if isKind(path, unix.S_IFIFO) {
		return unix.EINVAL
	}
	return withFd(flags|unix.O_NOFOLLOW, f)(path)
}

// appendLater writes by a descriptor that is made to append after it was opened.
func appendLater(fd int, text string) error {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_APPEND); err != nil {
		return err
	}
	return writeAll(fd, text)
}

// pair opens two files, one to read and one to write, for f.
func pair(in, out string, f func(in, out int) error) error {
	return onFile(in, unix.O_RDONLY, func(from int) error {
		return onFile(out, unix.O_WRONLY, func(to int) error { return f(from, to) })
	})
}

// bare is the error number alone: the rest of it names another tree.
func bare(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

func isKind(path string, kind uint32) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == kind
}

// actNames are what new files are called: some that begin others, some hidden,
// and all often there already.
var actNames = []string{"a", "ab", "abc", "b", ".h", "f", "l", "both", "gone", "one", "s"}

// fuzzRange bounds the number an act goes by; a time that an act sets is fewer
// seconds than that after all others.
const fuzzRange = 64

// invent makes acts by doing them on a plain tree, so that most name something
// that is there.
func (f fuzz) invent(t *suites.T, seed, ops uint64) (acts []act) {
	t.Helper()
	p := &stage{root: f.plain(t)}
	defer p.release()
	r := rand.New(rand.NewPCG(seed, 0))
	kinds := f.kinds()
	for uint64(len(acts)) < ops {
		there, err := namesUnder(p.root)
		if err != nil {
			t.Fatalf("read the plain tree: %v", err)
		}
		kind := kinds[r.IntN(len(kinds))]
		k := actKinds[kind]
		a := act{kind: kind, from: somePath(r, there, acts), n: r.IntN(fuzzRange), another: !k.root && !k.mounts && r.IntN(4) == 0}
		if k.new {
			a.from = newPath(r, there)
		}
		if k.two {
			a.to = newPath(r, there)
			if (kind != "rename" || r.IntN(3) == 0) && kind != "link" {
				a.to = somePath(r, there, acts)
			}
		}
		if !k.mounts {
			_ = a.do(p)
		}
		acts = append(acts, a)
	}
	return acts
}

// kinds are those a fuzz does, each as often as it has weight.
func (f fuzz) kinds() (kinds []string) {
	for _, kind := range slices.Sorted(maps.Keys(actKinds)) {
		// Lower links are broken without an index, and the index stays behind when
		// the layers change places. So do flags: they are kept in an attribute that
		// is read in the upper layer only (fs/overlayfs/util.c, ovl_check_protattr).
		if kind == "link" && !f.links || kind == "rotate" && f.links || kind == "chattr" && !f.links {
			continue
		}
		kinds = append(kinds, slices.Repeat([]string{kind}, actKinds[kind].weight)...)
	}
	return kinds
}

// namesUnder are the paths under root, and whether each is a directory.
func namesUnder(root string) (map[string]bool, error) {
	there := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, path); err == nil && rel != "." {
			there[rel] = e.IsDir()
		}
		return err
	})
	return there, err
}

// lately is how many acts are looked back on for something to do more to.
const lately = 4

// somePath is one of those that are there; in one of three cases one that was
// lately done something to.
func somePath(r *rand.Rand, there map[string]bool, acts []act) string {
	var paths []string
	if r.IntN(3) == 0 {
		for _, a := range acts[max(0, len(acts)-lately):] {
			for _, p := range []string{a.from, a.to} {
				if _, ok := there[p]; ok {
					paths = append(paths, p)
				}
			}
		}
	}
	if len(paths) == 0 {
		paths = slices.Sorted(maps.Keys(there))
	}
	if len(paths) == 0 {
		return "a"
	}
	return paths[r.IntN(len(paths))]
}

// newPath is a name in a directory that is there, which may be taken.
func newPath(r *rand.Rand, there map[string]bool) string {
	dirs := []string{"."}
	for _, p := range slices.Sorted(maps.Keys(there)) {
		if there[p] && strings.Count(p, "/") < 3 {
			dirs = append(dirs, p)
		}
	}
	return filepath.Join(dirs[r.IntN(len(dirs))], actNames[r.IntN(len(actNames))])
}
