package overlayfs

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// metacopy marks a file of the upper layer whose content is still below
// (overlayfs.rst, metadata only copy up).
const metacopy = "trusted.overlay.metacopy"

// metacopyCases copy a file up in two steps: its attributes when they change,
// its content when that does.
var metacopyCases = []suites.Case{
	{
		Name: "metacopy-chmod-copies-no-content",
		Doc:  "With metacopy=on a change of mode leaves the content in the lower layer, where it is read (overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			n := file("a", long(contentSize)).owned(1, 2).xattr("trusted.x", "1").old()
			o := newOverlay(t, option("metacopy=on"), lower(n))
			o.chmod("a", 0o600)
			o.shows(n.perm(0o600))
			if _, err := getXattr(o.inUpper("a"), metacopy); err != nil {
				t.Errorf("the file in the upper layer: %v", err)
			}
		},
	},
	{
		Name: "metacopy-then-open-for-writing",
		Doc:  "With metacopy=on opening for writing copies the content up, and the mark is gone (overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			n := file("a", long(contentSize)).owned(1, 2)
			o := newOverlay(t, option("metacopy=on"), lower(n))
			o.chmod("a", 0o600)
			unix.Close(o.open("a", unix.O_WRONLY))
			// Its mtime is that of the copying: the kernel does not set it back.
			o.shows(n.perm(0o600))
			o.upperHolds(n.perm(0o600))
			if value, err := getXattr(o.inUpper("a"), metacopy); !errors.Is(err, unix.ENODATA) {
				t.Errorf("%s of the file in the upper layer is %q (%v), want none", metacopy, value, err)
			}
		},
	},
	{
		Name: "metacopy-then-truncate",
		Doc:  "With metacopy=on truncating a file keeps the bytes before the new end (overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			text := long(contentSize)
			o := newOverlay(t, option("metacopy=on"), lower(file("a", text)))
			o.chmod("a", 0o600)
			o.do("truncate", unix.Truncate(o.at("a"), contentSize-3))
			o.shows(file("a", text[:contentSize-3]).perm(0o600))
			o.upperHolds(file("a", text[:contentSize-3]).perm(0o600))
		},
	},
	{
		Name: "metacopy-then-rename",
		Doc:  "With metacopy=on a renamed file still finds its content, also from another directory (overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			n := file("a", "lower").perm(0o600).old()
			o := newOverlay(t, option("metacopy=on"), lower(n, dir("d")))
			o.chmod("a", 0o640)
			o.rename("a", "d/b")
			o.shows(dir("d", file("b", "lower").perm(0o640).old()))
			o.do("append", withFd(unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, "+more") })(o.at("d/b")))
			o.shows(dir("d", file("b", "lower+more").perm(0o640)))
		},
	},
}

// contentSize is more than the kernel copies at once, by a few bytes.
const contentSize = 1<<20 + 7
