package overlayfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A corruption is an attribute of the overlay's own that no kernel wrote. It may
// cost the object it is on, and nothing else: no other file, no lower one, and
// not the mount.
type corruption struct {
	name  string
	on    string // in the upper layer: "f" and "d" are also in the lower one, "." is the root
	attr  string // after the prefix
	value string
}

var corruptions = []corruption{
	{"origin-empty", "f", "origin", ""},
	{"origin-short", "f", "origin", "\x00\xfb"},
	{"origin-garbage", "f", "origin", "\x00\xfb\x1d\x00\x81garbage-in-the-place-of-"},
	{"origin-other-version", "f", "origin", "\xff\xfb\x1d\x00\x81garbage-in-the-place-of-"},
	{"origin-of-directory", "d", "origin", "\x00\xfb\x1d\x00\x81garbage-in-the-place-of-"},
	{"origin-of-root", ".", "origin", "garbage"},
	{"opaque-garbage", "d", "opaque", "yes"},
	{"opaque-empty", "d", "opaque", ""},
	{"opaque-on-file", "f", "opaque", "y"},
	{"impure-garbage", "d", "impure", "no"},
	{"nlink-garbage", "f", "nlink", "X-1"},
	{"nlink-huge", "f", "nlink", "U+99999999999999999999"},
	{"metacopy-garbage", "f", "metacopy", "garbage"},
	{"redirect-to-nothing", "d", "redirect", "/nothing"},
	{"redirect-to-file", "d", "redirect", "/g"},
	{"redirect-empty", "d", "redirect", ""},
	{"redirect-to-itself", "d", "redirect", "d"},
	{"redirect-long", "d", "redirect", "/" + strings.Repeat("x", 300)},
	{"protattr-garbage", "f", "protattr", "zz9"},
	{"uuid-short", ".", "uuid", "123"},
	{"upper-garbage", "f", "upper", "garbage"},
	{"unknown", "d", "kplay", "garbage"},
}

func corruptionCases() (cases []suites.Case) {
	for _, c := range corruptions {
		cases = append(cases, suites.Case{
			Name: "offline-" + c.name,
			Doc:  "An attribute of the overlay's own that was written behind its back costs its object at most, with an error: nothing else is lost, and lower layers stay (overlayfs.rst, changes to underlying filesystems).",
			Run:  c.run,
		})
	}
	return append(cases, offlineCases...)
}

func (c corruption) run(t *suites.T) {
	for _, options := range [][]string{nil, {"index=on"}, {"redirect_dir=on", "metacopy=on"}} {
		parts := []part{lower(file("f", "lower"), file("g", "lower"), dir("d", file("x", "lower"))), upper(file("f", "upper"), dir("d", file("u", "upper")), file("h", "upper"))}
		for _, opt := range options {
			parts = append(parts, option(opt))
		}
		o := layers(t, parts...)
		o.meddled = true
		o.do("write the attribute", unix.Setxattr(o.inUpper(c.on), private+c.attr, []byte(c.value), 0))
		if err := o.mount(); err != nil {
			o.survives("mount with "+strings.Join(options, ","), err)
			continue
		}
		c.use(o)
	}
}

// use goes to what was corrupted, and wants the rest to be as it was.
func (c corruption) use(o *overlay) {
	o.t.Helper()
	at := o.at(c.on)
	for name, err := range map[string]error{
		"stat": unix.Access(at, unix.F_OK), "open": opened(unix.O_RDONLY)(at), "chmod": unix.Chmod(at, 0o700),
		"link": linkIfFile(at, o.at("link")), "create": os.WriteFile(o.at("d/new"), nil, 0o644),
		"rename": unix.Rename(o.at("f"), o.at("moved")), "remove": os.RemoveAll(o.at("d")),
	} {
		if err != nil && !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOTEMPTY) {
			o.survives(name, err)
		}
	}
	for name, want := range map[string]string{"g": "lower", "h": "upper"} {
		got, err := os.ReadFile(o.at(name))
		if err != nil || string(got) != want {
			o.t.Errorf("%s holds %q (%v), want %s", name, got, err, want)
		}
	}
	_, err := os.ReadDir(o.merged)
	o.do("list the root", err)
	o.do("write beside it", os.WriteFile(o.at("beside"), []byte("new"), 0o644))
	o.unmount()
}

