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

var renameDirCases = []suites.Case{
	{Name: "rename-lower-dir-is-exdev", Doc: "Without redirect_dir a lower directory is not renamed: EXDEV, and nothing has changed (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(dir("d", file("a", "lower"))))
			o.refused("rename", unix.Rename(o.at("d"), o.at("e")), unix.EXDEV)
			o.shows(dir("d", file("a", "lower")).old())
		}},
	{Name: "rename-merged-dir-is-exdev", Doc: "Without redirect_dir a merged directory is not renamed: EXDEV, and nothing has changed (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(dir("d", file("a", "lower"))), upper(dir("d", file("b", "upper"))))
			o.refused("rename", unix.Rename(o.at("d"), o.at("e")), unix.EXDEV)
			o.shows(dir("d", file("a", "lower"), file("b", "upper")).old())
			o.upperHolds(dir("d", file("b", "upper")).old())
		}},
	{Name: "exchange-lower-dir-is-exdev", Doc: "Without redirect_dir a lower directory on either side of an exchange is EXDEV (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(dir("d", file("a", "lower")), file("f", "")))
			o.refused("exchange d and f", o.renameat2("d", "f", unix.RENAME_EXCHANGE), unix.EXDEV)
			o.refused("exchange f and d", o.renameat2("f", "d", unix.RENAME_EXCHANGE), unix.EXDEV)
			o.shows(dir("d", file("a", "lower")), file("f", ""))
		}},
	{Name: "rename-upper-dir", Doc: "A directory of the upper layer alone is renamed without redirect_dir (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(file("f", "")), upper(dir("d", file("a", "upper"))))
			o.rename("d", "e")
			o.shows(file("f", ""), dir("e", file("a", "upper")))
			o.upperHolds(dir("e", file("a", "upper")))
		}},
	{Name: "rename-remade-dir", Doc: "A directory made in the place of a removed one is renamed without redirect_dir, and leaves the lower one hidden (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=off"), lower(dir("d", file("a", "lower"))))
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("d")
			o.write("d/b", "new")
			o.rename("d", "e")
			o.shows(dir("e", file("b", "new")))
			o.upperHolds(whiteout("d"), dir("e", file("b", "new")))
		}},
	{Name: "rename-upper-dir-over-lower-file", Doc: "A directory is not renamed over a file: ENOTDIR (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("f", "lower")), upper(dir("d", file("a", ""))))
			o.refused("rename", unix.Rename(o.at("d"), o.at("f")), unix.ENOTDIR)
			o.shows(file("f", "lower"), dir("d", file("a", "")))
		}},
	{Name: "rename-file-over-lower-dir", Doc: "A file is not renamed over a directory: EISDIR (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("f", "lower"), dir("d")))
			o.refused("rename", unix.Rename(o.at("f"), o.at("d")), unix.EISDIR)
			o.shows(file("f", "lower"), dir("d"))
			o.upperHolds()
		}},
	{Name: "rename-upper-dir-over-empty-lower", Doc: "An empty lower directory is replaced by a renamed one (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("e")), upper(dir("d", file("a", ""))))
			o.rename("d", "e")
			o.shows(dir("e", file("a", "")))
		}},
	{Name: "rename-upper-dir-over-full-lower", Doc: "A directory with files is not replaced: ENOTEMPTY (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("e", file("b", "lower"))), upper(dir("d", file("a", "")), dir("e")))
			o.refused("rename", unix.Rename(o.at("d"), o.at("e")), unix.ENOTEMPTY, unix.EEXIST)
			o.shows(dir("d", file("a", "")), dir("e", file("b", "lower")))
		}},
	{Name: "rename-dir-into-itself", Doc: "A directory is not renamed to a name inside itself: EINVAL (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, upper(dir("d", dir("s"))), lower(file("a", "")))
			o.refused("rename", unix.Rename(o.at("d"), o.at("d/s/d")), unix.EINVAL)
			o.shows(dir("d", dir("s")), file("a", ""))
		}},
	{Name: "rename-to-another-mount", Doc: "A file is not renamed out of the overlay, into its own layer either: EXDEV (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("rename", unix.Rename(o.at("a"), o.inUpper("b")), unix.EXDEV)
			o.shows(file("a", "lower"))
			o.upperHolds()
		}},
	{Name: "rename-to-itself", Doc: "Renaming a file to its own name does nothing (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.rename("a", "a")
			o.shows(file("a", "lower").old())
			o.upperHolds()
		}},
	{Name: "rename-to-own-hard-link", Doc: "Renaming a file to another of its names does nothing (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.link("a", "b")
			o.rename("a", "b")
			o.shows(file("a", "lower"), file("b", "lower"))
		}},
	{Name: "rename-back-and-forth", Doc: "A file renamed away and back is what it was, and leaves nothing behind (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("c", "")))
			for range 20 {
				o.rename("a", "b")
				o.rename("b", "a")
			}
			o.shows(file("a", "lower").old(), file("c", ""))
			o.upperHolds(file("a", "lower").old())
		}},
	{Name: "rename-chain-of-lower-names", Doc: "Each of many lower files takes the next one's name, and none shows through (rename(2)).",
		Run: renameChain},
	{Name: "rename-open-file", Doc: "A descriptor stays with its file when that is renamed (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_WRONLY|unix.O_APPEND)
			o.rename("a", "b")
			o.do("write", writeAll(fd, "+more"))
			unix.Close(fd)
			o.shows(file("b", "lower+more"))
		}},
	{Name: "rename-over-open-file", Doc: "A file whose name is taken by another can be read while it is open (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "victim")))
			fd := o.open("b", unix.O_RDONLY)
			o.rename("a", "b")
			if got := readFd(fd); got != "victim" {
				t.Errorf("the replaced file reads %q, want victim", got)
			}
			unix.Close(fd)
			o.shows(file("b", "lower"))
		}},
	{Name: "exchange-with-removed-is-enoent", Doc: "An exchange with a name that is hidden by a whiteout is ENOENT (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "")))
			o.unlink("b")
			o.refused("exchange", o.renameat2("a", "b", unix.RENAME_EXCHANGE), unix.ENOENT)
			o.shows(file("a", "lower"))
		}},
	{Name: "rename-in-sticky-directory-by-another", Doc: "In a sticky directory a file is renamed by its owner alone, and nothing is copied up (rename(2)).",
		Run: func(t *suites.T) {
			sticky := dir("d", file("a", "lower")).perm(0o1777).old()
			o := newOverlay(t, lower(sticky))
			err := as(nobody, nobody, func() error { return unix.Rename(o.at("d/a"), o.at("d/b")) })
			o.refused("rename", err, unix.EPERM, unix.EACCES)
			o.shows(sticky)
			o.upperHolds()
		}},
}

