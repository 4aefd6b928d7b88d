package overlayfs

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// readdirOddCases list directories while they change, and seek where no entry is.
var readdirOddCases = []suites.Case{
	{
		Name: "readdir-devices-beside-whiteouts",
		Doc:  "Devices are listed, as such, beside whiteouts that are not (overlayfs.rst, whiteouts and opaque directories).",
		Run: func(t *suites.T) {
			char, block := device("char", unix.S_IFCHR, 1, 3), device("block", unix.S_IFBLK, 0, 0)
			o := newOverlay(t, lower(dir("d", char, file("a", ""), file("b", ""))), upper(dir("d", block, whiteout("a"))))
			o.unlink("d/b")
			o.shows(dir("d", char, block))
		},
	},
	{
		Name: "readdir-seek-out-of-range",
		Doc:  "A seek before the start of a merged directory is EINVAL, and far beyond its end lists nothing (lseek(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", ""))), upper(dir("d", file("b", ""))))
			fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			defer unix.Close(fd)
			_, err := unix.Seek(fd, -1, io.SeekStart)
			o.refused("seek before the start", err, unix.EINVAL)
			o.seek(fd, 1<<30)
			o.equal("beyond the end", o.names(fd), nil)
			o.seek(fd, 0)
			o.equal("from the start", o.names(fd), []string{".", "..", "a", "b"})
		},
	},
	{
		Name: "readdir-changes-in-the-middle",
		Doc:  "What is there all the time is listed once, while other names come and go between two reads (readdir(3)).",
		Run: func(t *suites.T) {
			low, names := manyFiles("a")
			o := newOverlay(t, lower(dir("d", low...)), upper(dir("d", file("gone", ""))))
			fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			defer unix.Close(fd)
			seen := make(map[string]int)
			for i := 0; ; i++ {
				batch, err := readBatch(fd, smallBuffer)
				o.do("list", err)
				if len(batch) == 0 {
					break
				}
				for _, e := range batch {
					seen[e.name]++
				}
				if i == 1 {
					o.unlink("d/gone")
					o.mkdir("d/new")
				}
			}
			for _, name := range names {
				if seen[name] != 1 {
					t.Errorf("%s is listed %d times, want once", name, seen[name])
				}
			}
		},
	},
	{
		Name: "readdir-each-kind-of-copied-up",
		Doc:  "A directory lists its names once each as they are copied up one by one, renamed in and renamed out (overlayfs.rst, readdir).",
		Run: func(t *suites.T) {
			var low []node
			want := []string{".", ".."}
			for i := range 6 {
				low, want = append(low, file(fmt.Sprint("f", i), "")), append(want, fmt.Sprint("f", i))
			}
			o := newOverlay(t, lower(dir("d", low...), dir("e")))
			for i := range low {
				o.chmod("d/"+low[i].name, 0o600)
				o.lists("after "+low[i].name, "d", want...)
			}
			o.rename("d/f0", "e/f0")
			o.everyView(func(v view) {
				o.lists(string(v), "d", append([]string{".", ".."}, want[3:]...)...)
				o.lists(string(v), "e", ".", "..", "f0")
			})
		},
	},
	{
		Name: "fsync-of-every-kind",
		Doc:  "fsync(2) and fdatasync(2) succeed on files of either layer, copied up and removed (fsync(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("low", "lower"), file("copied", "lower"), file("gone", "lower")), upper(file("up", "upper")))
			o.write("copied", "changed")
			fd := o.open("gone", unix.O_RDWR)
			o.unlink("gone")
			o.do("sync a removed file", errors.Join(unix.Fsync(fd), unix.Close(fd)))
			for _, name := range []string{"low", "copied", "up"} {
				o.do("sync "+name, withFd(unix.O_RDONLY, func(fd int) error { return errors.Join(unix.Fsync(fd), unix.Fdatasync(fd)) })(o.at(name)))
			}
			o.shows(file("low", "lower"), file("copied", "changed"), file("up", "upper"))
			o.upperHolds(file("copied", "changed"), file("up", "upper"), whiteout("gone"))
		},
	},
}
