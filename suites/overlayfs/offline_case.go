package overlayfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// offlineCases change the upper layer between two mounts, as tools do that check,
// repair or copy it.
var offlineCases = []suites.Case{
	{
		Name: "offline-whiteouts-orphaned",
		Doc:  "Whiteouts of names the lower layer no longer has are not shown, do not keep a directory from being removed, and are made over (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""), file("b", "")), file("c", "")))
			o.unlink("d/a")
			o.unlink("d/b")
			o.unlink("c")
			o.unmount()
			for _, name := range []string{"d/a", "d/b", "c"} {
				o.do("remove from the lower layer", os.Remove(o.inLower(name)))
			}
			o.remember()
			o.do("mount", o.mount())
			o.shows(dir("d"))
			o.write("d/a", "new")
			o.mkdir("c")
			o.shows(dir("d", file("a", "new")), dir("c"))
			o.unlink("d/a")
			o.rmdir("d")
			o.shows(dir("c"))
		},
	},
	{
		Name: "offline-redirect-twice",
		Doc:  "Two upper directories redirected to one lower directory show it both, or one is an error: never the same inode number for both (overlayfs.rst, renaming directories; fs/overlayfs/namei.c, ovl_lookup).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("redirect_dir=on"), lower(dir("d", file("a", "lower"))),
				upper(dir("one").xattr(redirect, "/d"), dir("two").xattr(redirect, "/d"), whiteout("d")))
			o.meddled = true
			seen := make(map[identity]string)
			for _, name := range []string{"one", "two"} {
				if err := unix.Access(o.at(name+"/a"), unix.R_OK); err != nil {
					o.refused("look up "+name, err, unix.EIO, unix.ESTALE)
					continue
				}
				id := o.identity(name)
				if other, twice := seen[id]; twice {
					t.Errorf("%s and %s are both inode %d", other, name, id.ino)
				}
				seen[id] = name
			}
			if len(seen) == 0 {
				t.Error("neither is shown")
			}
		},
	},
	{
		Name: "offline-impure-missing",
		Doc:  "A directory whose impure mark is gone lists all its names, each once, and gets its mark back with the next file moved in (overlayfs.rst, inode properties).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "lower")))
			o.mkdir("p")
			o.rename("a", "p/a")
			o.unmount()
			o.do("remove the mark", unix.Removexattr(o.inUpper("p"), private+"impure"))
			o.do("mount", o.mount())
			o.lists("without the mark", "p", ".", "..", "a")
			o.rename("b", "p/b")
			if _, err := getXattr(o.inUpper("p"), private+"impure"); err != nil {
				t.Errorf("the directory that got a file: %v", err)
			}
			o.shows(dir("p", file("a", "lower"), file("b", "lower")))
		},
	},
	{
		Name: "offline-upper-by-tar",
		Doc:  "An upper layer that went through a tar archive with its attributes shows the same over the same lower one with index=off (overlayfs.rst, changes to underlying filesystems).",
		Run:  upperByTar,
	},
	{
		Name: "offline-upper-emptied",
		Doc:  "Over an emptied upper layer the lower one shows as it is (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=off"), lower(file("a", "lower"), dir("d", file("x", ""))))
			o.write("a", "changed")
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.unmount()
			o.do("empty the upper layer", errors.Join(os.Remove(o.inUpper("a")), os.Remove(o.inUpper("d"))))
			o.do("mount", o.mount())
			o.shows(file("a", "lower"), dir("d", file("x", "")))
		},
	},
}
