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
		return withFd(unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW, func(fd int) error { return pwriteAll(fd, fmt.Sprint("w", n), n) })(p)
	}},
	"append": {3, false, func(p, _ string, n int) error {
		return withFd(unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_APPEND, func(fd int) error { return writeAll(fd, fmt.Sprint("+", n)) })(p)
	}},
	"truncate": {3, false, func(p, _ string, n int) error {
		if isFIFO(p) {
			return unix.EINVAL
		}
		return withFd(unix.O_WRONLY|unix.O_NOFOLLOW, func(fd int) error { return unix.Ftruncate(fd, int64(n*n)) })(p)
	}},
	"mkdir":      {6, false, func(p, _ string, n int) error { return unix.Mkdir(p, 0o700|uint32(n)) }},
	"mkfifo":     {1, false, func(p, _ string, n int) error { return unix.Mkfifo(p, 0o600|uint32(n)) }},
	"symlink":    {2, false, func(p, _ string, n int) error { return unix.Symlink(fmt.Sprint("to ", n), p) }},
	"unlink":     {6, false, func(p, _ string, _ int) error { return unix.Unlink(p) }},
	"rmdir":      {4, false, func(p, _ string, _ int) error { return unix.Rmdir(p) }},
	"remove-all": {2, false, func(p, _ string, _ int) error { return bare(os.RemoveAll(p)) }},
	"chmod": {3, false, func(p, _ string, n int) error {
		if isSymlink(p) {
			return unix.EOPNOTSUPP
		}
		return unix.Chmod(p, 0o700|uint32(n))
	}},
	"chown": {2, false, func(p, _ string, n int) error { return unix.Lchown(p, n, n+1) }},
	"utimes": {2, false, func(p, _ string, n int) error {
		return bare(setTimes(p, stamp.Add(time.Duration(n)*time.Second+1)))
	}},
	"setxattr": {3, false, func(p, _ string, n int) error {
		return unix.Lsetxattr(p, fmt.Sprint("trusted.", n%3), []byte{byte(n)}, 0)
	}},
	"removexattr": {2, false, func(p, _ string, n int) error { return unix.Lremovexattr(p, fmt.Sprint("trusted.", n%3)) }},
	"link":        {4, true, func(p, q string, _ int) error { return unix.Link(p, q) }},
	"rename":      {10, true, func(p, q string, _ int) error { return unix.Rename(p, q) }},
	"exchange":    {4, true, func(p, q string, _ int) error { return rename2(p, q, unix.RENAME_EXCHANGE) }},
	"noreplace":   {2, true, func(p, q string, _ int) error { return rename2(p, q, unix.RENAME_NOREPLACE) }},
	"cycle":       {2, false, nil},
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

func pwriteAll(fd int, text string, at int) error {
	_, err := unix.Pwrite(fd, []byte(text), int64(at))
	return err
}

// bare is the error number alone: the rest of it names another tree.
func bare(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

func isSymlink(path string) bool { return isKind(path, unix.S_IFLNK) }
func isFIFO(path string) bool    { return isKind(path, unix.S_IFIFO) }

func isKind(path string, kind uint32) bool {
	var st unix.Stat_t
	return unix.Lstat(path, &st) == nil && st.Mode&unix.S_IFMT == kind
}

// actNames are what new files are called: some that begin others, some hidden,
// and all often there already.
var actNames = []string{"a", "ab", "abc", "b", ".h", "f", "l", "both", "gone", "one", "s"}

// invent makes acts by doing them on a plain tree, so that most name something
// that is there.
func (f fuzz) invent(t *suites.T, seed uint64) (acts []act) {
	t.Helper()
	root := f.plain(t)
	r := rand.New(rand.NewPCG(seed, 0))
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(actKinds)) {
		if kind != "link" || f.links {
			kinds = append(kinds, slices.Repeat([]string{kind}, actKinds[kind].weight)...)
		}
	}
	for len(acts) < fuzzActs {
		tr, err := readTree(root)
		if err != nil {
			t.Fatalf("read the plain tree: %v", err)
		}
		a := act{kind: kinds[r.IntN(len(kinds))], from: somePath(r, tr), n: r.IntN(64)}
		switch a.kind {
		case "create", "mkdir", "mkfifo", "symlink":
			a.from = newPath(r, tr)
		}
		if actKinds[a.kind].two {
			a.to = newPath(r, tr)
			if a.kind == "exchange" {
				a.to = somePath(r, tr)
			}
		}
		if a.kind != "cycle" {
			a.do(root)
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
