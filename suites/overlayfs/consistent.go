package overlayfs

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// What must hold of anything an overlay shows, whatever the case is about. It is
// looked at each time a case says what the overlay shows, in every view: names,
// numbers, link structure, what the layers have, and what users may do.

// checkShown wants all of it to hold of tr, which was read through the overlay.
func (o *overlay) checkShown(v view, tr tree) {
	o.t.Helper()
	o.checkTree(v, tr, func(path, format string, args ...any) {
		o.t.Helper()
		o.t.Errorf("%s: %s: %s", v, path, fmt.Sprintf(format, args...))
	})
}

// checkTree is checkShown for a caller that hears the complaints itself.
func (o *overlay) checkTree(v view, tr tree, wrong complaint) {
	o.t.Helper()
	o.checkLists(tr, wrong)
	// Nothing has been done since the caches were dropped that could have changed
	// a layer.
	if v != dropped || o.seen == nil {
		raw, err := o.raw()
		if err != nil {
			wrong(".", "%v", err)
			return
		}
		o.seen = raw
	}
	checkOne(tr, o.seen, wrong)
	o.checkReal(tr, o.seen, wrong)
	if v == warm {
		o.checkReads(tr, o.seen, wrong)
	}
	if v != dropped {
		o.checkForce(tr, wrong)
	}
}

// A complaint says that something is wrong with what is at path.
type complaint func(path, format string, args ...any)

// checkSameTree wants two views to agree. Not on when a directory was last
// changed: looking at it, the kernel can come to store or remove attributes of
// its own. Nor on numbers from one mount in a user namespace to the next: files
// are not found again by handle there (fs/overlayfs/util.c, ovl_can_decode_fh).
func (o *overlay) checkSameTree(v view, before, after tree) {
	o.t.Helper()
	keeps := o.keepsNumbers()
	for _, path := range slices.Sorted(maps.Keys(after)) {
		was, is := before[path], after[path]
		if is.isDir() && was.isDir() {
			was.Ctim = is.Ctim
		}
		if !keeps || v == cold && o.inside {
			was.Ino = is.Ino
		}
		o.checkSame(string(v)+": "+path, was, is)
	}
}

// keepsNumbers reports whether inode numbers are the same in readdir and in
// stat, after a copy-up, and after an unmount: where all layers are on one file
// system, or their numbers are mapped (overlayfs.rst, inode properties).
func (o *overlay) keepsNumbers() bool {
	return !lacks(o.t, "index") && (o.sameFS() || slices.Contains(o.options, "xino=on"))
}

// storesAttributes reports whether the overlay can keep its state in attributes:
// in a user namespace it may set user ones only, which not every tmpfs has
// (overlayfs.rst, user xattr).
func (o *overlay) storesAttributes() bool {
	if !o.inside {
		return true
	}
	if !slices.Contains(o.options, "userxattr") || unix.Setxattr(o.work, "user.kplay", nil, 0) != nil {
		return false
	}
	o.do("remove the probe", unix.Removexattr(o.work, "user.kplay"))
	return true
}

// sameFS reports whether all layers are on one file system.
func (o *overlay) sameFS() bool {
	var first unix.Stat_t
	for i, layer := range o.layerDirs() {
		var st unix.Stat_t
		if unix.Stat(layer, &st) != nil || i > 0 && st.Dev != first.Dev {
			return false
		}
		if i == 0 {
			first = st
		}
	}
	return true
}

// layerDirs are the layers, topmost first.
func (o *overlay) layerDirs() []string {
	if o.upper == "" {
		return o.lowers
	}
	return append([]string{o.upper}, o.lowers...)
}

func (f found) isDir() bool { return f.Mode&unix.S_IFMT == unix.S_IFDIR }

