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
}

// String is the act as a person would do it.
func (a act) String() string {
	words := []string{a.kind, a.from}
	if actKinds[a.kind].two {
		words = append(words, a.to)
	}
	return strings.TrimSpace(fmt.Sprintf("%s (%d)", strings.Join(words, " "), a.n))
}

// An actKind is how an act is done, and how often in proportion to others.
type actKind struct {
	weight int
	two    bool // it has a second path
	do     func(from, to string, n int) error
}

// actKinds are all that changes a tree and can be told of by a path. What is
// done by two names relative to each other is done under one root.
var actKinds = map[string]actKind{
	"create": {6, false, func(p, _ string, n int) error {
		return withNew(p, unix.O_EXCL, func(fd int) error { return writeAll(fd, fmt.Sprint("new ", n)) })
	}},
	"overwrite": {3, false, func(p, _ string, n int) error {
		return onFile(p, unix.O_WRONLY, func(fd int) error { _, err := unix.Pwrite(fd, []byte(fmt.Sprint("w", n)), int64(n)); return err })
	}},
	"append": {3, false, func(p, _ string, n int) error {
		if n%2 == 0 {
			return onFile(p, unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, fmt.Sprint("+", n)) })
		}
		return onFile(p, unix.O_WRONLY, func(fd int) error { return appendLater(fd, fmt.Sprint("+", n)) })
	}},
	"truncate": {3, false, func(p, _ string, n int) error {
		return onFile(p, unix.O_WRONLY, func(fd int) error { return unix.Ftruncate(fd, int64(n*n)) })
	}},
	"mkdir":      {6, false, func(p, _ string, n int) error { return unix.Mkdir(p, 0o700|uint32(n)) }},
	"mkfifo":     {1, false, func(p, _ string, n int) error { return unix.Mkfifo(p, 0o600|uint32(n)) }},
	"symlink":    {2, false, func(p, _ string, n int) error { return unix.Symlink(fmt.Sprint("to ", n), p) }},
	"unlink":     {6, false, func(p, _ string, _ int) error { return unix.Unlink(p) }},
	"rmdir":      {4, false, func(p, _ string, _ int) error { return unix.Rmdir(p) }},
	"remove-all": {2, false, func(p, _ string, _ int) error { return bare(os.RemoveAll(p)) }},
	"chmod": {3, false, func(p, _ string, n int) error {
		if isKind(p, unix.S_IFLNK) {
			return unix.EOPNOTSUPP
		}
		return unix.Chmod(p, 0o700|uint32(n)|uint32(n%4)*0o2000)
	}},
	"chown": {2, false, func(p, _ string, n int) error { return unix.Lchown(p, n, n+1) }},
	"utimes": {2, false, func(p, _ string, n int) error {
		return bare(setTimes(p, stamp.Add(time.Duration(n)*time.Second+1)))
	}},
	"setxattr": {3, false, func(p, _ string, n int) error {
		return unix.Lsetxattr(p, fmt.Sprint("trusted.", n%3), []byte{byte(n)}, 0)
	}},
	"removexattr": {2, false, func(p, _ string, n int) error { return unix.Lremovexattr(p, fmt.Sprint("trusted.", n%3)) }},
	"acl":         {2, false, func(p, _ string, n int) error { return unix.Setxattr(p, aclNames[n%2], anyACL(n), 0) }},
	"chattr":      {2, false, func(p, _ string, n int) error { return setFlags(p, protections[n%len(protections)]) }},
	"reopen":      {2, false, func(p, _ string, _ int) error { return onFile(p, unix.O_WRONLY, func(int) error { return nil }) }},
	"fallocate": {2, false, func(p, _ string, n int) error {
		return perhapsAs(n, func() error {
			return onFile(p, unix.O_WRONLY, func(fd int) error { return unix.Fallocate(fd, uint32(n%4), int64(n), 100) })
		})
	}},
	"write-by-another": {3, false, func(p, _ string, n int) error {
		return perhapsAs(1, func() error { return onFile(p, unix.O_WRONLY, func(fd int) error { return writeAll(fd, "X") }) })
	}},
	"create-by-another": {3, false, func(p, _ string, n int) error {
		return perhapsAs(1, func() error { return unix.Mknod(p, unix.S_IFREG|0o666, 0) })
	}},
	"mkdir-by-another": {2, false, func(p, _ string, n int) error { return perhapsAs(1, func() error { return unix.Mkdir(p, 0o777) }) }},
	"copy-range": {3, true, func(p, q string, n int) error {
		return perhapsAs(n, func() error {
			return pair(p, q, func(in, out int) error {
				from, to := int64(n%3), int64(n)
				_, err := unix.CopyFileRange(in, &from, out, &to, 7, 0)
				return err
			})
		})
	}},
	"sendfile": {2, true, func(p, q string, n int) error {
		return perhapsAs(n, func() error {
			return pair(p, q, func(in, out int) error { _, err := unix.Sendfile(out, in, nil, 7); return err })
		})
	}},
	"link":      {4, true, func(p, q string, _ int) error { return unix.Link(p, q) }},
	"rename":    {10, true, func(p, q string, _ int) error { return unix.Rename(p, q) }},
	"exchange":  {4, true, func(p, q string, _ int) error { return rename2(p, q, unix.RENAME_EXCHANGE) }},
	"noreplace": {2, true, func(p, q string, _ int) error { return rename2(p, q, unix.RENAME_NOREPLACE) }},
	"cycle":     {2, false, nil},
}