// redirectCases rename directories that have a lower part.
var redirectCases = []suites.Case{
	{Name: "redirect-same-parent", Doc: "With redirect_dir a lower directory is renamed, and the attribute says its old name (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"))))
			o.rename("d", "e")
			o.shows(dir("e", file("a", "lower").old()))
			o.upperHolds(whiteout("d"), dir("e").xattr(redirect, "d"))
		}},
	{Name: "redirect-other-parent", Doc: "With redirect_dir a lower directory is moved, and the attribute says its old path from the root (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("p", dir("d", file("a", "lower"))), dir("q")))
			o.rename("p/d", "q/e")
			o.shows(dir("p"), dir("q", dir("e", file("a", "lower").old())))
			o.upperHolds(dir("p", whiteout("d")), dir("q", dir("e").xattr(redirect, "/p/d")))
		}},
	{Name: "redirect-merged", Doc: "With redirect_dir a merged directory is moved with the files of both layers (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"), file("c", ""))), upper(dir("d", file("b", "upper"), whiteout("c"))))
			o.rename("d", "e")
			o.shows(dir("e", file("a", "lower"), file("b", "upper")))
		}},
	{Name: "redirect-twice-and-parent", Doc: "A directory moved twice, whose parent is renamed too, is still merged with where it came from (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("p", dir("d", file("a", "lower")))))
			o.rename("p/d", "p/e")
			o.shows(dir("p", dir("e", file("a", "lower"))))
			o.rename("p", "q")
			o.rename("q/e", "f")
			o.shows(dir("q"), dir("f", file("a", "lower")))
			o.rename("f", "q/d")
			o.shows(dir("q", dir("d", file("a", "lower"))))
		}},
	{Name: "redirect-then-remake", Doc: "A directory made under the old name of a moved one is empty (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"))))
			o.rename("d", "e")
			o.mkdir("d")
			o.shows(dir("d"), dir("e", file("a", "lower")))
		}},
	{Name: "redirect-then-remove", Doc: "A moved directory that is removed leaves neither name (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower")), file("f", "")))
			o.rename("d", "e")
			o.do("remove e", os.RemoveAll(o.at("e")))
			o.shows(file("f", ""))
			o.upperHolds(whiteout("d"))
		}},
	{Name: "redirect-exchange", Doc: "With redirect_dir two lower directories are exchanged with all that is in them (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "1")), dir("e", file("b", "2"))))
			o.do("exchange", o.renameat2("d", "e", unix.RENAME_EXCHANGE))
			o.shows(dir("d", file("b", "2")), dir("e", file("a", "1")))
		}},
	{Name: "redirect-of-middle-layer", Doc: "A redirect in a lower layer is followed in the layers below it (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"),
				lower(dir("e", file("b", "middle")).xattr(redirect, "d"), whiteout("d")), lower(dir("d", file("a", "bottom"))))
			o.shows(dir("e", file("a", "bottom"), file("b", "middle")))
		}},
	{Name: "redirect-nofollow", Doc: "With redirect_dir=nofollow a directory with a redirect is not merged: EPERM (overlayfs.rst, renaming directories; fs/overlayfs/namei.c, ovl_lookup).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=nofollow"),
				lower(dir("d", file("a", "lower"))), upper(dir("e").xattr(redirect, "d"), whiteout("d")))
			o.refused("look up e", unix.Access(o.at("e"), unix.F_OK), unix.EPERM)
		}},
	{Name: "redirect-malformed", Doc: "A redirect that is no path from the root and no name is refused: EINVAL (fs/overlayfs/util.c, ovl_get_redirect_xattr).",
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
		}},
}

func renameChain(t *suites.T) {
	const names = 30
	name := func(i int) string { return fmt.Sprintf("n%02d", i) }
	var before, after []node
	for i := range names {
		before = append(before, file(name(i), fmt.Sprint(i)))
		after = append(after, file(name(i+1), fmt.Sprint(i)).old())
	}
	o := newOverlay(t, lower(before...))
	for i := names - 1; i >= 0; i-- {
		o.rename(name(i), name(i+1))
	}
	o.shows(after...)
	o.upperHolds(append(after, whiteout(name(0)))...)
}

// readFd is what can be read at the start of a file, up to a few bytes.
func readFd(fd int) string {
	buf := make([]byte, 4096)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}
