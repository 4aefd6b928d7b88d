package overlayfs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
	raw, err := o.raw()
	if err != nil {
		wrong(".", "%v", err)
		return
	}
	checkOne(tr, raw, wrong)
	o.checkReal(tr, raw, wrong)
	if v != dropped {
		o.checkForce(tr, wrong)
	}
}

// A complaint says that something is wrong with what is at path.
type complaint func(path, format string, args ...any)

// checkSameTree wants two views to agree. Not on when a directory was last
// changed: looking at it, the kernel can come to store or remove attributes of
// its own.
func (o *overlay) checkSameTree(v view, before, after tree) {
	o.t.Helper()
	for _, path := range slices.Sorted(maps.Keys(after)) {
		was, is := before[path], after[path]
		if is.isDir() && was.isDir() {
			was.Ctim = is.Ctim
		}
		if !o.keepsNumbers() {
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

// raw reads the layers themselves, topmost first. Without an upper layer the
// first is empty.
func (o *overlay) raw() (raw []tree, err error) {
	if o.upper == "" {
		raw = append(raw, nil)
	}
	for _, dir := range o.layerDirs() {
		tr, err := readTree(dir)
		if err != nil {
			return nil, fmt.Errorf("read a layer: %w", err)
		}
		raw = append(raw, tr)
	}
	return raw, nil
}

func (f found) isDir() bool { return f.Mode&unix.S_IFMT == unix.S_IFDIR }

// checkLists wants each directory to list again what it has, with the numbers
// stat(2) gives, from its start and from the middle, and to tell where it is.
func (o *overlay) checkLists(tr tree, wrong complaint) {
	// A new link to a copied-up file is not noted in the list of such entries that
	// the kernel keeps of an upper directory (fs/overlayfs/dir.c, ovl_instantiate):
	// it is listed with its number in the upper layer until the list is made anew.
	numbered := o.keepsNumbers() && !o.linked
	for path, f := range tr {
		if o.keepsNumbers() && f.Dev != tr["."].Dev {
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
		all := checkSeeks(path, fd, wrong)
		unix.Close(fd)
		for _, e := range all {
			is, known := tr[filepath.Join(path, e.name)]
			switch {
			case e.name == ".." && (path == "." || len(o.lowers) > 1):
				// Its number is that of another layer's directory than stat(2) gives.
			case !known:
				wrong(path, "%s is listed that was not before", e.name)
			case numbered && e.ino != is.Ino:
				wrong(path, "%s is listed with inode %d, stat says %d", e.name, e.ino, is.Ino)
			}
		}
	}
}

// listBuffer holds all entries of the directories of most cases.
const listBuffer = 32 << 10

// checkSeeks gives what can be read of a directory in one call.
func checkSeeks(path string, fd int, wrong complaint) []dirent {
	all, err := readBatch(fd, listBuffer)
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
		again, err := readBatch(fd, listBuffer)
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
			if !slices.Equal(first.facts(), tr[other].facts()) {
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

// origin is the attribute that says what a file was copied up from, as a file
// handle.
const origin = private + "origin"

// hasRedirect reports whether a directory of the layers may show elsewhere than
// it lies.
func hasRedirect(raw []tree) bool {
	for _, tr := range raw {
		for _, f := range tr {
			if _, ok := f.xattrs[redirect]; ok {
				return true
			}
		}
	}
	return false
}

// real finds what a path of the overlay stands for in the layers; a lower one
// not where a redirect or an index may lead elsewhere.
func (o *overlay) real(path string, raw []tree) (f found, isUpper, ok bool) {
	if f, ok := raw[0][path]; ok {
		return f, true, true
	}
	if hasRedirect(raw) {
		return f, false, false
	}
	for _, tr := range raw[1:] {
		if f, ok := tr[path]; ok {
			return f, false, f.isDir() || f.Nlink == 1 || !o.indexes()
		}
	}
	return f, false, false
}

// indexes reports whether the overlay has an index, by which a lower hard link
// shows as the upper file.
func (o *overlay) indexes() bool {
	entries, err := os.ReadDir(filepath.Join(o.work, "index"))
	return o.work != "" && err == nil && len(entries) > 0
}

// checkReal wants everything to be what its layer has there, but for the
// attributes of the kernel's own, which are out of reach.
func (o *overlay) checkReal(tr tree, raw []tree, wrong complaint) {
	numbers := make(map[uint64]bool)
	for _, lower := range raw[1:] {
		for _, f := range lower {
			numbers[f.Ino] = true
		}
	}
	sameFS, indexes := o.sameFS(), o.indexes()
	mapped := lacks(o.t, "index") || !sameFS && slices.Contains(o.options, "xino=on")
	for path, f := range tr {
		real, isUpper, ok := o.real(path, raw)
		if !ok {
			continue
		}
		for _, d := range unlike(f, real, indexes) {
			wrong(path, "%s", d)
		}
		o.checkPrivate(path, real, wrong)
		_, moved := real.xattrs[redirect]
		if !mapped && (sameFS || !f.isDir()) && isUpper && path != "." && real.xattrs[origin] != "" && real.xattrs[opaque] == "" && !moved && !numbers[f.Ino] {
			wrong(path, "inode %d is none of a lower layer, and it was copied up from one", f.Ino)
		}
	}
}

// unlike says in what a file differs from the one it stands for.
func unlike(f, real found, indexed bool) (lines []string) {
	if real.isDir() != f.isDir() {
		return []string{fmt.Sprintf("mode is %#o, and %#o in its layer", f.Mode, real.Mode)}
	}
	// What the layer's file has of its own, or the overlay counts in its own way.
	real.Ino, real.xattrs = f.Ino, public(real)
	f.xattrs = public(f)
	if f.isDir() {
		real.Nlink, real.Ctim, real.Size, real.Blocks = f.Nlink, f.Ctim, f.Size, f.Blocks
	}
	if indexed {
		real.Nlink = f.Nlink
	}
	_, elsewhere := real.xattrs[metacopy]
	delete(real.xattrs, metacopy)
	if elsewhere {
		real.text, real.Blocks = f.text, f.Blocks
	}
	was, is := real.facts(), f.facts()
	for i := range was {
		if was[i] != is[i] {
			lines = append(lines, fmt.Sprintf("%s is %s, and %s in its layer", is[i].name, is[i].value, was[i].value))
		}
	}
	if f.Blocks != real.Blocks || f.Blksize != real.Blksize {
		lines = append(lines, fmt.Sprintf("it has %d blocks for input and output of %d, and %d of %d in its layer", f.Blocks, f.Blksize, real.Blocks, real.Blksize))
	}
	return lines
}

// public are the attributes of f without the kernel's own, except for the one
// that says that the content is elsewhere. Those that were escaped for an
// overlay on this one are left out, too: kernels differ in them.
func public(f found) map[string]string {
	xattrs := make(map[string]string)
	for name, value := range f.xattrs {
		if !strings.HasPrefix(name, private) || name == metacopy {
			xattrs[name] = value
		}
	}
	return xattrs
}

// checkPrivate wants the kernel's own attributes of the file a path stands for
// to be neither listed nor read through the overlay.
func (o *overlay) checkPrivate(path string, real found, wrong complaint) {
	if slices.Contains(o.options, "userxattr") {
		return // they are ordinary then
	}
	at := filepath.Join(o.merged, path)
	for name := range real.xattrs {
		if !strings.HasPrefix(name, private) || strings.HasPrefix(name, private+"overlay.") {
			continue
		}
		if value, err := getXattr(at, name); err == nil {
			if _, escaped := real.xattrs[private+strings.TrimPrefix(name, "trusted.")]; !escaped {
				wrong(path, "%s can be read: %q", name, value)
			}
		}
	}
}

// A person is a user with a group.
type person struct{ uid, gid int }

// persons is how many owners checkForce asks for, besides a stranger.
const persons = 2

// checkForce wants modes and owners to be in force as stat(2) gives them: access
// is asked for as a stranger and as the owners (access(2), path_resolution(7)).
func (o *overlay) checkForce(tr tree, wrong complaint) {
	who := []person{{nobody, nobody}}
	for _, path := range slices.Sorted(maps.Keys(tr)) {
		p := person{int(tr[path].Uid), int(tr[path].Gid)}
		if p.uid != 0 && !slices.Contains(who, p) && len(who) <= persons {
			who = append(who, p)
		}
	}
	groups, err := unix.Getgroups()
	if err != nil {
		wrong(".", "get the groups: %v", err)
	}
	for _, p := range who {
		o.do("ask for access", as(p.uid, p.gid, func() error {
			if unix.Access(o.merged+"/..", unix.X_OK) != nil {
				return nil // the place itself is closed to them
			}
			for _, path := range slices.Sorted(maps.Keys(tr)) {
				o.checkAccess(p, groups, tr, path, wrong)
			}
			return nil
		}))
	}
}

func (o *overlay) checkAccess(p person, groups []int, tr tree, path string, wrong complaint) {
	if tr[path].Mode&unix.S_IFMT == unix.S_IFLNK {
		return
	}
	reach := true
	for dir := path; dir != "."; {
		dir = filepath.Dir(dir)
		reach = reach && p.may(unix.X_OK, tr[dir], groups)
		if tr[dir].hasACL() {
			return
		}
	}
	if tr[path].hasACL() {
		return
	}
	for _, bit := range []uint32{unix.R_OK, unix.W_OK, unix.X_OK} {
		err := unix.Access(filepath.Join(o.merged, path), bit)
		if err != nil && err != unix.EACCES {
			continue // read-only, or immutable
		}
		if want := reach && p.may(bit, tr[path], groups); want != (err == nil) {
			wrong(path, "access %d of user %d, group %d, is %v; its mode is %#o of %d:%d", bit, p.uid, p.gid, outcome(err), tr[path].Mode, tr[path].Uid, tr[path].Gid)
		}
	}
}

func (f found) hasACL() bool {
	_, ok := f.xattrs["system.posix_acl_access"]
	return ok
}

// may tells by the mode whether an unprivileged user has access.
func (p person) may(bit uint32, f found, groups []int) bool {
	switch {
	case f.Uid == uint32(p.uid):
		bit <<= 6
	case f.Gid == uint32(p.gid) || slices.Contains(groups, int(f.Gid)):
		bit <<= 3
	}
	return f.Mode&bit != 0
}
