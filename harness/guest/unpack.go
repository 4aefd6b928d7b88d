package guest

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
)

// The kernel's words before and after it unpacks the initramfs
// (init/initramfs.c).
var (
	unpackBegins = []byte("unpack rootfs image as initramfs")
	unpackEnds   = []byte("Freeing initrd memory")
)

// splitKernel puts before the first mark, the kernel's, one that leaves out the
// time the initramfs took to unpack, if the log tells. Kernels since 5.13 unpack
// while they do other things, so the two overlap there.
func splitKernel(marks []event.Mark) []event.Mark {
	begin, end := unpackTimes()
	if begin == 0 || end < begin {
		return marks
	}
	kernel := marks[0].NS - (end - begin)
	return append([]event.Mark{{Name: "kernel", NS: kernel}, {Name: "initramfs", NS: marks[0].NS}}, marks[1:]...)
}

// unpackTimes reads, from the kernel's log, when unpacking began and ended, in
// nanoseconds of the guest's clock; 0 if it does not say.
func unpackTimes() (begin, end int64) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, 0
	}
	defer unix.Close(fd)
	for buf := make([]byte, 8192); ; {
		n, err := unix.Read(fd, buf)
		switch {
		case err == unix.EPIPE:
		case err != nil:
			return begin, end
		case bytes.Contains(buf[:n], unpackBegins):
			begin = recordTime(buf[:n])
		case bytes.Contains(buf[:n], unpackEnds):
			end = recordTime(buf[:n])
		}
	}
}

func recordTime(record []byte) int64 {
	fields := bytes.SplitN(record, []byte(","), 4)
	if len(fields) < 4 {
		return 0
	}
	us, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return 0
	}
	return us * 1000
}
