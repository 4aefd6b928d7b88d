package overlayfs

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// opaqueCases read and make directories that hide the ones below.
var opaqueCases = []suites.Case{
	{
		Name: "opaque-directory-hides-lower",
		Doc:  "A directory marked opaque is not merged with the ones below (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))), upper(dir("d", file("b", "upper")).opaque()))
			o.shows(dir("d", file("b", "upper")))
		},
	},
	{
		Name: "opaque-file-name-is-not-looked-up",
		Doc:  "A name of the lower directory is not found through an opaque one (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", dir("s", file("a", "lower")))), upper(dir("d").opaque()))
			o.everyView(func(v view) {
				o.refused(string(v)+": lookup", unix.Access(o.at("d/s/a"), unix.F_OK), unix.ENOENT)
			})
		},
	},
	{
		Name: "opaque-middle-layer-hides-below",
		Doc:  "An opaque directory of a lower layer hides the layers below it and is merged with those above (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, upper(dir("d", file("u", ""))),
				lower(dir("d", file("a", "")).opaque()), lower(dir("d", file("b", ""))), lower(dir("d", file("c", ""))))
			o.shows(dir("d", file("u", ""), file("a", "")))
		},
	},
	{
		Name: "opaque-attribute-with-another-value",
		Doc:  "Only the value \"y\" makes a directory opaque (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))), upper(dir("d").xattr(opaque, "n")))
			o.shows(dir("d", file("a", "")))
		},
	},
	{
		Name: "opaque-attribute-on-symlink-target",
		Doc:  "A symbolic link to an opaque directory leads to what that shows (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "")), symlink("l", "d")), upper(dir("d").opaque()))
			o.everyView(func(v view) {
				o.refused(string(v)+": lookup", unix.Access(o.at("l/a"), unix.F_OK), unix.ENOENT)
			})
		},
	},
	{
		Name: "mkdir-over-whiteout-is-opaque",
		Doc:  "A directory made in the place of a removed one is marked opaque (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"), dir("s", file("b", "")))))
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("d")
			o.mkdir("d/s")
			o.shows(dir("d", dir("s")))
			o.upperHolds(dir("d", dir("s")).opaque())
		},
	},
	{
		Name: "mkdir-over-whiteout-repeatedly",
		Doc:  "A directory removed and made several times stays empty (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))))
			for range 3 {
				o.do("remove d", os.RemoveAll(o.at("d")))
				o.mkdir("d")
				o.shows(dir("d"))
			}
			o.rmdir("d")
			o.shows()
			o.upperHolds(whiteout("d"))
		},
	},
	{
		Name: "mkdir-in-merged-directory",
		Doc:  "A new directory shows what is made in it, wherever its parent is (mkdir(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))))
			o.mkdir("d/new")
			o.write("d/new/b", "new")
			o.shows(dir("d", file("a", ""), dir("new", file("b", "new"))))
		},
	},
	{
		Name: "mkdir-over-file-whiteout",
		Doc:  "A directory made in the place of a removed file shows no directory further down (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("x", "middle")), lower(dir("x", file("a", "lowest"))))
			o.unlink("x")
			o.mkdir("x")
			o.shows(dir("x"))
			o.upperHolds(dir("x").opaque())
		},
	},
	{
		Name: "copied-up-directory-is-not-opaque",
		Doc:  "Copying an opaque directory of a middle layer up does not take the mark along (fs/overlayfs/copy_up.c, ovl_copy_xattr).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "")).opaque()), lower(dir("d", file("b", ""))))
			o.write("d/new", "new")
			o.shows(dir("d", file("a", ""), file("new", "new")))
			if value, err := getXattr(o.inUpper("d"), opaque); err == nil {
				t.Errorf("%s of the copied up directory is %q, want none", opaque, value)
			}
		},
	},
	{
		Name: "rename-new-directory-over-whiteout-is-opaque",
		Doc:  "A new directory renamed to the name of a removed one hides what that held (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))))
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("new")
			o.write("new/b", "new")
			o.rename("new", "d")
			o.shows(dir("d", file("b", "new")))
			o.upperHolds(dir("d", file("b", "new")).opaque())
		},
	},
	{
		Name: "rename-new-directory-over-emptied-is-opaque",
		Doc:  "A new directory renamed over a merged one that was emptied shows its own files alone (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))))
			o.unlink("d/a")
			o.mkdir("new")
			o.write("new/b", "new")
			o.rename("new", "d")
			o.shows(dir("d", file("b", "new")))
		},
	},
}
