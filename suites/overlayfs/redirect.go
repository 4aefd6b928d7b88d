package overlayfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// redirect is the attribute that says where the lower part of a renamed
// directory is (overlayfs.rst, renaming directories).
const redirect = "trusted.overlay.redirect"

// redirectCases rename directories that have a part in a lower layer, and read
// what such renames leave in a layer.
var redirectCases = []suites.Case{
	{
		Name: "redirect-same-parent",
		Doc:  "With redirect_dir a lower directory is renamed, and the attribute says its old name (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"))))
			o.rename("d", "e")
			o.shows(dir("e", file("a", "lower").old()))
			o.upperHolds(whiteout("d"), dir("e").xattr(redirect, "d"))
		},
	},
	{
		Name: "redirect-other-parent",
		Doc:  "With redirect_dir a lower directory is moved, and the attribute says its old path from the root (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("p", dir("d", file("a", "lower"))), dir("q")))
			o.rename("p/d", "q/e")
			o.shows(dir("p"), dir("q", dir("e", file("a", "lower").old())))
			o.upperHolds(dir("p", whiteout("d")), dir("q", dir("e").xattr(redirect, "/p/d")))
		},
	},
	{
		Name: "redirect-merged",
		Doc:  "With redirect_dir a merged directory is moved with the files of both layers (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"), file("c", ""))), upper(dir("d", file("b", "upper"), whiteout("c"))))
			o.rename("d", "e")
			o.shows(dir("e", file("a", "lower"), file("b", "upper")))
		},
	},
	{
		Name: "redirect-twice-and-parent",
		Doc:  "A directory moved twice, whose parent is renamed too, is still merged with where it came from (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("p", dir("d", file("a", "lower")))))
			o.rename("p/d", "p/e")
			o.shows(dir("p", dir("e", file("a", "lower"))))
			o.rename("p", "q")
			o.rename("q/e", "f")
			o.shows(dir("q"), dir("f", file("a", "lower")))
			o.rename("f", "q/d")
			o.shows(dir("q", dir("d", file("a", "lower"))))
		},
	},
	{
		Name: "redirect-then-remake",
		Doc:  "A directory made under the old name of a moved one is empty (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"))))
			o.rename("d", "e")
			o.mkdir("d")
			o.shows(dir("d"), dir("e", file("a", "lower")))
		},
	},
	{
		Name: "redirect-then-remove",
		Doc:  "A moved directory that is removed leaves neither name (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower")), file("f", "")))
			o.rename("d", "e")
			o.do("remove e", os.RemoveAll(o.at("e")))
			o.shows(file("f", ""))
			o.upperHolds(whiteout("d"))
		},
	},
	{
		Name: "redirect-exchange",
		Doc:  "With redirect_dir two lower directories are exchanged with all that is in them (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "1")), dir("e", file("b", "2"))))
			o.do("exchange", o.renameat2("d", "e", unix.RENAME_EXCHANGE))
			o.shows(dir("d", file("b", "2")), dir("e", file("a", "1")))
		},
	},
	{
		Name: "redirect-of-middle-layer",
		Doc:  "A redirect in a lower layer is followed in the layers below it (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"),
				lower(dir("e", file("b", "middle")).xattr(redirect, "d"), whiteout("d")), lower(dir("d", file("a", "bottom"))))
			o.shows(dir("e", file("a", "bottom"), file("b", "middle")))
		},
	},
	{
		Name: "redirect-nofollow",
		Doc:  "With redirect_dir=nofollow a directory with a redirect is not merged: EPERM (overlayfs.rst, renaming directories; fs/overlayfs/namei.c, ovl_lookup).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=nofollow"),
				lower(dir("d", file("a", "lower"))), upper(dir("e").xattr(redirect, "d"), whiteout("d")))
			o.refused("look up e", unix.Access(o.at("e"), unix.F_OK), unix.EPERM)
		},
	},
	{
		Name: "redirect-malformed",
		Doc:  "A redirect that is no path from the root and no name is refused: EINVAL (fs/overlayfs/util.c, ovl_get_redirect_xattr).",
		Run: func(t *suites.T) {
			bad := []string{"a/b", "../d", "/p//d", "/p/d/"}
			var nodes []node
			for i, value := range bad {
				nodes = append(nodes, dir(fmt.Sprintf("e%d", i)).xattr(redirect, value))
			}
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"))), upper(nodes...))
			for i, value := range bad {
				err := unix.Access(o.at(fmt.Sprintf("e%d", i)), unix.F_OK)
				o.refused(fmt.Sprintf("look up a directory redirected to %q", value), err, unix.EINVAL)
			}
		},
	},
}
