package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// credentialCases are about who may do what: the rule is that of the overlay's
// own attributes, before and after a copy-up (overlayfs.rst, permission model).
var credentialCases = []suites.Case{
	{
		Name: "permission-same-after-copy-up",
		Doc:  "Who may read, write and execute a file is the same before and after it is copied up (overlayfs.rst, permission model, rule 1).",
		Run:  sameAfterCopyUp,
	},
	{
		Name: "permission-by-mounter",
		Doc:  "A user who may change a directory makes, renames and removes in it, whatever the layers' own directories say (overlayfs.rst, permission model).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"), file("b", "lower"), dir("s")).perm(0o777)))
			o.do("close the layers", errors.Join(os.Chmod(o.upper, 0o777), os.Chmod(o.work, 0)))
			o.meddled = true
			o.do("change as another user", as(nobody, nobody, func() error {
				return errors.Join(unix.Unlink(o.at("d/a")), unix.Rename(o.at("d/b"), o.at("d/c")), unix.Rmdir(o.at("d/s")),
					unix.Mkdir(o.at("d/a"), 0o755), os.WriteFile(o.at("d/a/new"), []byte("new"), 0o644))
			}))
			n := file("new", "new").owned(nobody, nobody)
			o.shows(dir("d", dir("a", n).owned(nobody, nobody), file("c", "lower")).perm(0o777))
		},
	},
	{
		Name: "permission-of-mounter-too",
		Doc:  "What the task that mounted may not do to the layers nobody may by the overlay (overlayfs.rst, permission model, check by the mounting task).",
		Run: func(t *suites.T) {
			// Without an upper layer, for the work directory is closed to such a task.
			o := layers(t, readOnly, lower(file("closed", "lower").perm(0o600).owned(nobody, nobody), file("open", "lower"),
				dir("d", file("a", "")).perm(0o700).owned(nobody, nobody)), lower())
			o.do("mount without overriding permissions", powerless(o.mount))
			o.refused("read closed", opened(unix.O_RDONLY)(o.at("closed")), unix.EACCES)
			_, err := os.ReadDir(o.at("d"))
			o.refused("list d", err, unix.EACCES)
			o.refused("look up d/a", unix.Access(o.at("d/a"), unix.F_OK), unix.EACCES)
			o.do("read open", opened(unix.O_RDONLY)(o.at("open")))
		},
	},
	{
		Name: "permission-search-and-list",
		Doc:  "A directory may be listed with read permission and searched with execute permission, before and after it is copied up (path_resolution(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("r", file("a", "")).perm(0o744), dir("x", file("a", "")).perm(0o711)))
			o.do("open the root", unix.Chmod(o.merged, 0o755))
			check := func(when string) {
				o.do(when+": list r", as(nobody, nobody, func() error { _, err := os.ReadDir(o.at("r")); return err }))
				o.refused(when+": look up r/a", as(nobody, nobody, func() error { return opened(unix.O_RDONLY)(o.at("r/a")) }), unix.EACCES)
				o.refused(when+": list x", as(nobody, nobody, func() error { _, err := os.ReadDir(o.at("x")); return err }), unix.EACCES)
				o.do(when+": look up x/a", as(nobody, nobody, func() error { return opened(unix.O_RDONLY)(o.at("x/a")) }))
			}
			check("before")
			o.do("copy up", errors.Join(unix.Chown(o.at("r"), -1, -1), unix.Chown(o.at("x"), -1, -1)))
			check("after")
			o.remount()
			check("after mount cycle")
		},
	},
	{
		Name: "permission-sticky-directory",
		Doc:  "In a sticky directory a file is removed by its owner alone, a lower file too (unlink(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("theirs", ""), file("own", "").owned(nobody, nobody)).perm(0o1777)))
			o.refused("unlink another's", as(nobody, nobody, func() error { return unix.Unlink(o.at("d/theirs")) }), unix.EPERM)
			o.upperHolds()
			o.do("unlink one's own", as(nobody, nobody, func() error { return unix.Unlink(o.at("d/own")) }))
			o.shows(dir("d", file("theirs", "")).perm(0o1777))
		},
	},
	{
		Name: "create-with-other-group",
		Doc:  "What is made has the group of the process, over a whiteout too (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("w", "")).perm(0o777)))
			o.unlink("d/w")
			o.do("create", as(0, 77, func() error {
				return errors.Join(unix.Mknod(o.at("d/w"), unix.S_IFREG|0o644, 0), unix.Mknod(o.at("d/n"), unix.S_IFREG|0o644, 0))
			}))
			o.shows(dir("d", file("w", "").owned(0, 77), file("n", "").owned(0, 77)).perm(0o777))
		},
	},
	{
		Name: "drop-set-id-by-each-call",
		Doc:  "Every way to change the content of a set-ID file without privilege clears set-user-ID, set-group-ID and capabilities (inode(7), capabilities(7)).",
		Run:  dropSetID,
	},
	{
		Name: "keep-set-id-on-write-by-root",
		Doc:  "A privileged write keeps set-user-ID and set-group-ID, when it copies up too (inode(7), CAP_FSETID).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower").perm(0o6777)))
			o.do("write", withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "L") })(o.at("a")))
			o.shows(file("a", "Lower").perm(0o6777))
		},
	},
	{
		Name: "mount-noexec",
		Doc:  "noexec of the overlay's own mount counts (mount(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", script).perm(0o755)))
			o.do("remount with noexec", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOEXEC, ""))
			o.refused("execute", run(o.at("a")), unix.EACCES)
			o.do("remount without", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
		},
	},
	{
		Name: "mount-nodev",
		Doc:  "nodev of the overlay's own mount counts, and not that of a layer's (mount(2)).",
		Run: func(t *suites.T) {
			null := device("null", unix.S_IFCHR, 1, 3)
			o := layers(t, lower(null))
			o.bind(o.lowers[0], unix.MS_NODEV)
			o.do("mount", o.mount())
			o.do("open", opened(unix.O_RDWR)(o.at("null")))
			o.do("remount with nodev", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NODEV, ""))
			o.refused("open with nodev", opened(unix.O_RDWR)(o.at("null")), unix.EACCES)
		},
	},
	{
		Name: "xattr-namespaces",
		Doc:  "user.overlay attributes are plain ones where the overlay keeps its state in trusted.overlay (overlayfs.rst, user xattr).",
		Run: func(t *suites.T) {
			o := layers(t, lower(dir("d", file("a", ""))), upper(dir("d")))
			if err := unix.Setxattr(o.inUpper("d"), "user.overlay.opaque", []byte("y"), 0); errors.Is(err, unix.EOPNOTSUPP) {
				t.Skip("this kernel's tmpfs has no user attributes (6.6)")
			} else {
				o.do("set user.overlay.opaque", err)
			}
			o.do("mount", o.mount())
			o.shows(dir("d", file("a", "")).xattr("user.overlay.opaque", "y"))
		},
	},
	{
		Name: "xattr-escaped",
		Doc:  "A private attribute set through the overlay is kept under an escaped name, and read and listed by its own (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))))
			if !escapesXattrs(o) {
				t.Skip("this kernel's overlayfs does not escape private attributes (6.7)")
			}
			o.do("set", unix.Setxattr(o.at("d"), private+"foo", []byte("1"), 0))
			o.shows(dir("d", file("a", "lower")).xattr(private+"foo", "1"))
			o.upperHolds(dir("d").xattr("trusted.overlay.overlay.foo", "1"))
			names, err := listXattrs(o.at("d"))
			o.do("list", err)
			if list := strings.Join(names, " "); strings.Contains(list, "overlay.overlay") || !strings.Contains(list, private+"foo") {
				t.Errorf("listed are %q, want %s", names, private+"foo")
			}
			o.do("remove", unix.Removexattr(o.at("d"), private+"foo"))
			_, err = getXattr(o.inUpper("d"), "trusted.overlay.overlay.foo")
			o.refused("get the removed one in the upper layer", err, unix.ENODATA)
		},
	},
	{
		Name: "xattr-escaped-copied-up",
		Doc:  "An escaped attribute stays escaped when its file is copied up (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"), file("b", "")).xattr("trusted.overlay.overlay.opaque", "y")), lower(dir("d", file("c", ""))))
			if !escapesXattrs(o) {
				t.Skip("this kernel's overlayfs does not escape private attributes (6.7)")
			}
			o.chmod("d", 0o700)
			o.shows(dir("d", file("a", "lower"), file("b", ""), file("c", "")).perm(0o700).xattr(opaque, "y"))
			o.upperHolds(dir("d").perm(0o700).xattr("trusted.overlay.overlay.opaque", "y"))
		},
	},
}

