package overlayfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// readdirCases list directories that lie in several layers.
var readdirCases = []suites.Case{
	{
		Name: "readdir-each-name-once",
		Doc:  "A merged directory lists each name once, and so \".\" and \"..\" (overlayfs.rst, readdir).",
		Run: func(t *suites.T) {
			all := []node{file("a", ""), dir("s", file("x", "")), file("b", "")}
			o := newOverlay(t, lower(dir("d", all...)), lower(dir("d", all...)), upper(dir("d", all...)))
			o.everyView(func(v view) { o.lists(string(v), "d", ".", "..", "a", "b", "s") })
		},
	},
	{
		Name: "readdir-after-removal",
		Doc:  "Names that are removed are no longer listed (overlayfs.rst, readdir).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""), file("b", ""), file("c", ""))), upper(dir("d", file("u", ""))))
			o.lists("before", "d", ".", "..", "a", "b", "c", "u")
			o.unlink("d/b")
			o.unlink("d/u")
			o.everyView(func(v view) { o.lists(string(v), "d", ".", "..", "a", "c") })
		},
	},
	{
		Name: "readdir-large",
		Doc:  "A large merged directory is listed whole through a small buffer (getdents(2)).",
		Run:  readdirLarge,
	},
	{
		Name: "readdir-rewind-sees-changes",
		Doc:  "After a seek to the start, the list is made anew (overlayfs.rst, readdir).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""), file("b", ""))), upper(dir("d")))
			fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			defer unix.Close(fd)
			o.equal("first", o.names(fd), []string{".", "..", "a", "b"})
			o.write("d/new", "")
			o.unlink("d/a")
			o.rename("d/b", "d/c")
			o.seek(fd, 0)
			o.equal("after rewind", o.names(fd), []string{".", "..", "c", "new"})
		},
	},
	{
		Name: "readdir-second-descriptor-sees-changes",
		Doc:  "A list kept for one open directory is not shown to one opened after a change (overlayfs.rst, readdir).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))), upper(dir("d")))
			fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			defer unix.Close(fd)
			o.equal("first", o.names(fd), []string{".", "..", "a"})
			o.write("d/new", "")
			o.lists("second", "d", ".", "..", "a", "new")
			o.unlink("d/a")
			o.lists("third", "d", ".", "..", "new")
		},
	},
	{
		Name: "readdir-of-directory-copied-up-meanwhile",
		Doc:  "A lower directory that was open when it was copied up lists, from the start, what it has now (overlayfs.rst, readdir).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))))
			fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			defer unix.Close(fd)
			o.equal("first", o.names(fd), []string{".", "..", "a"})
			o.write("d/new", "")
			o.seek(fd, 0)
			o.equal("after copy-up", o.names(fd), []string{".", "..", "a", "new"})
		},
	},
	{
		Name: "readdir-seek-to-each-entry",
		Doc:  "Seeking to where an entry said the next one is gets that one (readdir(3), seekdir(3)).",
		Run:  seekEach,
	},
	{
		Name: "readdir-while-removing",
		Doc:  "Removing each entry as it is read removes all, and the directory can be removed (readdir(3)).",
		Run:  removeWhileReading,
	},
	{
		Name: "readdir-number-is-inode",
		Doc:  "The inode number listed is that of stat(2), where all layers are on one file system (overlayfs.rst, overlay objects).",
		Run:  inodeNumbers,
	},
	{
		Name: "readdir-removed-directory",
		Doc:  "An open directory that was removed lists nothing of what it held, or is ENOENT (getdents(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))))
			fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			defer unix.Close(fd)
			o.do("remove d", os.RemoveAll(o.at("d")))
			batch, err := readBatch(fd, smallBuffer)
			if err != nil {
				o.refused("list", err, unix.ENOENT)
			}
			for _, e := range batch {
				if e.name == "a" {
					t.Error("the removed directory lists a")
				}
			}
		},
	},
	{
		Name: "fsync-directory",
		Doc:  "fsync(2) of a directory succeeds in whatever layer it is, and when it was copied up while open.",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d"), dir("m")), upper(dir("u"), dir("m")))
			for _, name := range []string{"d", "m", "u"} {
				o.do("fsync "+name, withFd(unix.O_RDONLY, unix.Fsync)(o.at(name)))
			}
			fd := o.open("d", unix.O_RDONLY)
			defer unix.Close(fd)
			o.chmod("d", 0o700)
			o.do("fsync d after copy-up", unix.Fsync(fd))
		},
	},
}

// A dirent is what getdents64(2) gives: a name, its inode number and type, and
// where the next one is.
type dirent struct {
	ino  uint64
	next int64
	kind uint8 // DT_REG and others: what stat(2) has in the mode, shifted
	name string
}

// readBatch is one getdents64(2) into a buffer of size bytes.
func readBatch(fd, size int) (entries []dirent, err error) {
	return readInto(fd, make([]byte, size))
}

