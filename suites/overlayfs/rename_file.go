package overlayfs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// renameFileCases are the renames of files that are no matter of where the file
// and its target are.
var renameFileCases = []suites.Case{
	{
		Name: "rename-file-over-lower-dir",
		Doc:  "A file is not renamed over a directory: EISDIR (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("f", "lower"), dir("d")))
			o.refused("rename", unix.Rename(o.at("f"), o.at("d")), unix.EISDIR)
			o.shows(file("f", "lower"), dir("d"))
			o.upperHolds()
		},
	},
	{
		Name: "rename-to-another-mount",
		Doc:  "A file is not renamed out of the overlay, into its own layer either: EXDEV (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("rename", unix.Rename(o.at("a"), o.inUpper("b")), unix.EXDEV)
			o.shows(file("a", "lower"))
			o.upperHolds()
		},
	},
	{
		Name: "rename-to-itself",
		Doc:  "Renaming a file to its own name does nothing (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.rename("a", "a")
			o.shows(file("a", "lower").old())
			o.upperHolds()
		},
	},
	{
		Name: "rename-to-own-hard-link",
		Doc:  "Renaming a file to another of its names does nothing (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.link("a", "b")
			o.rename("a", "b")
			o.shows(file("a", "lower"), file("b", "lower"))
		},
	},
	{
		Name: "rename-back-and-forth",
		Doc:  "A file renamed away and back is what it was, and leaves nothing behind (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("c", "")))
			for range 20 {
				o.rename("a", "b")
				o.rename("b", "a")
			}
			o.shows(file("a", "lower").old(), file("c", ""))
			o.upperHolds(file("a", "lower").old())
		},
	},
	{
		Name: "rename-chain-of-lower-names",
		Doc:  "Each of many lower files takes the next one's name, and none shows through (rename(2)).",
		Run:  renameChain,
	},
	{
		Name: "rename-open-file",
		Doc:  "A descriptor stays with its file when that is renamed (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_WRONLY|unix.O_APPEND)
			o.rename("a", "b")
			o.do("write", writeAll(fd, "+more"))
			unix.Close(fd)
			o.shows(file("b", "lower+more"))
		},
	},
	{
		Name: "rename-over-open-file",
		Doc:  "A file whose name is taken by another can be read while it is open (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "victim")))
			fd := o.open("b", unix.O_RDONLY)
			o.rename("a", "b")
			if got := readFd(fd); got != "victim" {
				t.Errorf("the replaced file reads %q, want victim", got)
			}
			unix.Close(fd)
			o.shows(file("b", "lower"))
		},
	},
	{
		Name: "exchange-with-removed-is-enoent",
		Doc:  "An exchange with a name that is hidden by a whiteout is ENOENT (rename(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "")))
			o.unlink("b")
			o.refused("exchange", o.renameat2("a", "b", unix.RENAME_EXCHANGE), unix.ENOENT)
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "rename-in-sticky-directory-by-another",
		Doc:  "In a sticky directory a file is renamed by its owner alone, and nothing is copied up (rename(2)).",
		Run: func(t *suites.T) {
			sticky := dir("d", file("a", "lower")).perm(0o1777).old()
			o := newOverlay(t, lower(sticky))
			err := as(nobody, nobody, func() error { return unix.Rename(o.at("d/a"), o.at("d/b")) })
			o.refused("rename", err, unix.EPERM, unix.EACCES)
			o.shows(sticky)
			o.upperHolds()
		},
	},
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

// readMax bounds what readFd reads, in bytes.
const readMax = 4096

// readFd is what can be read at the start of a file, up to readMax bytes.
func readFd(fd int) string {
	buf := make([]byte, readMax)
	n, err := unix.Pread(fd, buf, 0)
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}
