package overlayfs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

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
	if o.work != "" {
		o.checkWork()
	}
	for i, l := range o.lowers {
		o.checkLower(l, o.before[i])
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
		if a, b := before.fingerprint(path), after.fingerprint(path); a != b {
			o.t.Errorf("%s of %s is now %s, was %s", path, filepath.Base(layer), b, a)
		}
	}
}

// fingerprint is all there is to know of a path but its access time: reading
// may change that.
func (tr tree) fingerprint(path string) string {
	f, ok := tr[path]
	if !ok {
		return "nothing"
	}
	f.Atim = unix.Timespec{}
	return fmt.Sprintf("%+v %s %s", f.Stat_t, show(f.text), show(fmt.Sprint(f.xattrs)))
}

// temporary is the form of the names the kernel gives to what it has under way
// (fs/overlayfs/dir.c, ovl_lookup_temp).
var temporary = regexp.MustCompile(`^#[0-9a-f]+$`)

// checkWork wants nothing left in the work directory but one whiteout, which
// the kernel keeps since 5.8 to make others by linking it (ovl_whiteout).
func (o *overlay) checkWork() {
	for _, sub := range []string{"work", "index"} {
		kept := 0
		entries, err := os.ReadDir(filepath.Join(o.work, sub))
		if err != nil && !os.IsNotExist(err) {
			o.t.Errorf("read the work directory at the end: %v", err)
		}
		for _, e := range entries {
			indexed := sub == "index" && !temporary.MatchString(e.Name())
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
