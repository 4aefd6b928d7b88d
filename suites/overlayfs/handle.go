package overlayfs

import (
	"bytes"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A handleAct is what happens to a file between the making of its handle and the
// use of that.
type handleAct struct {
	name string
	on   string // what the handle is of
	do   func(o *overlay)
	want string // what the handle reads afterwards, for a directory the name of its file
}

// handleActs begin with file d/a, "lower", with another name d/b in the lower
// layer, and with upper file u/x, "upper".
var handleActs = []handleAct{
	{"nothing", "d/a", func(*overlay) {}, "lower"},
	{"nothing-upper", "u/x", func(*overlay) {}, "upper"},
	{"nothing-directory", "d", func(*overlay) {}, ""},
	{"nothing-root", ".", func(*overlay) {}, ""},
	{"copy-up", "d/a", func(o *overlay) { o.write("d/a", "changed") }, "changed"},
	{"copy-up-directory", "d", func(o *overlay) { o.chmod("d", 0o700) }, ""},
	{"rename", "d/a", func(o *overlay) { o.rename("d/a", "u/y") }, "lower"},
	{"rename-upper", "u/x", func(o *overlay) { o.rename("u/x", "d/y") }, "upper"},
	{"rename-parent", "u/x", func(o *overlay) { o.rename("u", "v") }, "upper"},
	{"link", "d/a", func(o *overlay) { o.link("d/a", "d/c") }, "lower"},
	{"unlink-of-one-name", "d/a", func(o *overlay) { o.write("d/a", "changed"); o.unlink("d/a") }, "changed"},
	{"dropping-caches", "d/a", func(o *overlay) { o.write("d/a", "changed"); o.dropCaches() }, "changed"},
	{"mount-cycle", "d/a", func(o *overlay) { o.write("d/a", "changed"); o.remount() }, "changed"},
	{"mount-cycle-directory", "d", func(o *overlay) { o.chmod("d", 0o700); o.remount() }, ""},
}

// handleCases are about file handles, by which an NFS server names files
// (overlayfs.rst, NFS export).
func handleCases() (cases []suites.Case) {
	for _, a := range handleActs {
		cases = append(cases, suites.Case{
			Name: "handle-after-" + a.name,
			Doc:  "A file handle leads to its file, with the content it has now, and is the same as one made anew (overlayfs.rst, NFS export; open_by_handle_at(2)).",
			Run:  a.run,
		})
	}
	return append(cases, handleErrorCases...)
}

func (a handleAct) run(t *suites.T) {
	o := exported(t)
	before := o.handle(a.on)
	identity := o.identity(a.on)
	a.do(o)
	fd, err := o.openHandle(before, unix.O_RDONLY)
	o.do("open by handle", err)
	defer unix.Close(fd)
	var st unix.Stat_t
	o.do("fstat", unix.Fstat(fd, &st))
	if st.Ino != identity.ino {
		t.Errorf("the handle leads to inode %d, it was made of %d", st.Ino, identity.ino)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		if got := readFd(fd); got != a.want {
			t.Errorf("the handle reads %q, want %q", got, a.want)
		}
	}
	if err := unix.Access(o.at(a.on), unix.F_OK); err == nil {
		if after := o.handle(a.on); !bytes.Equal(before.Bytes(), after.Bytes()) {
			t.Errorf("the handle is now % x, was % x", after.Bytes(), before.Bytes())
		}
	}
}

// handleErrorCases have handles that lead nowhere, and mounts without.
var handleErrorCases = []suites.Case{
	{
		Name: "handle-after-unlink-is-estale",
		Doc:  "The handle of a file without a name is ESTALE, of a lower file too (overlayfs.rst, NFS export; open_by_handle_at(2)).",
		Run: func(t *suites.T) {
			o := exported(t)
			up, low := o.handle("u/x"), o.handle("d/only")
			o.unlink("u/x")
			o.unlink("d/only")
			o.everyView(func(v view) {
				for _, h := range []unix.FileHandle{up, low} {
					_, err := o.openHandle(h, unix.O_RDONLY)
					o.refused(string(v)+": open by handle", err, unix.ESTALE)
				}
			})
		},
	},
	{
		Name: "handle-open-for-writing",
		Doc:  "A lower file opened for writing by its handle is copied up, and its name shows what is written (overlayfs.rst, NFS export).",
		Run: func(t *suites.T) {
			o := exported(t)
			h := o.handle("d/only")
			o.remount()
			fd, err := o.openHandle(h, unix.O_WRONLY|unix.O_TRUNC)
			o.do("open by handle", err)
			o.do("write", errors.Join(writeAll(fd, "changed"), unix.Close(fd)))
			// The next mount takes the file, which has no name in the upper layer yet,
			// for an orphan of the index (6.1, 6.12).
			for _, v := range []view{warm, dropped} {
				if v == dropped {
					o.dropCaches()
				}
				if got, err := os.ReadFile(o.at("d/only")); err != nil || string(got) != "changed" {
					t.Errorf("%s: d/only reads %q (%v), want changed", v, got, err)
				}
			}
		},
	},
	{
		Name: "handle-malformed",
		Doc:  "Handles with any byte changed, or cut short, are an error or lead to a file (open_by_handle_at(2)).",
		Run: func(t *suites.T) {
			o := exported(t)
			h := o.handle("d/a")
			for i := range h.Bytes() {
				for _, bad := range [][]byte{flip(h.Bytes(), i), h.Bytes()[:i]} {
					fd, err := o.openHandle(unix.NewFileHandle(h.Type(), bad), unix.O_RDONLY)
					if err == nil {
						unix.Close(fd)
						continue
					}
					o.refused("open a malformed handle", err, unix.ESTALE, unix.EINVAL, unix.EOVERFLOW, unix.ENOENT, unix.EIO, unix.ENOMEM)
				}
			}
		},
	},
	{
		Name: "handle-without-export",
		Doc:  "Without nfs_export an overlay has no file handles: EOPNOTSUPP (overlayfs.rst, NFS export).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("nfs_export=off"), lower(file("a", "lower")))
			_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, o.at("a"), 0)
			o.refused("make a handle", err, unix.EOPNOTSUPP)
			o.upperHolds()
		},
	},
	{
		Name: "handle-without-upper",
		Doc:  "An overlay without upper layer has file handles where redirects are not followed (overlayfs.rst, NFS export).",
		Run: func(t *suites.T) {
			o := newOverlay(t, readOnly, option("nfs_export=on"), option("redirect_dir=nofollow"), lower(file("a", "1")), lower(dir("d", file("b", "2"))))
			for name, want := range map[string]string{"a": "1", "d/b": "2"} {
				fd, err := o.openHandle(o.handle(name), unix.O_RDONLY)
				o.do("open by handle", err)
				if got := readFd(fd); got != want {
					t.Errorf("%s reads %q by its handle, want %q", name, got, want)
				}
				unix.Close(fd)
			}
		},
	},
}

// exported is an overlay with file handles, and the files of handleActs.
func exported(t *suites.T) *overlay {
	t.Helper()
	o := layers(t, option("nfs_export=on"), lower(dir("d", file("a", "lower"), file("only", "lower"))), upper(dir("u", file("x", "upper"))))
	o.do("link in the lower layer", unix.Link(o.inLower("d/a"), o.inLower("d/b")))
	o.remember()
	o.do("mount the overlay", o.mount())
	return o
}

func (o *overlay) handle(name string) unix.FileHandle {
	o.t.Helper()
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, o.at(name), 0)
	o.do("make a handle of "+name, err)
	return h
}

func (o *overlay) openHandle(h unix.FileHandle, flags int) (int, error) {
	o.t.Helper()
	root := o.open(".", unix.O_RDONLY|unix.O_DIRECTORY)
	defer unix.Close(root)
	return unix.OpenByHandleAt(root, h, flags|unix.O_CLOEXEC)
}

// flip returns b with the byte at i inverted.
func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] = ^b[i]
	return b
}
