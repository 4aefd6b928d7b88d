package overlayfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// origin is the attribute that says what a file was copied up from, as a file
// handle.
const origin = private + "origin"

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
func (o *overlay) real(path string, raw []tree, redirects bool) (f found, isUpper, ok bool) {
	if f, ok := raw[0][path]; ok {
		return f, true, true
	}
	if redirects {
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
	sameFS, indexes, redirects := o.sameFS(), o.indexes(), hasRedirect(raw)
	// With nfs_export a directory has a lower one's number only if the index says
	// that it was copied up from that (fs/overlayfs/inode.c, ovl_getattr).
	mapped := lacks(o.t, "index") || slices.Contains(o.options, "nfs_export=on") ||
		!sameFS && (slices.Contains(o.options, "xino=on") || slices.Contains(o.options, "xino=auto"))
	for path, f := range tr {
		real, isUpper, ok := o.real(path, raw, redirects)
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
	if !f.same(real) {
		was, is := real.facts(), f.facts()
		for i := range was {
			if was[i] != is[i] {
				lines = append(lines, fmt.Sprintf("%s is %s, and %s in its layer", is[i].name, is[i].value, was[i].value))
			}
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
		own := strings.HasPrefix(name, private) || strings.HasPrefix(name, "user.overlay.") // with userxattr
		if !own || name == metacopy {
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
