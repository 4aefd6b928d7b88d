package overlayfs

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A deed is something to do with an overlay whose owners are mapped: by the user
// namespace it is mounted in, or by the mounts its layers are on. Nothing but the
// owners in the layers themselves may show that.
type deed struct {
	name, doc    string
	lower, upper []node
	do           func(*overlay)
	shows        []node
	holds        []node // the upper layer, with the IDs of the namespace
}

// deeds need no attribute of the overlay's own in the upper layer, so that they
// are done in a user namespace without userxattr, too.
var deeds = []deed{
	{
		"read", "shows and reads what is in the layers",
		[]node{dir("d", file("l", "lower").owned(1, 2)), file("a", "lower").perm(0o600)}, []node{dir("d", file("u", "upper").owned(3, 4))},
		func(*overlay) {},
		[]node{dir("d", file("l", "lower").owned(1, 2).old(), file("u", "upper").owned(3, 4).old()), file("a", "lower").perm(0o600).old()},
		[]node{dir("d", file("u", "upper").owned(3, 4).old())},
	},
	{
		"create", "makes files of every kind, in a lower directory too",
		[]node{dir("d").owned(1, 2)}, nil,
		func(o *overlay) {
			o.write("d/f", "new")
			o.mkdir("d/s")
			o.do("make the others", errors.Join(os.Symlink("to", o.at("d/l")), unix.Mknod(o.at("d/p"), unix.S_IFIFO|0o644, 0),
				unix.Mknod(o.at("d/k"), unix.S_IFSOCK|0o644, 0)))
		},
		[]node{dir("d", file("f", "new"), dir("s"), symlink("l", "to"), fifo("p"), socket("k")).owned(1, 2)},
		[]node{dir("d", file("f", "new"), dir("s"), symlink("l", "to"), fifo("p"), socket("k")).owned(1, 2)},
	},
	{
		"create-by-another", "gives what a user makes to that user, over a whiteout too",
		[]node{dir("d", file("w", "")).owned(nobody, nobody)}, nil,
		func(o *overlay) {
			o.do("make as another user", as(nobody, nobody, func() error {
				return errors.Join(unix.Unlink(o.at("d/w")), os.WriteFile(o.at("d/w"), []byte("new"), 0o644), unix.Mkdir(o.at("d/s"), 0o755))
			}))
		},
		[]node{dir("d", file("w", "new").owned(nobody, nobody), dir("s").owned(nobody, nobody)).owned(nobody, nobody)},
		[]node{dir("d", file("w", "new").owned(nobody, nobody), dir("s").owned(nobody, nobody)).owned(nobody, nobody)},
	},
	{
		"write", "copies a file up with its owner and mode, and its directory with it",
		[]node{dir("d", file("a", "lower").perm(0o640).owned(3, 4)).perm(0o751).owned(5, 6)}, nil,
		func(o *overlay) {
			o.do("write", withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "L") })(o.at("d/a")))
		},
		[]node{dir("d", file("a", "Lower").perm(0o640).owned(3, 4)).perm(0o751).owned(5, 6).old()},
		[]node{dir("d", file("a", "Lower").perm(0o640).owned(3, 4)).perm(0o751).owned(5, 6).old()},
	},
	{
		"chmod", "copies up what gets another mode",
		[]node{file("a", "lower").owned(3, 4), dir("d", file("x", ""))}, nil,
		func(o *overlay) { o.chmod("a", 0o600); o.chmod("d", 0o700) },
		[]node{file("a", "lower").perm(0o600).owned(3, 4).old(), dir("d", file("x", "").old()).perm(0o700).old()},
		[]node{file("a", "lower").perm(0o600).owned(3, 4).old(), dir("d").perm(0o700).old()},
	},
	{
		"chown", "copies up what gets another owner",
		[]node{file("a", "lower").owned(3, 4), symlink("l", "to")}, nil,
		func(o *overlay) {
			o.do("chown", errors.Join(unix.Lchown(o.at("a"), 7, 8), unix.Lchown(o.at("l"), 7, -1)))
		},
		[]node{file("a", "lower").owned(7, 8), symlink("l", "to").owned(7, 0)},
		[]node{file("a", "lower").owned(7, 8), symlink("l", "to").owned(7, 0)},
	},
	{
		"keep-set-id", "keeps set-ID bits, owner and time of what is copied up for its times",
		[]node{file("a", "text").perm(0o6755).owned(3, 4)}, nil,
		func(o *overlay) { o.do("set the times", setTimes(o.at("a"), stamp.Add(time.Hour))) },
		[]node{file("a", "text").perm(0o6755).owned(3, 4).changed(stamp.Add(time.Hour))},
		[]node{file("a", "text").perm(0o6755).owned(3, 4).changed(stamp.Add(time.Hour))},
	},
	{
		"unlink", "hides removed files and empty directories by whiteouts, and leaves none for what was above only",
		[]node{file("a", "lower"), dir("d", file("b", "")), dir("e")}, []node{file("u", "")},
		func(o *overlay) { o.unlink("a"); o.unlink("d/b"); o.rmdir("e"); o.unlink("u") },
		[]node{dir("d")},
		[]node{whiteout("a"), dir("d", whiteout("b")), whiteout("e")},
	},
	{
		"rename", "moves a lower file, over another too",
		[]node{file("a", "one").owned(3, 4), file("b", "two"), file("c", "three")}, nil,
		func(o *overlay) { o.rename("a", "new"); o.rename("b", "c") },
		[]node{file("new", "one").owned(3, 4).old(), file("c", "two").old()},
		[]node{whiteout("a"), whiteout("b"), file("new", "one").owned(3, 4).old(), file("c", "two").old()},
	},
	{
		"exchange", "exchanges two lower files",
		[]node{file("a", "one").owned(3, 4), file("b", "two")}, nil,
		func(o *overlay) { o.do("exchange", o.renameat2("a", "b", unix.RENAME_EXCHANGE)) },
		[]node{file("a", "two").old(), file("b", "one").owned(3, 4).old()},
		[]node{file("a", "two").old(), file("b", "one").owned(3, 4).old()},
	},
	{
		"link", "links a lower file to a new name and over a whiteout",
		[]node{file("a", "lower").owned(3, 4), file("w", "")}, nil,
		func(o *overlay) { o.link("a", "b"); o.unlink("w"); o.link("a", "w"); o.write("b", "all") },
		[]node{file("a", "all").owned(3, 4), file("b", "all").owned(3, 4), file("w", "all").owned(3, 4)},
		[]node{file("a", "all").owned(3, 4), file("b", "all").owned(3, 4), file("w", "all").owned(3, 4)},
	},
	{
		"make-over-removed", "makes something else where something was removed",
		[]node{file("a", "lower"), dir("d")}, nil,
		func(o *overlay) {
			o.unlink("a")
			o.rmdir("d")
			o.write("d", "file")
			o.do("make a symbolic link", os.Symlink("to", o.at("a")))
		},
		[]node{symlink("a", "to"), file("d", "file")},
		[]node{symlink("a", "to"), file("d", "file")},
	},
	{
		"truncate", "truncates by name and when opening",
		[]node{file("a", "lower").owned(3, 4), file("b", "lower")}, nil,
		func(o *overlay) {
			o.do("truncate", errors.Join(unix.Truncate(o.at("a"), 2), opened(unix.O_RDONLY|unix.O_TRUNC)(o.at("b"))))
		},
		[]node{file("a", "lo").owned(3, 4), file("b", "")},
		[]node{file("a", "lo").owned(3, 4), file("b", "")},
	},
	{
		"refuse", "refuses what it refuses otherwise, and changes nothing",
		[]node{dir("d", file("a", "lower")).perm(0o755), file("b", "")}, nil,
		func(o *overlay) {
			o.refused("rename a lower directory", unix.Rename(o.at("d"), o.at("e")), unix.EXDEV)
			o.refused("rmdir", unix.Rmdir(o.at("d")), unix.ENOTEMPTY)
			o.refused("make a whiteout", unix.Mknod(o.at("w"), unix.S_IFCHR, 0), unix.EPERM)
			o.refused("unlink as another user", as(nobody, nobody, func() error { return unix.Unlink(o.at("d/a")) }), unix.EACCES)
			o.refused("chmod as another user", as(nobody, nobody, func() error { return unix.Chmod(o.at("b"), 0o777) }), unix.EPERM)
		},
		[]node{dir("d", file("a", "lower").old()).old(), file("b", "").old()},
		nil,
	},
}

