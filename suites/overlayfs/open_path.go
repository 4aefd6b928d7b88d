package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// pathOpenings are opened by way of a symbolic link, and under a missing name.
var pathOpenings = []struct {
	flags   int
	copies  bool
	text    string     // of the link's target afterwards
	link    unix.Errno // 0 if opening the link succeeds
	missing unix.Errno // 0 if opening a missing name succeeds, and makes a file
}{
	{unix.O_RDONLY, false, "lower", 0, unix.ENOENT},
	{unix.O_WRONLY, true, "lower", 0, unix.ENOENT},
	{unix.O_RDWR | unix.O_TRUNC, true, "", 0, unix.ENOENT},
	{unix.O_RDONLY | unix.O_TRUNC, true, "", 0, unix.ENOENT},
	{unix.O_WRONLY | unix.O_APPEND, true, "lower", 0, unix.ENOENT},
	{unix.O_RDONLY | unix.O_CREAT, false, "lower", 0, 0},
	{unix.O_RDWR | unix.O_CREAT, true, "lower", 0, 0},
	{unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, true, "", 0, 0},
	{unix.O_RDONLY | unix.O_CREAT | unix.O_EXCL, false, "lower", unix.EEXIST, 0},
	{unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, false, "lower", unix.EEXIST, 0},
	{unix.O_RDONLY | unix.O_NOFOLLOW, false, "lower", unix.ELOOP, unix.ENOENT},
	{unix.O_PATH, false, "lower", 0, unix.ENOENT},
}

