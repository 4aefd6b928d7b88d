package overlayfs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// checkInvariants finds what no case may do, whatever it is about: keep the
// mount busy, leave temporary files in the work directory, change a lower
// layer.
func (o *overlay) checkInvariants() {
	if o.mounted {
		if err := unix.Unmount(o.merged, 0); err != nil {
			o.t.Errorf("unmount at the end: %v", err)
			unix.Unmount(o.merged, unix.MNT_DETACH)
		}
	}
	o.checkWork()
	for i, before := range o.before {
		o.checkLower(o.lowers[i], before)
	}
}

// checkLower wants the layer to be what it was: "lower" is never written to
// (overlayfs.rst, upper and lower).
func (o *overlay) checkLower(layer string, before tree) {
	after, err := readTree(layer)
	if err != nil {
		o.t.Errorf("read a lower layer at the end: %v", err)
		return
	}
	paths := maps.Clone(before)
	maps.Copy(paths, after)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		o.checkSame(path+" of "+filepath.Base(layer), before[path], after[path])
	}
}

// checkSame wants nothing to have changed in what name stands for. The zero
// value is what no name stands for.
func (o *overlay) checkSame(name string, before, after found) {
	if before.same(after) {
		return
	}
	was, is := before.facts(), after.facts()
	for i := range was {
		if was[i] != is[i] {
			o.t.Errorf("%s: %s is now %s, was %s", name, was[i].name, is[i].value, was[i].value)
		}
	}
}

// same reports whether all facts of two files are. It is asked often, and to put
// facts into words takes long.
func (f found) same(other found) bool {
	return f.Mode == other.Mode && f.Uid == other.Uid && f.Gid == other.Gid && f.Ino == other.Ino && f.Nlink == other.Nlink &&
		f.Rdev == other.Rdev && f.Size == other.Size && f.Mtim == other.Mtim && f.Ctim == other.Ctim &&
		f.text == other.text && maps.Equal(f.xattrs, other.xattrs)
}

// A fact is something to know of a file, as text.
type fact struct{ name, value string }

// facts are all there is to know of f but its access time, which reading may
// change.
func (f found) facts() []fact {
	return []fact{
		{"mode", show(octal(f.Mode))},
		{"owner", fmt.Sprint(f.Uid, ":", f.Gid)},
		{"inode", fmt.Sprint(f.Ino)},
		{"link count", fmt.Sprint(f.Nlink)},
		{"device", fmt.Sprint(f.Rdev)},
		{"size", fmt.Sprint(f.Size)},
		{"mtime", time.Unix(f.Mtim.Unix()).UTC().String()},
		{"ctime", time.Unix(f.Ctim.Unix()).UTC().String()},
		{"content", show(f.text)},
		{"extended attributes", show(fmt.Sprint(f.xattrs))},
	}
}

// temporary is the form of the names the kernel gives to what it has under way
// (fs/overlayfs/dir.c, ovl_lookup_temp).
var temporary = regexp.MustCompile(`^#[0-9a-f]+$`)

// checkWork wants nothing left in the work directory but one whiteout, which
// the kernel keeps since 5.8 to make others by linking it (ovl_whiteout).
func (o *overlay) checkWork() {
	if o.work == "" {
		return
	}
	for _, sub := range []string{"work", "index"} {
		kept := 0
		entries, err := os.ReadDir(filepath.Join(o.work, sub))
		if err != nil && !os.IsNotExist(err) {
			o.t.Errorf("read the work directory: %v", err)
		}
		for _, e := range entries {
			indexed := sub == "index" && !temporary.MatchString(e.Name())
			if indexed && nameless(filepath.Join(o.work, sub, e.Name())) {
				o.t.Errorf("%s is left in the index, and stands for a file without a name", e.Name())
			}
			if spare := e.Type()&os.ModeCharDevice != 0 && temporary.MatchString(e.Name()); spare {
				kept++
			} else if !indexed {
				o.t.Errorf("%s (%v) is left in %s of the work directory", e.Name(), e.Type(), sub)
			}
		}
		if kept > 1 {
			o.t.Errorf("%d whiteouts are left in %s of the work directory, want at most one", kept, sub)
		}
	}
}

// nameless reports whether an entry of the index stands for a file that has no
// name left: its link count and the difference stored to that of the overlay's
// file make none (fs/overlayfs/inode.c, on-disk format for indexed nlink).
func nameless(path string) bool {
	var st unix.Stat_t
	value, err := getXattr(path, private+"nlink")
	if err != nil || unix.Lstat(path, &st) != nil {
		return false
	}
	var difference int
	n, err := fmt.Sscanf(value, "U%d", &difference)
	return n == 1 && err == nil && int(st.Nlink)+difference <= 0
}