// script is a program for /proc/self/exe to be run by: it is the shortest file
// the kernel can execute here, where there is no shell.
const script = "#!/proc/self/exe\n"

// run executes a file and waits for it; only whether it could be started counts.
func run(path string) error {
	cmd := exec.Command(path)
	if err := cmd.Start(); err != nil {
		return err
	}
	cmd.Process.Kill()
	cmd.Wait()
	return nil
}

// accesses are the ways to use a file that permission decides.
var accesses = []struct {
	name string
	mode uint32
}{{"read", unix.R_OK}, {"write", unix.W_OK}, {"execute", unix.X_OK}}

// sameAfterCopyUp asks as the owner, as one of the group and as another.
func sameAfterCopyUp(t *suites.T) {
	modes := []uint32{0, 0o444, 0o222, 0o111, 0o700, 0o070, 0o007, 0o640, 0o604, 0o755}
	var nodes []node
	for _, m := range modes {
		nodes = append(nodes, file(fmt.Sprintf("%03o", m), "").perm(m).owned(nobody, nobody))
	}
	o := newOverlay(t, lower(nodes...))
	ask := func() (answers []string) {
		for _, who := range [][2]int{{nobody, nobody}, {nobody + 1, nobody}, {nobody + 2, nobody + 2}} {
			_ = as(who[0], who[1], func() error {
				for _, n := range nodes {
					for _, a := range accesses {
						err := unix.Faccessat(unix.AT_FDCWD, o.at(n.name), a.mode, 0)
						answers = append(answers, fmt.Sprintf("user %d, %s of mode %s: %v", who[0], a.name, n.name, outcome(err)))
					}
				}
				return nil
			})
		}
		return answers
	}
	before := ask()
	for _, n := range nodes {
		o.do("copy up", unix.Chown(o.at(n.name), -1, -1))
	}
	o.everyView(func(v view) {
		for i, answer := range ask() {
			if answer != before[i] {
				t.Errorf("%s: %s, before the copy-up %s", v, answer, before[i])
			}
		}
	})
	if !strings.Contains(strings.Join(before, ""), "success") || !strings.Contains(strings.Join(before, ""), "denied") {
		t.Errorf("every answer is the same: %q", before[0])
	}
}

