package overlayfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// ioCases are what has no twin on the file system below.
var ioCases = []suites.Case{
	{
		Name: "io-pwritev2-append",
		Doc:  "RWF_APPEND appends, whatever the offset, to a lower file and to one that was copied up (pwritev2(2); fs/backing-file.c, BACKING_IOCB_MASK).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "lower")))
			o.copyUp("b")
			for _, name := range []string{"a", "b"} {
				o.do("append", withFd(unix.O_RDWR, func(fd int) error {
					_, err := unix.Pwritev2(fd, [][]byte{[]byte("+")}, 0, unix.RWF_APPEND)
					return err
				})(o.at(name)))
			}
			if text, err := os.ReadFile(o.at("a")); err == nil && string(text) == "+ower" && !has(t, "backing_file_write_iter") {
				t.Skip("this kernel's overlayfs does not pass RWF_APPEND on: what is to be appended goes to the offset (mended by 6.9)")
			}
			o.shows(file("a", "lower+"), file("b", "lower+"))
		},
	},
	{
		Name: "io-seek-data-and-hole",
		Doc:  "Data and holes of a lower file are found where they are on the file system below (lseek(2)).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "")))
			o.do("write the file", withHole(o.inLower("a")))
			o.remember()
			o.do("mount", o.mount())
			var want, got string
			look := func(saw *string) func(fd int) error {
				return func(fd int) (err error) { *saw, err = seekAll(fd); return err }
			}
			o.do("seek", errors.Join(withFd(unix.O_RDONLY, look(&want))(o.inLower("a")), withFd(unix.O_RDONLY, look(&got))(o.at("a"))))
			if got != want {
				t.Errorf("data and holes are at %q, on the file system below at %q", got, want)
			}
		},
	},
	{
		Name: "io-size-after-splice",
		Doc:  "What splice(2) adds to a file is there for copy_file_range(2), which goes by the size of the overlay's own inode (fs/overlayfs/file.c, ovl_splice_write; fs/read_write.c, generic_copy_file_checks).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "")))
			var pipe [2]int
			o.do("make a pipe", unix.Pipe2(pipe[:], unix.O_CLOEXEC))
			from, to := o.open("a", unix.O_RDWR), o.open("b", unix.O_WRONLY)
			end, added := int64(len("lower")), "spliced"
			at := end
			o.do("fill the pipe", writeAll(pipe[1], added))
			_, err := unix.Splice(pipe[0], nil, from, &at, len(added), 0)
			o.do("splice", err)
			n, err := unix.CopyFileRange(from, &end, to, nil, len(added), 0)
			o.do("copy", err)
			if n != len(added) {
				t.Errorf("copied %d bytes of what was added, want %d", n, len(added))
			}
			for _, fd := range []int{from, to, pipe[0], pipe[1]} {
				unix.Close(fd)
			}
			o.shows(file("a", "lower"+added), file("b", added))
		},
	},
	{
		Name: "io-direct-set-later",
		Doc:  "O_DIRECT that is set later is refused, or input and output are, where the file system below has none; when it is cleared they go on (fcntl(2), F_SETFL).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", exercised)))
			fd := o.open("a", unix.O_RDWR)
			b := aligned(2 * 4096)
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_DIRECT); err != nil {
				o.refused("set O_DIRECT", err, unix.EINVAL)
			} else if _, err := unix.Pread(fd, b, 0); err != nil {
				o.refused("read with O_DIRECT", err, unix.EINVAL)
			}
			_, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, 0)
			o.do("clear O_DIRECT", err)
			n, err := unix.Pread(fd, b, 0)
			o.do("read", errors.Join(err, writeAll(fd, "D"), unix.Close(fd)))
			if string(b[:n]) != exercised[:n] || n < 4096 {
				t.Errorf("read %d bytes, %s", n, show(string(b[:n])))
			}
			o.shows(file("a", "D"+exercised[1:]))
		},
	},
	{
		Name: "io-script",
		Doc:  "A script of the lower layer is run by an interpreter of the overlay, copied up or not (execve(2)).",
		Run: func(t *suites.T) {
			o := layers(t, lower(dir("d")))
			o.do("make the interpreter", os.WriteFile(o.inLower("i"), waiting(), 0o755))
			o.do("make the script", os.WriteFile(o.inLower("s"), []byte("#!"+o.at("i")+"\n"), 0o755))
			o.do("make another", os.WriteFile(o.inLower("n"), []byte("#!"+o.at("missing")+"\n"), 0o755))
			o.remember()
			o.do("mount", o.mount())
			o.do("run the script", run(o.at("s")))
			o.copyUp("s")
			o.do("run the script copied up", run(o.at("s")))
			o.copyUp("i")
			o.do("run it with the interpreter copied up", run(o.at("s")))
			o.refused("run one whose interpreter is missing", run(o.at("n")), unix.ENOENT)
			o.chmod("i", 0o644)
			o.refused("run it with an interpreter that is no program", run(o.at("s")), unix.EACCES)
		},
	},
	{
		Name: "io-limit-copy-up",
		Doc:  "A file larger than the limit of the process is copied up whole, or the open is refused and nothing is left (setrlimit(2), RLIMIT_FSIZE).",
		Run: func(t *suites.T) {
			text := long(4 * sizeLimit)
			o := newOverlay(t, lower(file("a", text)))
			_, err := limited(func(int) (string, error) { return "", opened(unix.O_RDWR)(o.at("a")) })(0)
			if err != nil {
				o.refused("open", err, unix.EFBIG)
				o.upperHolds()
			}
			o.shows(file("a", text))
		},
	},
}
