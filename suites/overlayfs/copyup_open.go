package overlayfs

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// An opening is a way to open a file of the lower layer that says "lower".
type opening struct {
	name   string
	flags  int
	copies bool       // whether the file is copied up
	text   string     // the content afterwards
	want   unix.Errno // 0 if it succeeds
}

// openings are all without writing: it is the opening that copies up
// (overlayfs.rst, non-directories).
var openings = []opening{
	{"rdonly", unix.O_RDONLY, false, "lower", 0},
	{"wronly", unix.O_WRONLY, true, "lower", 0},
	{"rdwr", unix.O_RDWR, true, "lower", 0},
	{"append", unix.O_WRONLY | unix.O_APPEND, true, "lower", 0},
	{"rdonly-trunc", unix.O_RDONLY | unix.O_TRUNC, true, "", 0},
	{"wronly-trunc", unix.O_WRONLY | unix.O_TRUNC, true, "", 0},
	{"rdwr-trunc", unix.O_RDWR | unix.O_TRUNC, true, "", 0},
	{"append-trunc", unix.O_WRONLY | unix.O_APPEND | unix.O_TRUNC, true, "", 0},
	{"rdonly-creat", unix.O_RDONLY | unix.O_CREAT, false, "lower", 0},
	{"wronly-creat", unix.O_WRONLY | unix.O_CREAT, true, "lower", 0},
	{"rdwr-creat", unix.O_RDWR | unix.O_CREAT, true, "lower", 0},
	{"rdwr-creat-trunc", unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC, true, "", 0},
	{"rdonly-creat-excl", unix.O_RDONLY | unix.O_CREAT | unix.O_EXCL, false, "lower", unix.EEXIST},
	{"rdwr-creat-excl", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, false, "lower", unix.EEXIST},
	{"path", unix.O_PATH, false, "lower", 0},
	{"rdonly-nofollow", unix.O_RDONLY | unix.O_NOFOLLOW, false, "lower", 0},
	{"rdonly-noatime", unix.O_RDONLY | unix.O_NOATIME, false, "lower", 0},
	{"rdonly-directory", unix.O_RDONLY | unix.O_DIRECTORY, false, "lower", unix.ENOTDIR},
	{"wronly-sync", unix.O_WRONLY | unix.O_SYNC, true, "lower", 0},
}

func openingCases() (cases []suites.Case) {
	for _, op := range openings {
		cases = append(cases, suites.Case{
			Name: "open-" + op.name,
			Doc:  op.promise(),
			Run:  op.run,
		})
	}
	return cases
}

func (op opening) promise() string {
	flags := "O_" + strings.ToUpper(strings.ReplaceAll(op.name, "-", "|O_"))
	switch {
	case op.want != 0:
		return fmt.Sprintf("Opening a lower file %s is refused with %s and copies nothing up (open(2)).", flags, unix.ErrnoName(op.want))
	case op.copies:
		return fmt.Sprintf("Opening a lower file %s copies it up (overlayfs.rst, non-directories).", flags)
	}
	return fmt.Sprintf("Opening a lower file %s copies nothing up (overlayfs.rst, non-directories).", flags)
}

func (op opening) run(t *suites.T) {
	lowerFile := file("a", "lower").perm(0o640).owned(7, 8)
	o := newOverlay(t, lower(dir("d", lowerFile, file("sibling", ""))))
	fd, err := unix.Open(o.at("d/a"), op.flags|unix.O_CLOEXEC, 0o600)
	if err == nil {
		unix.Close(fd)
	}
	if !errors.Is(err, op.want) && (err != nil || op.want != 0) {
		t.Fatalf("open: %v, want %v", err, op.want)
	}
	after := lowerFile
	after.text = op.text
	if op.text == "lower" {
		after = after.old()
	}
	o.shows(dir("d", after, file("sibling", "").old()))
	if op.copies {
		o.upperHolds(dir("d", after))
	} else {
		o.upperHolds()
	}
}
