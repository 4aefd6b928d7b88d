package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A layout is a way for the layers to lie, which must make no difference to
// what a case wants. A case runs in the one its name ends in, as
// rename-file@rotated; without one, all layers are on one tmpfs.
type layout struct {
	name string
	doc  string
	fs   bool           // lower layers are on a file system of their own
	disk string         // the disk all layers are on; empty for tmpfs
	lay  func(*overlay) // changes how the layers lie, when they are made
}

var layouts = []layout{
	{name: "otherfs", doc: "lower layers on a file system of their own", fs: true},
	{name: "xino", doc: "lower layers on a file system of their own, whose numbers are mapped", fs: true, lay: func(o *overlay) { option("xino=on")(o) }},
	{name: "lower-ro", doc: "lower layers on a read-only file system", fs: true},
	{name: "multi", doc: "two more lower layers, on two file systems", fs: true, lay: (*overlay).addLowers},
	{name: "rotated", doc: "a topmost lower layer that was an upper one before", lay: (*overlay).rotateTop},
	{name: "nested", doc: "a topmost lower layer that is an overlay itself", lay: (*overlay).nestTop},
	{name: "ext4", doc: "all layers on ext4", disk: "ext4"},
	{name: "xfs", doc: "all layers on xfs", disk: "xfs"},
	{name: "btrfs", doc: "all layers on btrfs", disk: "btrfs"},
}

// in gives the cases, and each of them once more for every layout named.
func in(names string, cases []suites.Case) []suites.Case {
	all := cases
	for _, l := range layouts {
		if !strings.Contains(" "+names+" ", " "+l.name+" ") {
			continue
		}
		for _, c := range cases {
			c.Name += "@" + l.name
			c.Doc = strings.TrimSuffix(c.Doc, ".") + "; with " + l.doc + "."
			if l.disk != "" {
				c.Disks = append(slices.Clone(c.Disks), l.disk)
			}
			all = append(all[:len(all):len(all)], c)
		}
	}
	return all
}

// inLong is in, but leaves the further layouts to runs that ask for long cases:
// for tables with many cases, of which most are seen to fail without them.
func inLong(names string, cases []suites.Case) []suites.Case {
	return slices.Concat(cases, leisurely(in(names, cases)[len(cases):]))
}

// leisurely gives the cases as long ones.
func leisurely(cases []suites.Case) []suites.Case {
	cases = slices.Clone(cases)
	for i := range cases {
		cases[i].Long = true
	}
	return cases
}

// layoutOf is the layout a case of that name runs in; none is the zero value.
func layoutOf(caseName string) layout {
	_, name, _ := strings.Cut(caseName, "@")
	for _, l := range layouts {
		if l.name == name {
			return l
		}
	}
	return layout{}
}

// ownFS is the directory for lower layers that have a file system of their own.
func (o *overlay) ownFS(name string) string {
	o.t.Helper()
	at := filepath.Join(o.dir, name)
	o.do("make a mount point", os.Mkdir(at, 0o755))
	o.do("mount a file system for lower layers", unix.Mount("tmpfs", at, "tmpfs", 0, "mode=755"))
	o.t.Cleanup(func() {
		if err := unix.Unmount(at, 0); err != nil {
			o.t.Errorf("unmount the file system of lower layers: %v", err)
			unix.Unmount(at, unix.MNT_DETACH)
		}
	})
	return at
}

// seal makes the lower layers' file system read-only, when they are complete.
func (o *overlay) seal() error {
	if o.layout.name != "lower-ro" {
		return nil
	}
	return unix.Mount("", o.lowerFS, "", unix.MS_REMOUNT|unix.MS_RDONLY, "mode=755")
}

// addLowers puts two lower layers below the others.
func (o *overlay) addLowers() {
	o.t.Helper()
	second := o.ownFS("secondfs")
	o.do("make a layer", dir("more").make(second))
	o.lowers = append(o.lowers, filepath.Join(second, "more"), o.layer("most", nil))
}

// rotateTop has everything in the topmost lower layer copied up, and puts the
// upper layer it is copied up to on top of it.
func (o *overlay) rotateTop() {
	o.t.Helper()
	if len(o.lowers) == 0 {
		return
	}
	first, top, work := o.lowers[0], o.layer("rotated", nil), o.layer("rotated-work", nil)
	data := "lowerdir=" + first + ",upperdir=" + top + ",workdir=" + work
	if slices.Contains(o.options, "metacopy=on") {
		data += ",metacopy=on" // the data stays in the layer below
	}
	o.do("mount the first overlay", unix.Mount("overlay", o.merged, fsType(o.t), 0, data))
	tr, err := readTree(o.merged)
	o.do("read the first overlay", err)
	for path, f := range tr {
		if path != "." {
			o.do("copy up", setTimes(filepath.Join(o.merged, path), time.Unix(f.Mtim.Unix())))
		}
	}
	o.do("unmount the first overlay", unix.Unmount(o.merged, 0))
	o.lowers = append([]string{top}, o.lowers...)
}

// nestTop puts an overlay in the place of the topmost lower layer, which it
// shows.
func (o *overlay) nestTop() {
	o.t.Helper()
	if len(o.lowers) == 0 {
		return
	}
	inner, below := o.layer("inner", nil), o.layer("inner-lower", nil)
	err := unix.Mount("overlay", inner, fsType(o.t), 0, "lowerdir="+o.lowers[0]+":"+below)
	if errors.Is(err, unix.ENOENT) && !severalLowers(o.t) {
		o.t.Skip("this kernel's overlayfs takes one lower layer only")
	}
	o.do("mount the inner overlay", err)
	o.t.Cleanup(func() {
		if err := unix.Unmount(inner, 0); err != nil {
			o.t.Errorf("unmount the inner overlay: %v", err)
		}
	})
	o.lowers[0] = inner
}

// rotate unmounts the overlay and mounts it with its upper layer as the topmost
// lower one, below a new upper layer: it has to show the same. An index would be
// left behind.
func (o *overlay) rotate() {
	o.t.Helper()
	o.unmount()
	n := len(o.lowers)
	var st unix.Stat_t
	o.do("stat the upper layer", unix.Stat(o.upper, &st))
	o.lowers = append([]string{o.upper}, o.lowers...)
	o.upper, o.work = o.layer(fmt.Sprint("upper", n), nil), o.layer(fmt.Sprint("work", n), nil)
	o.do("open the new upper layer", unix.Chmod(o.upper, st.Mode&0o7777))
	o.remember()
	o.do("mount the overlay on top of itself", o.mount())
}
