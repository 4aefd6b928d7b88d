package overlayfs

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// private is how the names of the overlay's own attributes begin.
const private = "trusted.overlay."

// xattrCases are about extended attributes: the files' own, and those in which
// the overlay keeps its state.
var xattrCases = []suites.Case{
	{
		Name: "xattr-private-not-listed",
		Doc:  "The attributes the overlay keeps for itself are not listed (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "")), file("b", "")), upper(dir("o").opaque()))
			o.chmod("b", 0o600)
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("d")
			o.everyView(func(v view) {
				for _, name := range []string{"b", "d", "o", "."} {
					names, err := listXattrs(o.at(name))
					o.do("list", err)
					if strings.Contains(strings.Join(names, " "), private) {
						t.Errorf("%s: %s lists %q", v, name, names)
					}
				}
			})
		},
	},
	{
		Name: "xattr-private-not-readable",
		Doc:  "The mark of an opaque directory cannot be read through the overlay (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d")), upper(dir("d").opaque()))
			_, err := getXattr(o.at("d"), opaque)
			o.refused("get "+opaque, err, unix.EOPNOTSUPP, unix.ENODATA)
		},
	},
	{
		Name: "xattr-private-not-settable",
		Doc:  "A directory cannot be made opaque through the overlay: the attribute is refused, or kept apart by another name (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run:  setPrivate,
	},
	{
		Name: "xattr-private-not-removable",
		Doc:  "The mark of an opaque directory cannot be removed through the overlay (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))), upper(dir("d").opaque()))
			o.refused("remove "+opaque, unix.Removexattr(o.at("d"), opaque), unix.EOPNOTSUPP, unix.ENODATA, unix.EPERM)
			o.shows(dir("d"))
			o.upperHolds(dir("d").opaque())
		},
	},
	{
		Name: "xattr-private-prefix-ends-with-dot",
		Doc:  "A name that only begins like the overlay's own is a plain attribute (fs/overlayfs/inode.c, ovl_is_private_xattr).",
		Run: func(t *suites.T) {
			n := file("a", "lower").xattr("trusted.overlayed", "1").xattr("trusted.overlay", "2")
			o := newOverlay(t, lower(n))
			o.do("set", unix.Setxattr(o.at("a"), "trusted.overlays", []byte("3"), 0))
			o.shows(n.xattr("trusted.overlays", "3"))
		},
	},
	{
		Name: "xattr-remove",
		Doc:  "An attribute of a lower file is removed in the overlay, and the others stay (removexattr(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower").xattr("trusted.gone", "1").xattr("trusted.kept", "2")))
			o.do("remove", unix.Removexattr(o.at("a"), "trusted.gone"))
			o.everyView(func(v view) {
				_, err := getXattr(o.at("a"), "trusted.gone")
				o.refused(string(v)+": get trusted.gone", err, unix.ENODATA)
			})
			o.shows(file("a", "lower").xattr("trusted.kept", "2").old())
		},
	},
	{
		Name: "xattr-create-existing-is-eexist",
		Doc:  "XATTR_CREATE of an attribute the lower file has is EEXIST (setxattr(2)).",
		Run: func(t *suites.T) {
			n := file("a", "lower").xattr("trusted.x", "1")
			o := newOverlay(t, lower(n))
			o.refused("create", unix.Setxattr(o.at("a"), "trusted.x", []byte("2"), unix.XATTR_CREATE), unix.EEXIST)
			o.shows(n)
		},
	},
	{
		Name: "xattr-replace-missing-is-enodata",
		Doc:  "XATTR_REPLACE of an attribute the lower file lacks is ENODATA (setxattr(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("replace", unix.Setxattr(o.at("a"), "trusted.x", []byte("2"), unix.XATTR_REPLACE), unix.ENODATA)
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "xattr-on-directory",
		Doc:  "An attribute set on a lower directory copies that up and leaves it merged (setxattr(2)).",
		Run: func(t *suites.T) {
			d := dir("d", file("a", "lower").old()).xattr("trusted.x", "1").old()
			o := newOverlay(t, lower(d))
			o.do("set", unix.Setxattr(o.at("d"), "trusted.y", []byte("2"), 0))
			o.shows(d.xattr("trusted.y", "2"))
			o.upperHolds(dir("d").xattr("trusted.x", "1").xattr("trusted.y", "2").old())
		},
	},
	{
		Name: "xattr-trusted-hidden-from-others",
		Doc:  "Trusted attributes are shown to the privileged alone (xattr(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower").xattr("trusted.x", "1")))
			var names []string
			o.do("list as another user", as(nobody, nobody, func() (err error) {
				names, err = listXattrs(o.at("a"))
				return err
			}))
			if strings.Contains(strings.Join(names, " "), "trusted.") {
				t.Errorf("another user is listed %q", names)
			}
		},
	},
}

// setPrivate tries to hide the lower file of a merged directory. Since 6.7 the
// attribute is stored as trusted.overlay.overlay.opaque and comes back unescaped.
func setPrivate(t *suites.T) {
	o := newOverlay(t, lower(dir("d", file("a", "lower"))), upper(dir("d")))
	err := unix.Setxattr(o.at("d"), opaque, []byte("y"), 0)
	if err != nil {
		o.refused("set "+opaque, err, unix.EOPNOTSUPP, unix.EPERM)
	} else if got, err := getXattr(o.at("d"), opaque); err != nil || got != "y" {
		t.Errorf("%s was set to y and is %q (%v)", opaque, got, err)
	}
	if _, err := getXattr(o.inUpper("d"), opaque); !errors.Is(err, unix.ENODATA) {
		t.Errorf("%s in the upper layer itself: %v, want ENODATA", opaque, err)
	}
	o.shows(dir("d", file("a", "lower")))
}
