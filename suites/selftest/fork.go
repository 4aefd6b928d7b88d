package selftest

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// swarm makes n processes that only wait to be killed, the children of this one
// and theirs. They are counted in memory that all of them share.
//
// The Go runtime does not survive a fork, so what runs in a child neither
// allocates nor grows its stack: raw system calls only.
func swarm(n int64) error {
	page, err := unix.Mmap(-1, 0, unix.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return fmt.Errorf("map shared memory: %w", err)
	}
	count := (*atomic.Int64)(unsafe.Pointer(&page[0]))
	if err := fork(count, n); err != nil {
		return fmt.Errorf("fork process %d of %d: %w", count.Load(), n, err)
	}
	return nil
}

//go:norace
//go:nosplit
func fork(count *atomic.Int64, n int64) error {
	for count.Add(1) <= n {
		pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if errno != 0 {
			return errno
		}
		if pid == 0 {
			forkOn(count, n)
		}
	}
	return nil
}

// forkOn is the life of a child: it forks as long as there is room and then
// waits to be killed.
//
//go:norace
//go:nosplit
func forkOn(count *atomic.Int64, n int64) {
	for count.Add(1) <= n {
		if _, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0); errno != 0 {
			break
		}
	}
	for {
		unix.RawSyscall(unix.SYS_PAUSE, 0, 0, 0)
	}
}