func (a act) do(root string) error {
	return actKinds[a.kind].do(filepath.Join(root, a.from), filepath.Join(root, a.to), a.n)
}

func rename2(from, to string, flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}

// withNew creates a file for f.
func withNew(path string, flags int, f func(fd int) error) error {
	fd, err := unix.Open(path, flags|unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
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

// perhapsAs calls f as another user if n is odd.
func perhapsAs(n int, f func() error) error {
	if n%2 == 0 {
		return f()
	}
	return as(nobody, nobody+1, f)
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
	root := f.plain(t)
	r := rand.New(rand.NewPCG(seed, 0))
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(actKinds)) {
		if kind != "link" || f.links {
			kinds = append(kinds, slices.Repeat([]string{kind}, actKinds[kind].weight)...)
		}
	}
	for uint64(len(acts)) < ops {
		tr, err := readTree(root)
		if err != nil {
			t.Fatalf("read the plain tree: %v", err)
		}
		a := act{kind: kinds[r.IntN(len(kinds))], from: somePath(r, tr), n: r.IntN(fuzzRange)}
		switch a.kind {
		case "create", "mkdir", "mkfifo", "symlink", "create-by-another", "mkdir-by-another":
			a.from = newPath(r, tr)
		}
		if actKinds[a.kind].two {
			a.to = newPath(r, tr)
			switch a.kind {
			case "exchange", "copy-range", "sendfile":
				a.to = somePath(r, tr)
			}
		}
		if a.kind != "cycle" {
			_ = a.do(root)
		}
		acts = append(acts, a)
	}
	return acts
}

// somePath is one of a tree, but not its root.
func somePath(r *rand.Rand, tr tree) string {
	paths := slices.Sorted(maps.Keys(tr))
	if len(paths) == 1 {
		return "a"
	}
	for {
		if p := paths[r.IntN(len(paths))]; p != "." {
			return p
		}
	}
}

// newPath is a name in a directory of the tree, which may be taken.
func newPath(r *rand.Rand, tr tree) string {
	var dirs []string
	for _, p := range slices.Sorted(maps.Keys(tr)) {
		if tr[p].isDir() && strings.Count(p, "/") < 3 {
			dirs = append(dirs, p)
		}
	}
	return filepath.Join(dirs[r.IntN(len(dirs))], actNames[r.IntN(len(actNames))])
}
