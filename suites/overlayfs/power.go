package overlayfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What has reached a disk is told in two ways: by what the device counts, and by
// mounting a copy of the image as it is, which is what a power cut would leave.

// holdWriteback keeps the kernel from writing dirty pages to disks by itself,
// until the case ends (Documentation/admin-guide/sysctl/vm.rst,
// dirty_writeback_centisecs).
func (o *overlay) holdWriteback() {
	o.t.Helper()
	const knob = "/proc/sys/vm/dirty_writeback_centisecs"
	old, err := os.ReadFile(knob)
	o.do("read how often dirty pages are written", err)
	o.do("hold write-back", os.WriteFile(knob, []byte("0"), 0))
	o.t.Cleanup(func() { o.do("let write-back go on", os.WriteFile(knob, old, 0)) })
}

// lazyJournal keeps ext4 from committing its journal by itself (ext4(5)).
const lazyJournal = "commit=10000"

// flushed has everything there is written to the disk, and no more from then on.
func (o *overlay) flushed() {
	o.t.Helper()
	o.holdWriteback()
	o.do("sync the disk", withFd(unix.O_RDONLY, unix.Syncfs)(o.dir))
}

// written is how many sectors were written to the device (block/stat.rst, write
// sectors).
func (l *loop) written() int {
	l.t.Helper()
	b, err := os.ReadFile(filepath.Join("/sys/block", filepath.Base(l.path), "stat"))
	if err != nil {
		l.t.Fatalf("read what was written to the disk: %v", err)
	}
	fields := strings.Fields(string(b))
	n, err := strconv.Atoi(fields[6])
	if err != nil {
		l.t.Fatalf("read what was written to the disk: %v", err)
	}
	return n
}

// writes is how many sectors the deed writes to the overlay's disk.
func (o *overlay) writes(deed string, err func() error) int {
	o.t.Helper()
	before := o.disk.written()
	o.do(deed, err())
	return o.disk.written() - before
}

// quietTries is how often a deed may seem to write: on a loaded host the disk's own
// file system was seen to write a superblock meanwhile.
const quietTries = 3

// writesNothing wants a deed to write nothing to the disk, each time after before.
// Both are told which try it is.
func (o *overlay) writesNothing(deed string, before, do func(try int) error) {
	o.t.Helper()
	var wrote []int
	for try := range quietTries {
		o.do("prepare", before(try))
		n := o.writes(deed, func() error { return do(try) })
		if n == 0 {
			return
		}
		wrote = append(wrote, n)
	}
	o.t.Errorf("%s: %v sectors were written to the disk, want none", deed, wrote)
}

// powerCut gives the overlay as it would be if the power had gone now: on a copy
// of its disk, not yet mounted.
func (o *overlay) powerCut() *overlay {
	o.t.Helper()
	image := filepath.Join(o.t.Dir(), "cut.img")
	o.do("copy the disk as it is", copySparse(image, o.disk.image))
	at := o.t.TempDir()
	d := attach(o.t, image)
	mountDevice(o.t, d.path, o.diskFS, at, 0, "")
	there := func(path string) string {
		if path == "" {
			return ""
		}
		rel, err := filepath.Rel(o.dir, path)
		o.do("find a layer on the copy", err)
		return filepath.Join(at, rel)
	}
	after := &overlay{t: o.t, dir: at, lowerFS: at, disk: d, diskFS: o.diskFS, options: o.options}
	for _, l := range o.lowers {
		after.lowers = append(after.lowers, there(l))
	}
	after.upper, after.work, after.merged = there(o.upper), there(o.work), there(o.merged)
	after.remember()
	o.t.Cleanup(after.checkInvariants)
	return after
}

// keeps wants the overlay, after a power cut, to show nodes.
func (o *overlay) keeps(nodes ...node) {
	o.t.Helper()
	after := o.powerCut()
	o.do("mount the overlay after a power cut", after.mount())
	after.compare("after a power cut", after.merged, nodes)
}

// copySparse copies a file and its holes.
func copySparse(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	defer dst.Close()
	for at := int64(0); ; {
		if at, err = src.Seek(at, unix.SEEK_DATA); errors.Is(err, unix.ENXIO) {
			return dst.Truncate(info.Size())
		}
		end, holeErr := src.Seek(at, unix.SEEK_HOLE)
		if err = errors.Join(err, holeErr); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(dst, at), io.NewSectionReader(src, at, end-at)); err != nil {
			return err
		}
		at = end
	}
}