func linkIfFile(from, to string) error {
	if st, err := os.Lstat(from); err != nil || st.IsDir() {
		return nil
	}
	return unix.Link(from, to)
}

// An entry is something in the index that no kernel put there.
var indexEntries = []struct {
	name string
	make func(o *overlay, index string) error
}{
	{"of-no-handle", func(_ *overlay, d string) error { return os.WriteFile(d+"/garbage", nil, 0o644) }},
	{"of-short-handle", func(_ *overlay, d string) error { return os.WriteFile(d+"/00fb", nil, 0o644) }},
	{"of-unknown-handle", func(_ *overlay, d string) error {
		return os.WriteFile(d+"/00fb1d0081"+strings.Repeat("ab", 24), nil, 0o644)
	}},
	{"a-directory", func(_ *overlay, d string) error { return os.Mkdir(d+"/00fb1d0081"+strings.Repeat("cd", 24), 0o755) }},
	{"a-link", func(_ *overlay, d string) error {
		return os.Symlink("garbage", d+"/00fb1d0081"+strings.Repeat("ef", 24))
	}},
	{"a-whiteout", func(_ *overlay, d string) error {
		return unix.Mknod(d+"/00fb1d0081"+strings.Repeat("01", 24), unix.S_IFCHR, 0)
	}},
	{"emptied", func(o *overlay, d string) error {
		return eachEntry(d, func(p string) error { return os.Truncate(p, 0) })
	}},
	{"without-mark", func(_ *overlay, d string) error {
		return eachEntry(d, func(p string) error { return errors.Join(unix.Lremovexattr(p, origin)) })
	}},
	{"renamed", func(_ *overlay, d string) error {
		return eachEntry(d, func(p string) error { return os.Rename(p, p+"00") })
	}},
	{"of-file-gone-below", func(o *overlay, _ string) error {
		o.before = nil // the lower layer is changed
		return errors.Join(os.Remove(o.inLower("f0")), os.Remove(o.inLower("f1")))
	}},
}

func eachEntry(dir string, do func(path string) error) error {
	entries, err := filepath.Glob(dir + "/*")
	for _, e := range entries {
		err = errors.Join(err, do(e))
	}
	return err
}

func indexEntryCases() (cases []suites.Case) {
	for _, e := range indexEntries {
		cases = append(cases, suites.Case{
			Name: "offline-index-entry-" + e.name,
			Doc:  "An index entry that was changed or put there behind the overlay's back has the mount refused, or is left out or removed: other files are as they were, with index=off, too (overlayfs.rst, changes to underlying filesystems; fs/overlayfs/readdir.c, ovl_indexdir_cleanup).",
			Run: func(t *suites.T) {
				o := lowerNames(t, 2, option("index=on"), upper(file("other", "second")))
				o.write("f0", "changed")
				o.write("new", "new")
				o.unmount()
				o.do("change the index", e.make(o, filepath.Join(o.work, "index")))
				o.meddled = true
				err := o.mount()
				if err == nil {
					o.readsOthers()
					o.do("unmount", unix.Unmount(o.merged, 0))
					o.mounted = false
				} else {
					o.refused("mount with index=on", err, unix.ENODATA, unix.ESTALE, unix.ENOENT, unix.EIO, unix.EINVAL, unix.EISDIR, unix.ENOTDIR)
				}
				o.options = []string{"index=off"}
				o.do("mount with index=off", o.mount())
				o.readsOthers()
				o.do("unmount", unix.Unmount(o.merged, 0))
				o.mounted, o.work = false, "" // with what was put there
			},
		})
	}
	return cases
}

// readsOthers wants the files without index entry to be whole.
func (o *overlay) readsOthers() {
	o.t.Helper()
	for name, want := range map[string]string{"new": "new", "other": "second"} {
		if got, err := os.ReadFile(o.at(name)); err != nil || string(got) != want {
			o.t.Errorf("%s holds %q (%v), want %s", name, got, err, want)
		}
	}
	_, err := os.ReadDir(o.merged)
	o.do("list the root", err)
}