// openPathCases open files by other ways than their own names.
var openPathCases = []suites.Case{
	{
		Name: "open-by-symlink",
		Doc:  "Opening a symbolic link copies its target up as opening that does, and leaves the link alone (open(2); overlayfs.rst, non-directories).",
		Run:  func(t *suites.T) { openBy(t, "direct") },
	},
	{
		Name: "open-by-symlink-to-symlink",
		Doc:  "Opening a symbolic link to another copies the file at the end up, and no link (open(2); overlayfs.rst, non-directories).",
		Run:  func(t *suites.T) { openBy(t, "indirect") },
	},
	{
		Name: "open-by-symlink-to-directory",
		Doc:  "Opening a file through a symbolic link to its directory copies both up, and not the link (open(2); overlayfs.rst, non-directories).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(symlink("l", "d"), dir("d", file("a", "lower"), file("b", ""))))
			o.write("l/a", "changed")
			o.write("l/new", "new")
			o.unlink("l/b")
			now := dir("d", file("a", "changed"), file("new", "new"))
			o.shows(symlink("l", "d"), now)
			now.children = append(now.children, whiteout("b"))
			o.upperHolds(now)
		},
	},
	{
		Name: "open-missing-name",
		Doc:  "Opening a name that is not there makes a file with O_CREAT and nothing without, in a lower directory and over a whiteout (open(2)).",
		Run:  openMissing,
	},
	{
		Name: "open-by-dangling-symlink",
		Doc:  "Opening a symbolic link to a name that is not there makes that with O_CREAT, unless with O_EXCL (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(symlink("l", "d/new"), dir("d")))
			o.refused("open", opened(unix.O_RDWR)(o.at("l")), unix.ENOENT)
			o.refused("open with O_CREAT|O_EXCL", opened(unix.O_RDWR|unix.O_CREAT|unix.O_EXCL)(o.at("l")), unix.EEXIST)
			o.upperHolds()
			o.do("open with O_CREAT", opened(unix.O_RDONLY|unix.O_CREAT)(o.at("l")))
			o.shows(symlink("l", "d/new"), dir("d", file("new", "").perm(0)))
		},
	},
	{
		Name: "open-symlink-loop-is-eloop",
		Doc:  "A symbolic link that leads to itself by way of two layers is ELOOP (path_resolution(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(symlink("a", "b")), upper(symlink("b", "a")))
			o.everyView(func(v view) { o.refused(string(v)+": open", opened(unix.O_RDONLY)(o.at("a")), unix.ELOOP) })
		},
	},
	{
		Name: "open-path-descriptor-sees-copied-up",
		Doc:  "A file opened with O_PATH before it was copied up is the same file after, under its name in /proc too (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			fd := o.open("a", unix.O_PATH)
			defer unix.Close(fd)
			o.write("a", "changed")
			if got, err := os.ReadFile(procFd(fd)); err != nil || string(got) != "changed" {
				t.Errorf("the descriptor's name reads %q (%v), want changed", got, err)
			}
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil || st.Size != 7 {
				t.Errorf("the descriptor's size is %d (%v), want 7", st.Size, err)
			}
		},
	},
	{
		Name: "open-directory-descriptor-after-copy-up",
		Doc:  "Names are made and found relative to a directory that was opened before it was copied up (openat(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))))
			fd := o.open("d", unix.O_PATH|unix.O_DIRECTORY)
			o.chmod("d", 0o700)
			o.do("mkdir", unix.Mkdirat(fd, "new", 0o755))
			o.do("rename", unix.Renameat(fd, "a", fd, "new/b"))
			o.refused("look up a", unix.Faccessat(fd, "a", unix.F_OK, 0), unix.ENOENT)
			o.do("close", unix.Close(fd))
			o.shows(dir("d", dir("new", file("b", "lower"))).perm(0o700))
		},
	},
	{
		Name: "open-tmpfile",
		Doc:  "A file made with O_TMPFILE has no name until it is linked to one (open(2); overlayfs has them since 6.3).",
		Run:  openTmpfile,
	},
	{
		Name: "open-on-read-only-bind-mount",
		Doc:  "Opening for writing on a read-only mount of the overlay is EROFS, and copies nothing up (mount(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), dir("d")))
			ro := o.layer("ro", nil)
			o.do("bind the overlay", unix.Mount(o.merged, ro, "", unix.MS_BIND, ""))
			o.do("make it read-only", unix.Mount("", ro, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
			for _, c := range changes {
				o.refused(c.name, c.do(ro), unix.EROFS)
			}
			o.do("unbind", unix.Unmount(ro, 0))
			o.shows(file("a", "lower"), dir("d"))
			o.upperHolds()
		},
	},
	{
		Name: "open-flags-stay",
		Doc:  "The flags a file was opened with are the same after it was copied up by another (fcntl(2), F_GETFL).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOATIME
			fd := o.open("a", flags)
			defer unix.Close(fd)
			before, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			o.do("get the flags", err)
			o.write("a", "changed")
			readFd(fd)
			if after, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || after != before {
				t.Errorf("the flags are %#o (%v), were %#o", after, err, before)
			}
		},
	},
	{
		Name: "open-noatime-by-another-is-eperm",
		Doc:  "O_NOATIME is for the owner alone (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("open", as(nobody, nobody, func() error { return opened(unix.O_RDONLY | unix.O_NOATIME)(o.at("a")) }), unix.EPERM)
		},
	},
	{
		Name: "open-offset-stays",
		Doc:  "A descriptor's position stays where it is when its file is copied up (lseek(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "0123456789")))
			fd := o.open("a", unix.O_RDONLY)
			defer unix.Close(fd)
			buf := make([]byte, 4)
			_, err := unix.Read(fd, buf)
			o.do("read", err)
			o.do("write", withFd(unix.O_WRONLY, func(fd int) error { _, err := unix.Pwrite(fd, []byte("E"), 4); return err })(o.at("a")))
			_, err = unix.Read(fd, buf)
			o.do("read on", err)
			want := "E567"
			if lacks(t, "metacopy") {
				want = "4567" // a descriptor stays on the lower file before 4.19
			}
			if string(buf) != want {
				t.Errorf("the descriptor reads on with %q, want %q", buf, want)
			}
		},
	},
	{
		Name: "open-directory-oddly",
		Doc:  "A directory is not made, nor emptied, by open(2) (open(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))))
			o.do("open with O_DIRECTORY", opened(unix.O_RDONLY|unix.O_DIRECTORY)(o.at("d")))
			o.refused("open with O_CREAT", opened(unix.O_RDONLY|unix.O_CREAT)(o.at("d")), unix.EISDIR)
			o.refused("open with O_CREAT|O_EXCL", opened(unix.O_RDONLY|unix.O_CREAT|unix.O_EXCL)(o.at("d")), unix.EEXIST)
			o.refused("open with O_WRONLY|O_TRUNC", opened(unix.O_WRONLY|unix.O_TRUNC)(o.at("d")), unix.EISDIR)
			o.shows(dir("d", file("a", "")))
			o.upperHolds()
		},
	},
	{
		Name: "open-fifo-of-lower-layer",
		Doc:  "Two openers of a FIFO of the lower layer meet in it, and nothing is copied up (fifo(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(fifo("p")))
			r := o.open("p", unix.O_RDONLY|unix.O_NONBLOCK)
			w := o.open("p", unix.O_WRONLY|unix.O_NONBLOCK)
			o.do("write", writeAll(w, "through"))
			buf := make([]byte, 16)
			if n, err := unix.Read(r, buf); err != nil || string(buf[:n]) != "through" {
				t.Errorf("the FIFO gives %q (%v), want through", buf[:n], err)
			}
			o.do("close", errors.Join(unix.Close(r), unix.Close(w)))
			o.shows(fifo("p"))
			o.upperHolds()
		},
	},
	{
		Name: "trailing-slash-on-new-names",
		Doc:  "A trailing slash on a new name is for directories alone (path_resolution(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", ""), dir("d"), symlink("l", "d")))
			o.refused("create new/", opened(unix.O_RDWR|unix.O_CREAT)(o.at("new/")), unix.EISDIR)
			o.refused("symlink new/", unix.Symlink("a", o.at("new/")), unix.ENOENT, unix.ENOTDIR)
			o.refused("rename a to new/", unix.Rename(o.at("a"), o.at("new/")), unix.ENOTDIR)
			o.do("look up l/", unix.Access(o.at("l/"), unix.F_OK))
			o.upperHolds()
			o.do("mkdir new/", unix.Mkdir(o.at("new/"), 0o755))
			o.shows(file("a", ""), dir("d"), symlink("l", "d"), dir("new"))
		},
	},
	{
		Name: "working-directory-stays",
		Doc:  "A working directory is the same after it was copied up, and after its removal was refused (getcwd(3)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("p", dir("d", file("a", "")))))
			leave := o.enter(o.at("p/d"))
			copied := unix.Chmod(".", 0o700)
			removed := unix.Rmdir(o.at("p/d"))
			wd, err := unix.Getwd()
			var up unix.Stat_t
			upErr := unix.Stat("..", &up)
			leave()
			o.do("chmod", copied)
			o.refused("rmdir", removed, unix.ENOTEMPTY, unix.EEXIST)
			if err != nil || wd != o.merged+"/p/d" {
				t.Errorf("the working directory is %s (%v), want %s", wd, err, o.merged+"/p/d")
			}
			if st := o.stat("p"); upErr != nil || st.Ino != up.Ino {
				t.Errorf("its parent is inode %d (%v), want %d", up.Ino, upErr, st.Ino)
			}
			o.shows(dir("p", dir("d", file("a", "")).perm(0o700)))
		},
	},
}