// readInto is readBatch with a buffer that may have been used before.
func readInto(fd int, buf []byte) (entries []dirent, err error) {
	n, err := unix.Getdents(fd, buf)
	if err != nil {
		return nil, fmt.Errorf("read a directory: %w", err)
	}
	// struct linux_dirent64: d_ino 8, d_off 8, d_reclen 2, d_type 1, d_name.
	for b := buf[:n]; len(b) > 19; {
		length := int(binary.NativeEndian.Uint16(b[16:]))
		name, _, _ := bytes.Cut(b[19:length], []byte{0})
		entries = append(entries, dirent{
			ino:  binary.NativeEndian.Uint64(b),
			next: int64(binary.NativeEndian.Uint64(b[8:])),
			kind: b[18],
			name: string(name),
		})
		b = b[length:]
	}
	return entries, nil
}

// readNames reads all of a directory but "." and "..".
func readNames(path string) (all []dirent, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	buf := make([]byte, namesBuffer)
	for {
		batch, err := readInto(fd, buf)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if len(batch) == 0 {
			return all, nil
		}
		for _, e := range batch {
			if e.name != "." && e.name != ".." {
				all = append(all, e)
			}
		}
	}
}

// namesBuffer is what readNames reads a directory by, in bytes.
const namesBuffer = 2 << 10

// smallBuffer holds few entries, so that one list takes many calls.
const smallBuffer = 280

// entries reads fd to its end.
func (o *overlay) entries(fd int) (all []dirent) {
	o.t.Helper()
	for {
		batch, err := readBatch(fd, smallBuffer)
		o.do("list", err)
		if len(batch) == 0 {
			return all
		}
		all = append(all, batch...)
	}
}

// names reads the sorted names from where fd is.
func (o *overlay) names(fd int) (names []string) {
	o.t.Helper()
	for _, e := range o.entries(fd) {
		names = append(names, e.name)
	}
	slices.Sort(names)
	return names
}

func (o *overlay) seek(fd int, to int64) {
	o.t.Helper()
	_, err := unix.Seek(fd, to, 0)
	o.do("seek in a directory", err)
}

func (o *overlay) equal(what string, got, want []string) {
	o.t.Helper()
	if !slices.Equal(got, want) {
		o.t.Errorf("%s: listed %q, want %q", what, got, want)
	}
}

// lists wants the directory to list names, given sorted.
func (o *overlay) lists(what, name string, want ...string) {
	o.t.Helper()
	fd := o.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	defer unix.Close(fd)
	o.equal(what, o.names(fd), want)
}

// manyFiles are manyNames files whose names begin with prefix.
func manyFiles(prefix string) (nodes []node, names []string) {
	for i := range manyNames {
		name := fmt.Sprintf("%s%04d", prefix, i)
		nodes, names = append(nodes, file(name, "")), append(names, name)
	}
	return nodes, names
}

func readdirLarge(t *suites.T) {
	low, a := manyFiles("a")
	up, b := manyFiles("b")
	o := newOverlay(t, lower(dir("d", low...)), upper(dir("d", append(up, low[:9]...)...)))
	o.everyView(func(v view) { o.lists(string(v), "d", slices.Concat([]string{".", ".."}, a, b)...) })
}

func seekEach(t *suites.T) {
	low, _ := manyFiles("a")
	o := newOverlay(t, lower(dir("d", low...)), upper(dir("d", file("u", ""))))
	fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
	defer unix.Close(fd)
	all := o.entries(fd)
	for i := len(all) - 2; i >= 0; i-- {
		o.seek(fd, all[i].next)
		got, err := readBatch(fd, smallBuffer)
		o.do("list from an entry", err)
		if len(got) == 0 || got[0] != all[i+1] {
			t.Fatalf("after %v comes %v, want %v", all[i], got, all[i+1])
		}
	}
}

func removeWhileReading(t *suites.T) {
	low, _ := manyFiles("a")
	up, _ := manyFiles("b")
	o := newOverlay(t, lower(dir("d", low...)), upper(dir("d", up...)))
	fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
	for {
		batch, err := readBatch(fd, smallBuffer)
		o.do("list", err)
		if len(batch) == 0 {
			break
		}
		for _, e := range batch {
			if e.name != "." && e.name != ".." {
				o.unlink("d/" + e.name)
			}
		}
	}
	unix.Close(fd)
	o.rmdir("d")
	o.shows()
	o.upperHolds(whiteout("d"))
}

func inodeNumbers(t *suites.T) {
	if lacks(t, "index") {
		t.Skip("this kernel's overlayfs does not keep inode numbers (index, 4.13)")
	}
	o := newOverlay(t, lower(dir("d", file("low", ""), file("up", ""), dir("s"))), upper(dir("d", file("u", ""))))
	o.chmod("d/up", 0o600)
	o.rename("d/low", "d/moved")
	o.everyView(func(v view) { o.listsInodes(v, "d") })
}

// listsInodes wants the inode numbers listed to be those of stat(2).
func (o *overlay) listsInodes(v view, name string) {
	o.t.Helper()
	fd := o.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	defer unix.Close(fd)
	for _, e := range o.entries(fd) {
		if st := o.stat(name + "/" + e.name); st.Ino != e.ino {
			o.t.Errorf("%s: %s is listed with inode %d, stat says %d", v, e.name, e.ino, st.Ino)
		}
	}
}