// contentChanges are ways to change what a file of 5 bytes holds.
var contentChanges = []struct {
	name string
	do   func(path string) error
}{
	{"pwrite", withFd(unix.O_WRONLY, func(fd int) error { _, err := unix.Pwrite(fd, []byte("W"), 2); return err })},
	{"writev", withFd(unix.O_WRONLY, func(fd int) error { _, err := unix.Writev(fd, [][]byte{[]byte("L")}); return err })},
	{"append", withFd(unix.O_WRONLY|unix.O_APPEND, func(fd int) error { return writeAll(fd, "+") })},
	{"splice", withFd(unix.O_WRONLY, spliceInto)},
	{"pwritev2", withFd(unix.O_WRONLY, func(fd int) error {
		_, err := unix.Pwritev2(fd, [][]byte{[]byte("V")}, 1, unix.RWF_DSYNC)
		return err
	})},
	{"aio", withFd(unix.O_WRONLY, func(fd int) error { _, err := aio(fd, aioWrite, []byte("async"), 3); return err })},
	{"truncate", func(p string) error { return unix.Truncate(p, 2) }},
	{"ftruncate", withFd(unix.O_WRONLY, func(fd int) error { return unix.Ftruncate(fd, 2) })},
	{"open with O_TRUNC", opened(unix.O_WRONLY | unix.O_TRUNC)},
	{"fallocate", withFd(unix.O_RDWR, func(fd int) error { return unix.Fallocate(fd, 0, 5, 3) })},
	{"punch a hole", withFd(unix.O_RDWR, func(fd int) error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 5)
	})},
	{"copy_file_range", withFd(unix.O_RDWR, func(fd int) error {
		from, to := int64(0), int64(5)
		_, err := unix.CopyFileRange(fd, &from, fd, &to, 3, 0)
		return err
	})},
}

// dropSetID wants the overlay to change, and clear, what the file system below
// does.
func dropSetID(t *suites.T) {
	var nodes []node
	for i := range contentChanges {
		nodes = append(nodes, file(fmt.Sprint("f", i), "lower").perm(0o6777).xattr(capability, netRaw()))
	}
	o := newOverlay(t, lower(nodes...))
	plain := o.layer("plain", nodes)
	for i, c := range contentChanges {
		name := fmt.Sprint("f", i)
		for _, path := range []string{plain + "/" + name, o.at(name)} {
			o.do(c.name+" as another user", as(nobody, nobody, func() error { return c.do(path) }))
		}
		want, err := readFound(plain + "/" + name)
		o.do("read the plain file", err)
		got, err := readFound(o.at(name))
		o.do("read the overlay's file", err)
		if got.Mode != want.Mode || got.text != want.text || got.Size != want.Size || got.xattrs[capability] != want.xattrs[capability] {
			t.Errorf("after %s the mode is %#o, the content %s of %d bytes, with %q; on the file system below %#o, %s of %d, with %q", c.name,
				got.Mode, show(got.text), got.Size, got.xattrs[capability], want.Mode, show(want.text), want.Size, want.xattrs[capability])
		}
	}
}
