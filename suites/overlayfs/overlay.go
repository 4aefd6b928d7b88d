package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// An overlay is a mount under test with its layers, on the tmpfs the case is
// given or on a disk. Without an upper layer it is read-only.
type overlay struct {
	t       *suites.T
	dir     string   // holds everything below
	lowers  []string // topmost first
	upper   string   // empty if there is none
	work    string   // empty if there is none
	merged  string   // the mount point
	options []string
	mounted bool
	linked  map[string]bool // the last part of the names of the hard links made since the mount
	meddled bool            // the case changed a layer behind the kernel's back: what must hold of any overlay need not
	layout  layout          // how the layers lie
	lowerFS string          // the directory the lower layers are in
	inside  bool            // mounted in a user namespace, from where the caches cannot be dropped
	before  []tree          // the lower layers at the first mount
	seen    []tree          // the layers as they were read for the view before this one
	disk    *loop           // what all of it is on, nil for the case's tmpfs
	diskFS  string          // the type of the disk's file system

	dataLayers int // how many of the lowest layers are data-only
}

// A part is a layer or an option of an overlay.
type part func(*overlay)

// lower is one more lower layer, below those already given.
func lower(nodes ...node) part {
	return func(o *overlay) {
		name := fmt.Sprintf("lower%d", len(o.lowers)+1)
		o.do("make a layer", dir(name, nodes...).make(o.lowerFS))
		o.lowers = append(o.lowers, filepath.Join(o.lowerFS, name))
	}
}

// upper is what the upper layer starts with; it is empty by default.
func upper(nodes ...node) part {
	return func(o *overlay) { o.upper = o.layer("upper", nodes) }
}

// readOnly leaves out the upper layer and the work directory.
func readOnly(o *overlay) { o.upper, o.work = "", "" }

// option adds a mount option. A case is skipped where the kernel lacks what it
// turns on; one that is turned off is left out there.
func option(text string) part {
	return func(o *overlay) {
		name, value, _ := strings.Cut(text, "=")
		if lacks(o.t, name) {
			if value == "off" {
				return
			}
			o.t.Skipf("this kernel's overlayfs has no %s", name)
		}
		o.options = append(o.options, text)
	}
}

// newOverlay makes the layers and mounts them. What must hold after every case
// is checked when t ends.
func newOverlay(t *suites.T, parts ...part) *overlay {
	t.Helper()
	o := layers(t, parts...)
	o.do("mount the overlay", o.mount())
	return o
}

// layers is newOverlay without the mount, for cases that do it themselves.
func layers(t *suites.T, parts ...part) *overlay {
	t.Helper()
	umask := unix.Umask(0)
	t.Cleanup(func() { unix.Umask(umask) })
	o := &overlay{t: t, dir: t.TempDir(), layout: layoutOf(t.Name())}
	if o.layout.disk != "" {
		o.onDisk(o.layout.disk, "")
	}
	if o.lowerFS = o.dir; o.layout.fs {
		o.lowerFS = o.ownFS("lowerfs")
	}
	o.upper, o.work, o.merged = o.layer("upper", nil), o.layer("work", nil), o.layer("merged", nil)
	if hasACL(t) {
		// What is prepared in the work directory must not inherit from it.
		o.do("set a default list", unix.Setxattr(o.work, defaultACL, []byte(acl(0o700, nobody, 1)), 0))
	}
	for _, p := range parts {
		p(o)
	}
	if o.layout.lay != nil {
		o.layout.lay(o)
	}
	o.remember()
	t.Cleanup(o.checkInvariants)
	return o
}

// remember takes the lower layers as they are for what they have to stay.
func (o *overlay) remember() {
	o.t.Helper()
	o.before = nil
	for _, l := range o.lowers {
		tr, err := readTree(l)
		o.do("read a lower layer", err)
		o.before = append(o.before, tr)
	}
}

// layer makes the directory of a layer with nodes in it. One that is there
// already is made anew.
func (o *overlay) layer(name string, nodes []node) string {
	o.t.Helper()
	o.do("make way for a layer", os.RemoveAll(filepath.Join(o.dir, name)))
	o.do("make a layer", dir(name, nodes...).make(o.dir))
	return filepath.Join(o.dir, name)
}

func (o *overlay) mount() error {
	if err := o.seal(); err != nil {
		return fmt.Errorf("make the lower layers read-only: %w", err)
	}
	err := unix.Mount("overlay", o.merged, fsType(o.t), 0, o.data())
	if errors.Is(err, unix.ENOENT) && len(o.lowers) > 1 && !severalLowers(o.t) {
		o.t.Skip("this kernel's overlayfs takes one lower layer only")
	}
	o.mounted = err == nil
	return err
}

// data is the option string of mount(2).
func (o *overlay) data() string {
	plain := len(o.lowers) - o.dataLayers
	opts := []string{"lowerdir=" + strings.Join(o.lowers[:plain], ":")}
	for _, l := range o.lowers[plain:] {
		opts[0] += "::" + l
	}
	if o.upper != "" {
		opts = append(opts, "upperdir="+o.upper, "workdir="+o.work)
	}
	return strings.Join(append(opts, o.options...), ",")
}

