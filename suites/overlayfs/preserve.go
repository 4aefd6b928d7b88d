package overlayfs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A keepsake is a lower object whose every attribute has to survive a copy-up.
type keepsake struct {
	name string
	doc  string
	node node // named "a"
}

// keepsakes are copied up by chown(2) to (-1, -1), which asks for no change.
// It drops set-ID bits and capabilities of a regular file, so that those are
// cases of their own.
var keepsakes = []keepsake{
	{"mode-nothing", "a mode of no permission at all", file("a", "text").perm(0)},
	{"mode-all", "a mode of all permissions", file("a", "text").perm(0o777)},
	{"mode-sticky", "the sticky bit", file("a", "text").perm(0o1640)},
	{"owner", "owner and group", file("a", "text").owned(1, 2)},
	{"owner-large", "owner and group of more than 16 bits", file("a", "text").owned(70000, 1<<32-2)},
	{"mtime-before-1970", "a time before the epoch", file("a", "text").changed(time.Unix(-86400, 999_999_999))},
	{"mtime-after-2038", "a time beyond 32 bits", file("a", "text").changed(time.Unix(4_200_000_000, 1))},
	{"xattrs", "extended attributes, empty and binary ones too", file("a", "text").
		xattr("trusted.empty", "").xattr("trusted.binary", "\x00\x01\xff\n").xattr("security.kplay", "label")},
	{"xattr-large", "a large extended attribute", file("a", "text").xattr("trusted.large", long(2000))},
	{"directory", "the attributes of a directory", dir("a", file("x", "child").old()).perm(0o3751).owned(1, 2).xattr("trusted.x", "y")},
	{"symlink", "the target, owner and time of a symbolic link", symlink("a", "some/where").owned(1, 2)},
	{"symlink-long", "a long target of a symbolic link", symlink("a", strings.Repeat("t/", 1500))},
	{"fifo", "the attributes of a FIFO", fifo("a").perm(0o620).owned(1, 2)},
	{"socket", "the attributes of a socket", socket("a").perm(0o620).owned(1, 2)},
	{"device", "the numbers of a device", device("a", unix.S_IFBLK, 259, 0xfffff).perm(0o660).owned(1, 2)},
}

// sizes are of content that has to survive a copy-up; it is made when its case
// runs, for a table of it would be made at every start of the program. Copying
// goes by pieces of 1 MiB (fs/overlayfs/copy_up.c, OVL_COPY_UP_CHUNK_SIZE).
var sizes = []struct {
	name  string
	doc   string
	bytes int
}{
	{"size-0", "a file of no bytes", 0},
	{"size-1", "a file of 1 byte", 1},
	{"size-page", "a file of a page", 4096},
	{"size-page-and-1", "a file of a page and a byte", 4097},
	{"size-piece-less-1", "a file of a byte less than the piece the kernel copies at once", 1<<20 - 1},
	{"size-piece-and-1", "a file of a byte more than the piece the kernel copies at once", 1<<20 + 1},
	{"size-pieces", "a file of several pieces", 3<<20 + 5},
}

func keepsakeCases() (cases []suites.Case) {
	for _, k := range keepsakes {
		cases = append(cases, suites.Case{
			Name: "keep-" + k.name,
			Doc:  "Copying up keeps " + k.doc + " (overlayfs.rst, non-directories).",
			Run:  k.run,
		})
	}
	for _, s := range sizes {
		cases = append(cases, suites.Case{
			Name: "keep-" + s.name,
			Doc:  "Copying up keeps " + s.doc + " (overlayfs.rst, non-directories).",
			Run:  func(t *suites.T) { keepsake{s.name, s.doc, file("a", long(s.bytes))}.run(t) },
		})
	}
	return cases
}

func (k keepsake) run(t *suites.T) {
	want := k.node
	if want.mtime.IsZero() {
		want = want.old()
	}
	parent := dir("d", want).perm(0o711).owned(5, 6).xattr("trusted.parent", "too")
	o := newOverlay(t, lower(parent))
	o.do("copy up", unix.Lchown(o.at("d/a"), -1, -1))
	o.shows(parent.old())
	want.children = nil
	parent.children = []node{want}
	o.upperHolds(parent.old())
}