// openBy opens a symbolic link in each way, each on a file of its own.
func openBy(t *suites.T, kind string) {
	var low, want, copied []node
	for i, op := range pathOpenings {
		name, text := fmt.Sprintf("f%02d", i), op.text
		low = append(low, file(name, "lower"), symlink("l"+name, name), symlink("m"+name, "l"+name))
		want = append(want, file(name, text), symlink("l"+name, name), symlink("m"+name, "l"+name))
		if op.copies {
			copied = append(copied, file(name, text))
		}
	}
	o := newOverlay(t, lower(low...))
	first := map[string]string{"direct": "l", "indirect": "m"}[kind]
	for i, op := range pathOpenings {
		err := opened(op.flags)(o.at(fmt.Sprintf("%sf%02d", first, i)))
		if op.link != 0 {
			o.refused(fmt.Sprintf("open with %#o", op.flags), err, op.link)
		} else {
			o.do(fmt.Sprintf("open with %#o", op.flags), err)
		}
	}
	o.shows(want...)
	o.upperHolds(copied...)
}

func openMissing(t *suites.T) {
	var low, made []node
	for i := range pathOpenings {
		low = append(low, file(fmt.Sprintf("w%02d", i), "lower"))
	}
	o := newOverlay(t, lower(dir("d", append(low, file("kept", ""))...)))
	for i, op := range pathOpenings {
		o.unlink(fmt.Sprintf("d/w%02d", i))
		for _, prefix := range []string{"n", "w"} {
			name := fmt.Sprintf("%s%02d", prefix, i)
			fd, err := unix.Open(o.at("d/"+name), op.flags|unix.O_CLOEXEC, 0o640)
			if op.missing != 0 {
				o.refused(fmt.Sprintf("open %s with %#o", name, op.flags), err, op.missing)
				continue
			}
			o.do(fmt.Sprintf("open %s with %#o", name, op.flags), err)
			unix.Close(fd)
			made = append(made, file(name, "").perm(0o640))
		}
	}
	o.shows(dir("d", append(made, file("kept", ""))...))
}

func openTmpfile(t *suites.T) {
	o := newOverlay(t, lower(dir("d", file("a", "lower"))))
	fd, err := unix.Open(o.at("d"), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o640)
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) {
		t.Skip("this kernel's overlayfs has no O_TMPFILE (6.3)")
	}
	o.do("open", err)
	defer unix.Close(fd)
	o.do("write", writeAll(fd, "text"))
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Nlink != 0 || st.Size != 4 {
		t.Errorf("it has %d links and %d bytes (%v), want 0 and 4", st.Nlink, st.Size, err)
	}
	o.compare("before it is linked", o.merged, []node{dir("d", file("a", "lower"))})
	o.do("link", unix.Linkat(unix.AT_FDCWD, procFd(fd), unix.AT_FDCWD, o.at("d/b"), unix.AT_SYMLINK_FOLLOW))
	o.do("write on", writeAll(fd, "+more"))
	o.compare("while it is open", o.merged, []node{dir("d", file("a", "lower"), file("b", "text+more").perm(0o640))})
	if got := readFd(fd); !strings.HasPrefix(got, "text+more") {
		t.Errorf("it reads %q, want text+more", got)
	}
	o.upperHolds(dir("d", file("b", "text+more").perm(0o640)))
}