// unmount looks into the work directory, too: the next mount cleans it.
func (o *overlay) unmount() {
	o.t.Helper()
	o.do("unmount the overlay", unix.Unmount(o.merged, 0))
	o.mounted, o.linked = false, nil
	o.checkWork()
}

// at is the path of a name in the overlay.
func (o *overlay) at(name string) string { return join(o.merged, name) }

// inUpper is the path of a name in the upper layer itself.
func (o *overlay) inUpper(name string) string { return join(o.upper, name) }

// inLower is the path of a name in the topmost lower layer itself.
func (o *overlay) inLower(name string) string { return join(o.lowers[0], name) }

// join keeps a trailing slash, which filepath.Join drops.
func join(dir, name string) string { return dir + "/" + name }

// do ends the case if the deed went wrong; it is skipped if the kernel was built
// without the system call.
func (o *overlay) do(deed string, err error) {
	o.t.Helper()
	if errors.Is(err, unix.ENOSYS) {
		o.t.Skipf("%s: this kernel lacks the system call", deed)
	}
	if err != nil {
		o.t.Fatalf("%s: %v", deed, err)
	}
}

// outcome is what an error shows as where an error was wanted.
func outcome(err error) any {
	if err == nil {
		return "success"
	}
	return err
}

// refused wants the deed refused with one of the errors.
func (o *overlay) refused(deed string, err error, want ...unix.Errno) {
	o.t.Helper()
	if !slices.ContainsFunc(want, func(w unix.Errno) bool { return errors.Is(err, w) }) {
		o.t.Errorf("%s: %v, want %v", deed, outcome(err), want)
	}
}

// A view is one way of coming to what the overlay shows: what the caches hold
// must not tell.
type view string

const (
	warm    view = "warm"              // as the case left it
	dropped view = "caches dropped"    // still mounted
	cold    view = "after mount cycle" // unmounted, and mounted again
)

// everyView calls check in each view in turn. The overlay stays mounted anew.
func (o *overlay) everyView(check func(view)) {
	o.t.Helper()
	o.seen = nil
	check(warm)
	if !o.inside {
		o.dropCaches()
		check(dropped)
	}
	o.remount()
	check(cold)
}

// remount unmounts the overlay and mounts it again with cold caches, after
// something that an interrupted copy-up may leave behind.
func (o *overlay) remount() {
	o.t.Helper()
	o.unmount()
	if !o.inside {
		o.dropCaches()
		o.litter()
	}
	o.do("mount the overlay again", o.mount())
}

// litter leaves something in the work directory and the index, which the next
// mount has to remove; unless there is no room for it.
func (o *overlay) litter() {
	o.t.Helper()
	for _, sub := range []string{"work", "index"} {
		if _, err := os.Stat(filepath.Join(o.work, sub)); err != nil || o.work == "" {
			continue
		}
		err := os.WriteFile(filepath.Join(o.work, sub, leftover), []byte("left"), 0)
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			o.do("leave something", err)
		}
	}
}

// leftover has the form of temporary.
const leftover = "#fffffff0"

// dropCaches frees the dentries and inodes nobody uses
// (Documentation/admin-guide/sysctl/vm.rst, drop_caches).
func (o *overlay) dropCaches() {
	o.t.Helper()
	o.do("drop caches", os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0))
}

// shows wants the overlay to show nodes and nothing else, in every view, and the
// views to agree in all else there is to know.
func (o *overlay) shows(nodes ...node) {
	o.t.Helper()
	var first tree
	o.everyView(func(v view) {
		o.t.Helper()
		tr := o.compare(string(v), o.merged, nodes)
		if tr == nil {
			return
		}
		if o.meddled {
			return
		}
		o.checkShown(v, tr)
		if first == nil {
			first = tr
		}
		o.checkSameTree(v, first, tr)
	})
}

// upperHolds wants nodes and nothing else in the upper layer itself.
func (o *overlay) upperHolds(nodes ...node) {
	o.t.Helper()
	o.compare("upper layer", o.upper, nodes)
}

// compare wants nodes and nothing else under root, and returns what is there; it
// is nil if that cannot be read.
func (o *overlay) compare(where, root string, want []node) tree {
	o.t.Helper()
	tr, err := readTree(root)
	if err != nil {
		o.t.Errorf("%s: %v", where, err)
		return nil
	}
	for _, line := range tr.differences(want) {
		o.t.Errorf("%s: %s", where, line)
	}
	return tr
}

// long is a text of n bytes no two parts of which are alike. It is made by hand:
// under emulation fmt took seconds for the longest.
func long(n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, n+len("01234567\n"))
	for i := uint32(0); len(b) < n; i++ {
		for v, shift := i*2654435761, 28; shift >= 0; shift -= 4 {
			b = append(b, digits[v>>shift&15])
		}
		b = append(b, '\n')
	}
	return string(b[:n])
}
