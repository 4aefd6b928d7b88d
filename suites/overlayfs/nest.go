package overlayfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// nestCases have an overlay as the lower layer of another.
var nestCases = []suites.Case{
	{
		Name: "nest-hides-and-copies-up",
		Doc:  "What the inner overlay hides the outer does not show, and the outer copies up from both of its layers (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run: func(t *suites.T) {
			outer := nested(t)
			outer.chmod("low", 0o600)
			outer.chmod("up", 0o600)
			outer.chmod("changed", 0o600)
			outer.shows(file("low", "lower").perm(0o600), file("up", "upper").perm(0o600), file("changed", "inner").perm(0o600),
				dir("remade", file("new", "inner")), dir("merged", file("a", ""), file("b", "")))
			outer.upperHolds(file("low", "lower").perm(0o600), file("up", "upper").perm(0o600), file("changed", "inner").perm(0o600))
		},
	},
	{
		Name: "nest-removes",
		Doc:  "The outer overlay removes and makes again what the inner one shows, and changes nothing in that (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run: func(t *suites.T) {
			outer := nested(t)
			for _, name := range []string{"low", "up", "changed"} {
				outer.unlink(name)
			}
			outer.do("remove directories", errors.Join(os.RemoveAll(outer.at("remade")), os.RemoveAll(outer.at("merged"))))
			outer.mkdir("merged")
			outer.write("low", "outer")
			outer.shows(file("low", "outer"), dir("merged"))
		},
	},
	{
		Name: "nest-redirects-in-both",
		Doc:  "A directory renamed in the inner overlay and again in the outer one shows what it held (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			inner := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"))))
			inner.rename("d", "e")
			outer := newOverlay(t, option("redirect_dir=on"), over(inner))
			outer.rename("e", "f")
			outer.write("f/new", "outer")
			outer.shows(dir("f", file("a", "lower"), file("new", "outer")))
		},
	},
	{
		Name: "nest-identity-kept",
		Doc:  "A file of an inner overlay keeps its inode number when the outer one copies it up (overlayfs.rst, inode properties).",
		Run: func(t *suites.T) {
			if lacks(t, "xino") {
				t.Skip("this kernel's overlayfs does not keep inode numbers of another file system (xino, 4.17)")
			}
			outer := nested(t)
			for _, name := range []string{"low", "up", "changed"} {
				before := outer.identity(name)
				outer.chmod(name, 0o600)
				outer.is("chmod", name, before)
			}
		},
	},
	{
		Name: "nest-whiteout-made-inside",
		Doc:  "A whiteout is not made in an overlay by mknod(2), with which an overlay inside cannot have it for its upper layer (fs/overlayfs/dir.c, ovl_mknod).",
		Run: func(t *suites.T) {
			outer := nested(t)
			outer.refused("mknod", unix.Mknod(outer.at("w"), unix.S_IFCHR, 0), unix.EPERM)
		},
	},
	{
		Name: "nest-escaped-opaque",
		Doc:  "A directory marked opaque through the inner overlay is opaque in the outer one, and not in the inner (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run: func(t *suites.T) {
			inner := newOverlay(t, lower(dir("top", dir("d", file("a", "top"))), dir("low", dir("d", file("b", "low")))))
			if !escapesXattrs(inner) {
				t.Skip("this kernel's overlayfs does not escape private attributes (6.7)")
			}
			inner.do("mark the directory", unix.Setxattr(inner.at("top/d"), opaque, []byte("y"), 0))
			outer := layers(t)
			outer.lowers = []string{inner.at("top"), inner.at("low")}
			outer.remember()
			outer.do("mount", outer.mount())
			outer.shows(dir("d", file("a", "top")))
			inner.compare("inner", inner.merged, []node{dir("top", dir("d", file("a", "top"))), dir("low", dir("d", file("b", "low")))})
		},
	},
}

// over makes a lower layer of another overlay, as it shows itself now.
func over(inner *overlay) part {
	return func(o *overlay) { o.lowers = append(o.lowers, inner.merged) }
}

// nested is an overlay on another in which every kind of thing has been done.
func nested(t *suites.T) *overlay {
	t.Helper()
	inner := newOverlay(t, lower(file("low", "lower"), file("changed", "lower"), file("gone", ""), dir("remade", file("old", "")), dir("merged", file("a", ""))),
		upper(file("up", "upper"), dir("merged", file("b", ""))))
	inner.write("changed", "inner")
	inner.unlink("gone")
	inner.do("remove a directory", os.RemoveAll(inner.at("remade")))
	inner.mkdir("remade")
	inner.write("remade/new", "inner")
	return newOverlay(t, over(inner))
}