// preserveCases are the attributes that a table of keepsakes does not do for.
var preserveCases = []suites.Case{
	{
		Name: "keep-holes",
		Doc:  "A file with holes is copied up with all its data in place (overlayfs.rst, non-directories).",
		Run:  keepHoles,
	},
	{
		Name: "keep-set-id-on-utimes",
		Doc:  "Copying up for a change of times keeps set-user-ID and set-group-ID (inode(7)).",
		Run: func(t *suites.T) {
			n := file("a", "text").perm(0o6755)
			o := newOverlay(t, lower(n))
			o.do("set the times", setTimes(o.at("a"), stamp.Add(time.Hour)))
			o.shows(n.changed(stamp.Add(time.Hour)))
			o.upperHolds(n)
		},
	},
	{
		Name: "drop-set-id-on-write-by-another",
		Doc:  "A write without privilege to a set-user-ID file clears set-user-ID and set-group-ID (inode(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "text").perm(0o6777)))
			o.do("write as another user", as(nobody, nobody, func() error {
				return withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "T") })(o.at("a"))
			}))
			o.shows(file("a", "Text").perm(0o777))
		},
	},
	{
		Name: "drop-set-id-on-chown",
		Doc:  "A change of owner clears set-user-ID and set-group-ID (chown(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "text").perm(0o6755)))
			o.do("chown", unix.Chown(o.at("a"), 5, 6))
			o.shows(file("a", "text").perm(0o755).owned(5, 6).old())
		},
	},
	{
		Name: "keep-capability-on-chmod",
		Doc:  "Copying up keeps a file's capabilities (capabilities(7)).",
		Run: func(t *suites.T) {
			n := file("a", "text").xattr(capability, netRaw())
			o := newOverlay(t, lower(n))
			o.chmod("a", 0o711)
			o.shows(n.perm(0o711))
		},
	},
	{
		Name: "keep-capability-on-open",
		Doc:  "Opening for writing, without a write, keeps a file's capabilities (capabilities(7)).",
		Run: func(t *suites.T) {
			n := file("a", "text").xattr(capability, netRaw())
			o := newOverlay(t, lower(n))
			unix.Close(o.open("a", unix.O_WRONLY))
			o.shows(n)
			o.upperHolds(n)
		},
	},
	{
		Name: "drop-capability-on-write",
		Doc:  "A write takes a file's capabilities away (capabilities(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "text").xattr(capability, netRaw())))
			o.do("write", withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "T") })(o.at("a")))
			if _, err := getXattr(o.at("a"), capability); !errors.Is(err, unix.ENODATA) {
				t.Errorf("%s after a write: %v, want ENODATA", capability, err)
			}
		},
	},
	{
		Name: "keep-atime",
		Doc:  "Copying up keeps the time of last access (overlayfs.rst, non-directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "text")))
			o.chmod("a", 0o600)
			var st unix.Stat_t
			o.do("stat in the upper layer", unix.Lstat(o.inUpper("a"), &st))
			if got := time.Unix(st.Atim.Unix()); !got.Equal(stamp) {
				t.Errorf("atime is %v, want %v", got.UTC(), stamp.UTC())
			}
		},
	},
	{
		Name: "keep-parents-of-created",
		Doc:  "Making a file in a lower directory copies that and the ones above it up, and no sibling (overlayfs.rst, non-directories).",
		Run: func(t *suites.T) {
			inner := dir("e", file("a", "")).perm(0o750).owned(3, 4)
			o := newOverlay(t, lower(dir("d", inner, file("b", "")).perm(0o700).owned(1, 2)))
			o.write("d/e/new", "new")
			copied := dir("e", file("new", "new")).perm(0o750).owned(3, 4)
			o.upperHolds(dir("d", copied).perm(0o700).owned(1, 2).old())
		},
	},
	{
		Name: "read-only-descriptor-sees-copied-up",
		Doc:  "A file open for reading before it was copied up reads what is written to it after (overlayfs.rst, non-standard behavior, since 4.19).",
		Run:  readOnlyDescriptor,
	},
	{
		Name: "write-to-two-descriptors",
		Doc:  "What one descriptor writes the other reads at once, with the file's new size (read(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			one, two := o.open("a", unix.O_RDWR), o.open("a", unix.O_RDWR)
			o.do("write", writeAll(one, "changed"))
			if got := readFd(two); got != "changed" {
				t.Errorf("the other descriptor reads %q, want changed", got)
			}
			var st unix.Stat_t
			if err := unix.Fstat(two, &st); err != nil || st.Size != int64(len("changed")) {
				t.Errorf("the other descriptor's size is %d (%v), want %d", st.Size, err, len("changed"))
			}
			o.do("close", errors.Join(unix.Close(one), unix.Close(two)))
			o.shows(file("a", "changed"))
		},
	},
}

// capability holds the capabilities a program has from its file.
const capability = "security.capability"

// netRaw is a struct vfs_cap_data of revision 2 that permits CAP_NET_RAW
// (linux/capability.h).
func netRaw() string {
	const revision2, capNetRaw = 0x02000000, 13
	b := make([]byte, 20)
	binary.LittleEndian.PutUint32(b, revision2)
	binary.LittleEndian.PutUint32(b[4:], 1<<capNetRaw)
	return string(b)
}

// keepHoles has data at the start, across a piece's border and at the end.
func keepHoles(t *suites.T) {
	text := make([]byte, 3<<20)
	for _, at := range []int{0, 1<<20 - 2, len(text) - 4} {
		copy(text[at:], "data")
	}
	o := layers(t, lower(file("a", "")))
	o.do("make holes", withFd(unix.O_WRONLY, func(fd int) error {
		for _, at := range []int{0, 1<<20 - 2, len(text) - 4} {
			if _, err := unix.Pwrite(fd, []byte("data"), int64(at)); err != nil {
				return fmt.Errorf("write at %d: %w", at, err)
			}
		}
		return nil
	})(o.inLower("a")))
	o.remember()
	o.do("mount the overlay", o.mount())
	o.chmod("a", 0o600)
	o.shows(file("a", string(text)).perm(0o600))
	o.upperHolds(file("a", string(text)).perm(0o600))
}

func readOnlyDescriptor(t *suites.T) {
	o := newOverlay(t, lower(file("a", "lower")))
	fd := o.open("a", unix.O_RDONLY)
	o.write("a", "changed")
	var st unix.Stat_t
	o.do("fstat", unix.Fstat(fd, &st))
	got := readFd(fd)
	unix.Close(fd)
	if got == "lower" && lacks(t, "metacopy") {
		t.Skip("this kernel has no file operations of its own for overlayfs (4.19)")
	}
	if got != "changed" || st.Size != int64(len("changed")) {
		t.Errorf("the old descriptor reads %q of a file of %d bytes, want changed", got, st.Size)
	}
}
