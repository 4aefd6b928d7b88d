package overlayfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A tree is everything found under a directory, by path relative to it; "." is
// the directory.
type tree map[string]found

// A found is what one name in a tree stands for.
type found struct {
	unix.Stat_t
	text   string // content of a regular file, or target of a symbolic link
	xattrs map[string]string
}

// readTree reads all there is under root. A name listed twice, or listed and
// not to be found, is an error.
func readTree(root string) (tree, error) {
	tr := make(tree)
	if err := tr.add(root, "."); err != nil {
		return nil, err
	}
	return tr, nil
}

func (tr tree) add(root, rel string) error {
	path := filepath.Join(root, rel)
	f, err := readFound(path)
	if err != nil {
		return err
	}
	tr[rel] = f
	if f.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		child := filepath.Join(rel, e.Name())
		if _, twice := tr[child]; twice {
			return fmt.Errorf("%s is listed twice", child)
		}
		if err := tr.add(root, child); err != nil {
			return fmt.Errorf("%s is listed: %w", child, err)
		}
		if listed, is := e.Type(), tr[child].fileMode(); listed != is {
			return fmt.Errorf("%s is listed as %v and is %v", child, listed, is)
		}
	}
	return nil
}

func readFound(path string) (f found, err error) {
	if err := unix.Lstat(path, &f.Stat_t); err != nil {
		return f, fmt.Errorf("lstat %s: %w", path, err)
	}
	switch f.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.text, err = readText(path, f.Size)
	case unix.S_IFLNK:
		f.text, err = os.Readlink(path)
	}
	if err != nil {
		return f, err
	}
	f.xattrs, err = readXattrs(path)
	return f, err
}

// readText reads a file without leaving a trace of it: the time of last access
// has to survive a copy-up. It is done with few system calls, for trees are read
// all the time.
func readText(path string, size int64) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOATIME|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	text := make([]byte, size+1)
	for have := 0; ; {
		n, err := unix.Read(fd, text[have:])
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		if have += n; n == 0 {
			return string(text[:have]), nil
		}
		if have == len(text) {
			text = append(text, make([]byte, len(text))...)
		}
	}
}

// readXattrs returns the extended attributes of path itself.
func readXattrs(path string) (map[string]string, error) {
	names, err := listXattrs(path)
	if err != nil {
		return nil, err
	}
	xattrs := make(map[string]string)
	for _, name := range names {
		value, err := getXattr(path, name)
		if err != nil {
			return nil, err
		}
		xattrs[name] = value
	}
	return xattrs, nil
}

// Most lists and values of extended attributes fit into someXattrs bytes, all
// into maxXattrs (xattr(7), limits).
const (
	someXattrs = 512
	maxXattrs  = 64 << 10
)

// xattrText calls get with a buffer that is large enough.
func xattrText(get func(buf []byte) (int, error)) (string, error) {
	buf := make([]byte, someXattrs)
	n, err := get(buf)
	if errors.Is(err, unix.ERANGE) {
		buf = make([]byte, maxXattrs)
		n, err = get(buf)
	}
	return string(buf[:max(n, 0)]), err
}

func listXattrs(path string) ([]string, error) {
	names, err := xattrText(func(buf []byte) (int, error) { return unix.Llistxattr(path, buf) })
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return nil, fmt.Errorf("list the extended attributes of %s: %w", path, err)
	}
	if names == "" {
		return nil, nil
	}
	return strings.Split(strings.TrimSuffix(names, "\x00"), "\x00"), nil
}

func getXattr(path, name string) (string, error) {
	value, err := xattrText(func(buf []byte) (int, error) { return unix.Lgetxattr(path, name, buf) })
	if err != nil {
		return "", fmt.Errorf("get %s of %s: %w", name, path, err)
	}
	return value, nil
}

// fileMode is the file type as os.ReadDir gives it.
func (f found) fileMode() os.FileMode {
	switch f.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return os.ModeDir
	case unix.S_IFLNK:
		return os.ModeSymlink
	case unix.S_IFIFO:
		return os.ModeNamedPipe
	case unix.S_IFSOCK:
		return os.ModeSocket
	case unix.S_IFCHR:
		return os.ModeDevice | os.ModeCharDevice
	case unix.S_IFBLK:
		return os.ModeDevice
	}
	return 0
}

// differences says, one line each, where the tree is not what is wanted. The
// root counts by its names only.
func (tr tree) differences(want []node) (lines []string) {
	wanted := make(map[string]node)
	flatten(wanted, "", want)
	for _, path := range slices.Sorted(maps.Keys(wanted)) {
		f, ok := tr[path]
		if !ok {
			lines = append(lines, fmt.Sprintf("%s is missing", path))
			continue
		}
		for _, d := range wanted[path].differences(f) {
			lines = append(lines, path+": "+d)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(tr)) {
		if _, ok := wanted[path]; !ok && path != "." {
			lines = append(lines, fmt.Sprintf("%s is there (mode %o), want nothing of that name", path, tr[path].Mode))
		}
	}
	return lines
}

func flatten(into map[string]node, prefix string, nodes []node) {
	for _, n := range nodes {
		path := filepath.Join(prefix, n.name)
		into[path] = n
		flatten(into, path, n.children)
	}
}

// differences says where f is not what n is. Extended attributes that n does
// not name, and a time that n leaves open, may be any.
func (n node) differences(f found) (lines []string) {
	differ := func(what string, got, want any) {
		if got != want {
			lines = append(lines, fmt.Sprintf("%s is %s, want %s", what, show(got), show(want)))
		}
	}
	differ("mode", octal(f.Mode), octal(n.mode))
	differ("owner", [2]int{int(f.Uid), int(f.Gid)}, [2]int{n.uid, n.gid})
	if kind := n.mode & unix.S_IFMT; kind == unix.S_IFCHR || kind == unix.S_IFBLK {
		differ("device", f.Rdev, n.rdev)
	}
	differ("content", f.text, n.text)
	if !n.mtime.IsZero() {
		differ("mtime", time.Unix(f.Mtim.Unix()).UTC(), n.mtime.UTC())
	}
	for name, want := range n.xattrs {
		got, ok := f.xattrs[name]
		if !ok {
			got = "not set"
		}
		differ(name, got, want)
	}
	return lines
}

type octal uint32

// longest is how much of a text an error shows, in bytes.
const longest = 60

func show(v any) string {
	switch v := v.(type) {
	case octal:
		return fmt.Sprintf("%#o", uint32(v))
	case string:
		if len(v) > longest {
			return fmt.Sprintf("%q… (%d bytes, SHA-256 %.8x)", v[:longest], len(v), sha256.Sum256([]byte(v)))
		}
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}
