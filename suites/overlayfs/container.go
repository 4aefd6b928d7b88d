package overlayfs

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// containerCases do what container engines do: build images layer by layer, and
// look at the upper layer for what a step changed.
var containerCases = []suites.Case{
	{
		Name: "container-build",
		Doc:  "Layers made one after another, each over all before, show what the same steps make of one directory (overlayfs.rst, multiple lower layers).",
		Run:  buildImage,
	},
	{
		Name: "container-upper-carried-over",
		Doc:  "An upper layer copied file by file, with its attributes and whiteouts, shows the same over the same lower one with index=off (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=off"), lower(file("a", "lower"), dir("d", file("x", "")), file("gone", "")))
			o.write("a", "changed")
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("d")
			o.unlink("gone")
			copied := []node{file("a", "changed"), dir("d").opaque(), whiteout("gone")}
			o.upperHolds(copied...)
			o.unmount()
			o.upper = o.layer("carried", copied)
			o.do("mount with the copied upper layer", o.mount())
			o.shows(file("a", "changed"), dir("d"))
		},
	},
	{
		Name: "container-old-layer-over-new-lower",
		Doc:  "An upper layer goes on to hide and show what it did when a file is added to the lower one between two mounts (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("index=off"), lower(dir("d", file("a", "lower")), dir("e", file("x", ""))))
			o.unlink("d/a")
			o.do("remove e", os.RemoveAll(o.at("e")))
			o.mkdir("e")
			o.unmount()
			o.do("add to the lower layer", file("new", "later").make(o.inLower("d")))
			o.do("add to the hidden directory", file("new", "later").make(o.inLower("e")))
			o.remember()
			o.do("mount", o.mount())
			o.shows(dir("d", file("new", "later")), dir("e"))
		},
	},
	{
		Name: "log-quiet",
		Doc:  "A mount that is as it should be says nothing to the kernel's log (fs/overlayfs/super.c).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower"), dir("d", file("x", ""))))
			fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			o.do("open the kernel's log", err)
			defer unix.Close(fd)
			_, err = unix.Seek(fd, 0, 2)
			o.do("seek to the log's end", err)
			o.do("mount", o.mount())
			o.write("a", "changed")
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.shows(file("a", "changed"))
			for _, line := range logged(fd) {
				// What the file system below lacks is no fault of the mount.
				if strings.Contains(line, "overlayfs:") && !strings.Contains(line, "upper fs does not support") {
					t.Errorf("the kernel says %q", line)
				}
			}
		},
	},
	{
		Name: "dialect-unknown-type",
		Doc:  "The file system has one name, \"overlay\", or \"overlayfs\" before 3.18, and the other is unknown: ENODEV (overlayfs.rst, upper and lower).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "")))
			other := map[string]string{"overlay": "overlayfs", "overlayfs": "overlay"}[fsType(t)]
			o.refused("mount as "+other, unix.Mount("overlay", o.merged, other, 0, o.data()), unix.ENODEV)
		},
	},
}

// logged are the records that have come to the kernel's log.
func logged(kmsg int) (lines []string) {
	buf := make([]byte, 8192)
	for {
		n, err := unix.Read(kmsg, buf)
		if err == unix.EPIPE {
			continue // records were lost to newer ones
		}
		if err != nil {
			return lines
		}
		lines = append(lines, string(buf[:n]))
	}
}

// buildImage takes each step in an overlay on the layers of all before it, and in
// a plain directory.
func buildImage(t *suites.T) {
	const steps = 8
	first := layers(t, lower(file("base", "0")))
	if !severalLowers(t) {
		t.Skip("this kernel's overlayfs takes one lower layer only")
	}
	plain := first.layer("plain", []node{file("base", "0")})
	stack := first.lowers
	for i := range steps {
		o := layers(t)
		o.lowers = stack
		o.remember()
		o.do("mount", o.mount())
		for _, root := range []string{plain, o.merged} {
			o.do("take a step", buildStep(root, i))
		}
		o.remount()
		got, err := readTree(o.merged)
		o.do("read the overlay", err)
		want, err := readTree(plain)
		o.do("read the plain directory", err)
		o.sameTrees(fmt.Sprint("step ", i), got, want)
		o.unmount()
		stack = append([]string{o.upper}, stack...)
	}
}

// buildStep adds, changes and removes, in turn.
func buildStep(root string, i int) error {
	if err := os.WriteFile(root+"/base", fmt.Append(nil, i), 0o644); err != nil {
		return err
	}
	dir := fmt.Sprintf("%s/d%d", root, i%3)
	switch i / 3 % 2 {
	case 0:
		if err := os.MkdirAll(dir+"/s", 0o755); err != nil {
			return err
		}
		return os.WriteFile(dir+"/s/f", fmt.Append(nil, i), 0o644)
	default:
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		return os.Mkdir(dir, 0o750)
	}
}
