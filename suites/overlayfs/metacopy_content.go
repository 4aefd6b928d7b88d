package overlayfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// attributeChanges change a file and not its content, which metacopy=on leaves
// where it is.
var attributeChanges = []struct {
	name   string
	do     func(path string) error
	change func(node) node
}{
	{"chown", func(p string) error { return unix.Chown(p, 11, 12) }, func(n node) node { return n.owned(11, 12) }},
	{"utimensat", func(p string) error { return setTimes(p, stamp.Add(1)) }, func(n node) node { return n.changed(stamp.Add(1)) }},
	{"setxattr", func(p string) error { return unix.Setxattr(p, "trusted.new", []byte("1"), 0) },
		func(n node) node { return n.xattr("trusted.new", "1") }},
}

// metacopyContentChanges change the content of a file whose attributes alone are
// in the upper layer. The file holds contentSize bytes of long.
var metacopyContentChanges = []struct {
	name string
	do   func(path string) error
	text func(text string) string
}{
	{"append", withFd(unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, "+") }),
		func(s string) string { return s + "+" }},
	{"overwrite", withFd(unix.O_RDWR, func(fd int) error { _, err := unix.Pwrite(fd, []byte("L"), 0); return err }),
		func(s string) string { return "L" + s[1:] }},
	{"open-truncating", opened(unix.O_WRONLY | unix.O_TRUNC), func(string) string { return "" }},
	{"truncate-to-nothing", func(p string) error { return unix.Truncate(p, 0) }, func(string) string { return "" }},
	{"truncate-longer", func(p string) error { return unix.Truncate(p, contentSize+2) }, func(s string) string { return s + "\x00\x00" }},
	{"shared-mapping", withFd(unix.O_RDWR, storeShared), func(s string) string { return "L" + s[1:] }},
	{"fallocate", withFd(unix.O_RDWR, func(fd int) error { return unix.Fallocate(fd, 0, contentSize, 1) }),
		func(s string) string { return s + "\x00" }},
}

func metacopyTableCases() (cases []suites.Case) {
	for _, c := range attributeChanges {
		cases = append(cases, suites.Case{
			Name: "metacopy-" + c.name + "-copies-no-content",
			Doc:  "With metacopy=on " + c.name + " leaves the content in the lower layer, where it is read (overlayfs.rst, metadata only copy up).",
			Run: func(t *suites.T) {
				n := file("a", long(contentSize)).old()
				o := newOverlay(t, option("metacopy=on"), lower(n))
				o.do(c.name, c.do(o.at("a")))
				o.shows(c.change(n))
				o.isMetacopy("a", true)
				o.sameBlocks("a")
			},
		})
	}
	for _, c := range metacopyContentChanges {
		cases = append(cases, suites.Case{
			Name: "metacopy-then-" + c.name,
			Doc:  "With metacopy=on a change of content copies the rest of it up, and the mark is gone (overlayfs.rst, metadata only copy up).",
			Run: func(t *suites.T) {
				text := long(contentSize)
				o := newOverlay(t, option("metacopy=on"), lower(file("a", text).xattr(capability, netRaw())))
				o.chmod("a", 0o600)
				o.isMetacopy("a", true)
				o.do(c.name, c.do(o.at("a")))
				o.isMetacopy("a", false)
				o.shows(file("a", c.text(text)).perm(0o600))
				o.upperHolds(file("a", c.text(text)).perm(0o600))
			},
		})
	}
	return append(cases, metacopyLayerCases...)
}

