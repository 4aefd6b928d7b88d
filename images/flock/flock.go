// Package flock keeps processes out of each other's way by locked files.
package flock

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Lock waits for the exclusive flock(2) of path, a file it makes. The kernel
// gives it up when the process ends, however it ends.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	locked := make(chan error, 1)
	go func() { locked <- flock(f, unix.LOCK_EX) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, err
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() {
			if err := <-locked; err == nil {
				f.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

// Locked reports whether another has the lock of path.
func Locked(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(flock(f, unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// flock takes the lock, however often a signal interrupts the wait.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("flock", err)
		}
	}
}