// inside does the deed to an overlay that is mounted.
func (d deed) inside(o *overlay) {
	o.t.Helper()
	d.do(o)
	o.shows(d.shows...)
}

// usernsDeedCases have every deed done in a user namespace: on layers from
// outside, with attributes that its root may set, and on a file system that was
// mounted there.
func usernsDeedCases() (cases []suites.Case) {
	for _, d := range deeds {
		for _, with := range []struct {
			name, doc string
			options   []string
		}{
			{"", "", nil},
			{"-userxattr", " and userxattr", []string{"userxattr"}},
		} {
			c := confined{
				name: "userns-" + d.name + with.name, doc: "An overlay mounted in a user namespace" + with.doc + " " + d.doc + " (overlayfs.rst, permission model; user_namespaces(7)).",
				lower: d.lower, upper: d.upper, holds: d.holds,
				inside: func(o *overlay) { o.mountInside(with.options...); d.inside(o) },
			}.suitesCase()
			c.Long = with.options != nil
			cases = append(cases, c)
		}
		own := ownFSCase("userns-"+d.name+"-own-fs",
			"An overlay on a file system that was itself mounted in the user namespace "+d.doc+" (overlayfs.rst, permission model; user_namespaces(7)).",
			func(t *suites.T) {
				o := onOwnFS(t, lower(d.lower...), upper(d.upper...))
				o.mountInside()
				d.inside(o)
				o.upperHolds(d.holds...)
			})
		own.Long = true
		cases = append(cases, own)
	}
	return cases
}