// metacopyLayerCases have the content and the attributes in several layers, or
// no content at all.
var metacopyLayerCases = []suites.Case{
	{
		Name: "metacopy-keeps-capability",
		Doc:  "With metacopy=on a file's capabilities are kept by both steps of its copy-up (capabilities(7)).",
		Run: func(t *suites.T) {
			n := file("a", "lower").xattr(capability, netRaw())
			o := newOverlay(t, option("metacopy=on"), lower(n))
			o.chmod("a", 0o711)
			o.do("open for writing", opened(unix.O_WRONLY)(o.at("a")))
			o.isMetacopy("a", false)
			o.shows(n.perm(0o711))
		},
	},
	{
		Name: "metacopy-with-index",
		Doc:  "With metacopy=on and index=on, the names of a lower file stay one file through both steps (overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			o := lowerNames(t, 2, option("metacopy=on"), option("index=on"))
			o.chmod("f0", 0o600)
			o.areOne("f0", "f1", 2)
			o.shows(file("f0", "lower").perm(0o600), file("f1", "lower").perm(0o600))
			o.write("f1", "changed")
			o.areOne("f0", "f1", 2)
			o.shows(file("f0", "changed").perm(0o600), file("f1", "changed").perm(0o600))
		},
	},
	{
		Name: "metacopy-chain",
		Doc:  "Attributes may be in several layers above the content, of which the topmost counts (overlayfs.rst, metadata only copy up).",
		Run:  metacopyChain,
	},
	{
		Name: "metacopy-parent-renamed",
		Doc:  "A file with its attributes alone in the upper layer finds its content when its directory is renamed (overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("metacopy=on"), lower(dir("p", dir("d", file("a", "lower"), file("b", "lower")))))
			o.chmod("p/d/a", 0o600)
			o.rename("p/d/b", "p/b")
			o.rename("p/d", "e")
			o.shows(dir("p", file("b", "lower")), dir("e", file("a", "lower").perm(0o600)))
			o.rename("p", "q")
			o.rename("e/a", "q/a")
			o.shows(dir("q", file("a", "lower").perm(0o600), file("b", "lower")), dir("e"))
		},
	},
	{
		Name: "metacopy-link",
		Doc:  "A hard link to a file with its attributes alone in the upper layer reads the same content (overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("metacopy=on"), lower(file("a", "lower"), dir("d")))
			o.chmod("a", 0o600)
			o.link("a", "d/b")
			o.shows(file("a", "lower").perm(0o600), dir("d", file("b", "lower").perm(0o600)))
			o.unlink("a")
			o.shows(dir("d", file("b", "lower").perm(0o600)))
		},
	},
	{
		Name: "metacopy-without-content",
		Doc:  "A file whose content is gone from below is EIO, and no worse (fs/overlayfs/namei.c, ovl_lookup).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("metacopy=on"), lower(file("a", "lower"), file("b", "")))
			o.chmod("a", 0o600)
			o.unmount()
			o.do("remove the content", os.Remove(o.inLower("a")))
			o.remember()
			o.do("mount", o.mount())
			o.refused("read", opened(unix.O_RDONLY)(o.at("a")), unix.EIO)
			o.do("look up b", unix.Access(o.at("b"), unix.F_OK))
		},
	},
	{
		Name: "metacopy-over-other-type",
		Doc:  "A file with attributes alone does not take its content from what is no file: EIO (fs/overlayfs/namei.c, ovl_lookup).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("metacopy=on"), lower(dir("a"), symlink("b", "c"), file("c", "lower")),
				upper(file("a", "").xattr(metacopy, ""), file("b", "").xattr(metacopy, "")))
			for _, name := range []string{"a", "b"} {
				o.refused("open "+name, opened(unix.O_RDONLY)(o.at(name)), unix.EIO, unix.ENOENT)
			}
		},
	},
	{
		Name: "metacopy-off-is-refused",
		Doc:  "A file with attributes alone is not followed with metacopy=off: EPERM (fs/overlayfs/namei.c, ovl_lookup; overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("metacopy=on"), lower(file("a", "lower")))
			o.chmod("a", 0o600)
			o.unmount()
			o.options = []string{"metacopy=off"}
			o.do("mount with metacopy=off", o.mount())
			o.refused("read", opened(unix.O_RDONLY)(o.at("a")), unix.EPERM)
		},
	},
	{
		Name: "metacopy-sync",
		Doc:  "fsync(2) and fdatasync(2) of a file with its attributes alone in the upper layer succeed and copy nothing more up (fsync(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("metacopy=on"), lower(file("a", "lower")))
			o.chmod("a", 0o600)
			o.do("sync", withFd(unix.O_RDONLY, func(fd int) error {
				return errors.Join(unix.Fsync(fd), unix.Fdatasync(fd))
			})(o.at("a")))
			o.isMetacopy("a", true)
			o.shows(file("a", "lower").perm(0o600))
		},
	},
}

// isMetacopy wants the file in the upper layer to have its attributes alone, or
// not.
func (o *overlay) isMetacopy(name string, want bool) {
	o.t.Helper()
	_, err := getXattr(o.inUpper(name), metacopy)
	if err != nil && !errors.Is(err, unix.ENODATA) {
		o.t.Errorf("%s: %v", name, err)
	}
	if got := err == nil; got != want {
		o.t.Errorf("%s is without its content in the upper layer: %v, want %v", name, got, want)
	}
}

// sameBlocks wants the overlay to count the blocks of the content below.
func (o *overlay) sameBlocks(name string) {
	o.t.Helper()
	var st unix.Stat_t
	o.do("stat in the lower layer", unix.Lstat(o.inLower(name), &st))
	if got := o.stat(name).Blocks; got != st.Blocks {
		o.t.Errorf("%s has %d blocks, its content %d", name, got, st.Blocks)
	}
	o.do("stat in the upper layer", unix.Lstat(o.inUpper(name), &st))
	if st.Blocks != 0 {
		o.t.Errorf("%s has %d blocks in the upper layer, want 0", name, st.Blocks)
	}
}

// metacopyChain makes layers of what two overlays left, one upon the other.
func metacopyChain(t *suites.T) {
	one := newOverlay(t, option("metacopy=on"), lower(file("a", "lower")))
	one.chmod("a", 0o600)
	one.unmount()
	two := layers(t, option("metacopy=on"))
	two.lowers = append([]string{one.upper}, one.lowers...)
	two.remember()
	two.do("mount the second overlay", two.mount())
	two.do("chown", unix.Chown(two.at("a"), 1, 2))
	two.unmount()
	three := layers(t, option("metacopy=on"))
	three.lowers = append([]string{two.upper}, two.lowers...)
	three.remember()
	three.do("mount the third overlay", three.mount())
	three.rename("a", "b")
	three.isMetacopy("b", true)
	three.shows(file("b", "lower").perm(0o600).owned(1, 2))
	three.write("b", "changed")
	three.shows(file("b", "changed").perm(0o600).owned(1, 2))
}
