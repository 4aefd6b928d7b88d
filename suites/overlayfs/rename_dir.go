package overlayfs

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// renameDirCases rename directories. One that has a part in a lower layer can be
// moved by a redirect only, which most kernels make only when told to.
var renameDirCases = []suites.Case{
	{
		Name: "rename-lower-dir-is-exdev",
		Doc:  "Without redirect_dir a lower directory is not renamed: EXDEV, and nothing has changed (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(dir("d", file("a", "lower"))))
			o.refused("rename", unix.Rename(o.at("d"), o.at("e")), unix.EXDEV)
			o.shows(dir("d", file("a", "lower")).old())
		},
	},
	{
		Name: "rename-merged-dir-is-exdev",
		Doc:  "Without redirect_dir a merged directory is not renamed: EXDEV, and nothing has changed (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(dir("d", file("a", "lower"))), upper(dir("d", file("b", "upper"))))
			o.refused("rename", unix.Rename(o.at("d"), o.at("e")), unix.EXDEV)
			o.shows(dir("d", file("a", "lower"), file("b", "upper")).old())
			o.upperHolds(dir("d", file("b", "upper")).old())
		},
	},
	{
		Name: "exchange-lower-dir-is-exdev",
		Doc:  "Without redirect_dir a lower directory on either side of an exchange is EXDEV (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(dir("d", file("a", "lower")), file("f", "")))
			o.refused("exchange d and f", o.renameat2("d", "f", unix.RENAME_EXCHANGE), unix.EXDEV)
			o.refused("exchange f and d", o.renameat2("f", "d", unix.RENAME_EXCHANGE), unix.EXDEV)
			o.shows(dir("d", file("a", "lower")), file("f", ""))
		},
	},
	{
		Name: "rename-upper-dir",
		Doc:  "A directory of the upper layer alone is renamed without redirect_dir (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(file("f", "")), upper(dir("d", file("a", "upper"))))
			o.rename("d", "e")
			o.shows(file("f", ""), dir("e", file("a", "upper")))
			o.upperHolds(dir("e", file("a", "upper")))
		},
	},
	{
		Name: "rename-remade-dir",
		Doc:  "A directory made in the place of a removed one is renamed without redirect_dir, and leaves the lower one hidden (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(dir("d", file("a", "lower"))))
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("d")
			o.write("d/b", "new")
			o.rename("d", "e")
			o.shows(dir("e", file("b", "new")))
			o.upperHolds(whiteout("d"), dir("e", file("b", "new")))
		},
	},
	{
		Name: "rename-upper-dir-over-lower-file",
		Doc:  "A directory is not renamed over a file: ENOTDIR (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("f", "lower")), upper(dir("d", file("a", ""))))
			o.refused("rename", unix.Rename(o.at("d"), o.at("f")), unix.ENOTDIR)
			o.shows(file("f", "lower"), dir("d", file("a", "")))
		},
	},
	{
		Name: "rename-upper-dir-over-empty-lower",
		Doc:  "An empty lower directory is replaced by a renamed one (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("e")), upper(dir("d", file("a", ""))))
			o.rename("d", "e")
			o.shows(dir("e", file("a", "")))
		},
	},
	{
		Name: "rename-upper-dir-over-full-lower",
		Doc:  "A directory with files is not replaced: ENOTEMPTY (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("e", file("b", "lower"))), upper(dir("d", file("a", "")), dir("e")))
			o.refused("rename", unix.Rename(o.at("d"), o.at("e")), unix.ENOTEMPTY, unix.EEXIST)
			o.shows(dir("d", file("a", "")), dir("e", file("b", "lower")))
		},
	},
	{
		Name: "rename-dir-into-itself",
		Doc:  "A directory is not renamed to a name inside itself: EINVAL (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, upper(dir("d", dir("s"))), lower(file("a", "")))
			o.refused("rename", unix.Rename(o.at("d"), o.at("d/s/d")), unix.EINVAL)
			o.shows(dir("d", dir("s")), file("a", ""))
		},
	},
}
