package overlayfs

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// dataOnlyCases have layers that hold content only: it is found by redirects of files
// above and by no name (overlayfs.rst since 6.5, data-only lower layers).
var dataOnlyCases = []suites.Case{
	{
		Name: "data-only-content",
		Doc:  "The content of a file is found in a data-only layer, whose own names are not shown (overlayfs.rst since 6.5, data-only lower layers).",
		Run: func(t *suites.T) {
			o := dataOnly(t, []node{reference("a", "/x")}, []node{file("x", "data").perm(0o600), file("y", "")})
			o.shows(file("a", "data"))
		},
	},
	{
		Name: "data-only-first-of-several",
		Doc:  "Of several data-only layers the first that has the content is taken (overlayfs.rst since 6.5, data-only lower layers).",
		Run: func(t *suites.T) {
			o := dataOnly(t, []node{reference("a", "/x"), reference("b", "/d/y")},
				[]node{file("x", "1")}, []node{file("x", "2"), dir("d", file("y", "2"))})
			o.shows(file("a", "1"), file("b", "2"))
		},
	},
	{
		Name: "data-only-copy-up",
		Doc:  "Opening for writing copies the content of a data-only layer up, and the file is whole (overlayfs.rst since 6.5, data-only lower layers).",
		Run: func(t *suites.T) {
			o := dataOnly(t, []node{reference("a", "/x")}, []node{file("x", "data")})
			o.chmod("a", 0o600)
			o.shows(file("a", "data").perm(0o600))
			o.do("append", withFd(unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, "+more") })(o.at("a")))
			o.isMetacopy("a", false)
			o.shows(file("a", "data+more").perm(0o600))
			o.upperHolds(file("a", "data+more").perm(0o600))
		},
	},
	{
		Name: "data-only-missing",
		Doc:  "A file whose content is in no data-only layer is there to stat(2), and an error to open: ENOENT in 6.12 (overlayfs.rst since 6.5, data-only lower layers).",
		Run: func(t *suites.T) {
			o := dataOnly(t, []node{reference("a", "/gone")}, []node{file("x", "")})
			o.do("lstat", unix.Access(o.at("a"), unix.F_OK))
			o.refused("open", opened(unix.O_RDONLY)(o.at("a")), unix.EIO, unix.ENOENT)
		},
	},
	{
		Name: "data-only-relative-redirect",
		Doc:  "A redirect that is a name is not followed into a data-only layer (overlayfs.rst since 6.5, data-only lower layers).",
		Run: func(t *suites.T) {
			o := dataOnly(t, []node{reference("a", "x")}, []node{file("x", "data")})
			o.refused("open", opened(unix.O_RDONLY)(o.at("a")), unix.EIO, unix.ENOENT)
		},
	},
	{
		Name: "data-only-whole-file-above",
		Doc:  "A file with content of its own is not looked for in a data-only layer (overlayfs.rst since 6.5, data-only lower layers).",
		Run: func(t *suites.T) {
			o := dataOnly(t, []node{file("a", "own")}, []node{file("a", "data"), file("b", "")})
			o.shows(file("a", "own"))
		},
	},
	{
		Name: "data-only-before-plain-is-einval",
		Doc:  "No plain lower layer comes after a data-only one (overlayfs.rst since 6.5, data-only lower layers).",
		Run: func(t *suites.T) {
			o := layers(t, option("metacopy=on"), lower(file("a", "")), lower(file("b", "")), lower(file("c", "")))
			o.options = append(o.options, "redirect_dir=on")
			data := strings.Replace(o.data(), strings.Join(o.lowers, ":"), o.lowers[0]+"::"+o.lowers[1]+":"+o.lowers[2], 1)
			o.refused("mount", unix.Mount("overlay", o.merged, fsType(t), 0, data), unix.EINVAL)
		},
	},
	{
		Name: "data-only-alone-is-einval",
		Doc:  "A data-only layer needs a plain one above it (overlayfs.rst since 6.5, data-only lower layers).",
		Run: func(t *suites.T) {
			o := layers(t, option("metacopy=on"), lower(file("a", "")))
			data := strings.Replace(o.data(), "lowerdir=", "lowerdir=::", 1)
			o.refused("mount", unix.Mount("overlay", o.merged, fsType(t), 0, data), unix.EINVAL)
		},
	},
}

// reference is a file without content of its own, which is at to.
func reference(name, to string) node {
	return file(name, "").xattr(metacopy, "").xattr(redirect, to)
}

// dataOnly is an overlay of one plain lower layer over data-only ones. The file
// of a reference is as large as its content.
func dataOnly(t *suites.T, plain []node, data ...[]node) *overlay {
	t.Helper()
	parts := []part{option("metacopy=on"), lower(plain...)}
	for _, nodes := range data {
		parts = append(parts, lower(nodes...))
	}
	o := layers(t, parts...)
	for _, n := range plain {
		if to, ok := n.xattrs[redirect]; ok {
			for i := len(data); i > 0; i-- {
				if st, err := os.Stat(o.lowers[i] + "/" + strings.TrimPrefix(to, "/")); err == nil {
					o.do("set the size", os.Truncate(o.inLower(n.name), st.Size()))
				}
			}
		}
	}
	o.remember()
	o.dataLayers = len(data)
	if err := o.mount(); errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel's overlayfs has no data-only layers (6.5)")
	} else {
		o.do("mount", err)
	}
	return o
}