// checkLists wants each directory to list again what it has, with the numbers
// stat(2) gives, from its start and from the middle, and to tell where it is.
func (o *overlay) checkLists(tr tree, wrong complaint) {
	keeps := o.keepsNumbers()
	numbered := keeps && o.storesAttributes()
	buf := make([]byte, listBuffer)
	for path, f := range tr {
		if keeps && f.Dev != tr["."].Dev {
			wrong(path, "its device is %#x, and %#x that of the mount", f.Dev, tr["."].Dev)
		}
		if !f.isDir() {
			continue
		}
		fd, err := unix.Open(filepath.Join(o.merged, path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			wrong(path, "open: %v", err)
			continue
		}
		all := checkSeeks(path, fd, buf, wrong)
		unix.Close(fd)
		for _, e := range all {
			is, known := tr[filepath.Join(path, e.name)]
			switch {
			case e.name == ".." && (path == "." || len(o.lowers) > 1):
				// Its number is that of another layer's directory than stat(2) gives.
			case !known:
				wrong(path, "%s is listed that was not before", e.name)
			case numbered && !o.linked[e.name] && e.ino != is.Ino:
				wrong(path, "%s is listed with inode %d, stat says %d", e.name, e.ino, is.Ino)
			}
		}
	}
}

// noteLink notes that a name is that of a new link. One to a copied-up file is not
// noted in the list of such entries that the kernel keeps of an upper directory
// (fs/overlayfs/dir.c, ovl_instantiate): it is listed with its number in the upper
// layer until the list is made anew.
func (o *overlay) noteLink(name string) {
	if o.linked == nil {
		o.linked = make(map[string]bool)
	}
	o.linked[filepath.Base(name)] = true
}

// listBuffer holds all entries of the directories of most cases.
const listBuffer = 32 << 10

// checkSeeks gives what can be read of a directory in one call with a buffer.
func checkSeeks(path string, fd int, buf []byte, wrong complaint) []dirent {
	all, err := readInto(fd, buf)
	if err != nil || len(all) == 0 {
		wrong(path, "listed nothing (%v), want at least \".\"", err)
		return nil
	}
	if at, err := unix.Seek(fd, 0, unix.SEEK_CUR); at != all[len(all)-1].next {
		wrong(path, "after the entry that leads to %d one is at %d (%v)", all[len(all)-1].next, at, err)
	}
	for _, from := range []int{len(all) / 2, 0} {
		to := int64(0)
		if from > 0 {
			to = all[from-1].next
		}
		if _, err := unix.Seek(fd, to, unix.SEEK_SET); err != nil {
			wrong(path, "seek to %d: %v", to, err)
		}
		again, err := readInto(fd, buf)
		if n := min(len(again), len(all)-from); err != nil || n == 0 && from < len(all) || !slices.Equal(again[:n], all[from:from+n]) {
			wrong(path, "from entry %d on it lists %v (%v), the first time %v", from, again, err, all[from:])
		}
	}
	return all
}

// checkOne wants what shows as one inode to be one file, with at least as many
// links as names, and each directory to have a plausible number of links.
func checkOne(tr tree, raw []tree, wrong complaint) {
	type id struct{ dev, ino uint64 }
	names := make(map[id][]string)
	for _, path := range slices.Sorted(maps.Keys(tr)) {
		f := tr[path]
		names[id{f.Dev, f.Ino}] = append(names[id{f.Dev, f.Ino}], path)
		if f.isDir() && f.Nlink != 1 && f.Nlink != 2+subdirs(tr, path) {
			wrong(path, "a link count of %d, want 1 or 2 more than its %d directories", f.Nlink, subdirs(tr, path))
		}
		if kind := f.Mode & unix.S_IFMT; (kind == unix.S_IFREG || kind == unix.S_IFLNK) && f.Size != int64(len(f.text)) {
			wrong(path, "its size is %d, and it has %d bytes", f.Size, len(f.text))
		}
	}
	for _, paths := range names {
		first := tr[paths[0]]
		if len(paths) == 1 || first.isDir() && hasRedirect(raw) {
			continue
		}
		if first.Nlink < uint64(len(paths)) {
			wrong(paths[0], "inode %d is also at %q, and has a link count of %d", first.Ino, paths[1:], first.Nlink)
		}
		for _, other := range paths[1:] {
			if !first.same(tr[other]) {
				wrong(paths[0], "it has the inode number of %s, which is another file: %v and %v", other, first.facts(), tr[other].facts())
			}
		}
	}
}

func subdirs(tr tree, path string) (n uint64) {
	for p, f := range tr {
		if f.isDir() && p != "." && filepath.Dir(p) == path {
			n++
		}
	}
	return n
}
