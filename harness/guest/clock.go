package guest

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setClock sets the guest's time of day, in nanoseconds since 1970.
func setClock(wallNS int64) {
	tv := unix.NsecToTimeval(wallNS)
	unix.Settimeofday(&tv)
}

// Ioctls of random(4).
const (
	rndAddEntropy  = 0x40085203
	rndReseedCRNG  = 0x5207 // since 4.17; an older kernel reseeds by itself
	maxEntropySize = 64
)

// addEntropy credits fresh random bytes of the host, so that getrandom does not
// wait for a guest without a source of its own.
func addEntropy(fresh []byte) {
	f, err := os.OpenFile("/dev/urandom", os.O_WRONLY, 0)
	if err != nil || len(fresh) > maxEntropySize {
		return
	}
	defer f.Close()
	pool := struct {
		bits, size int32
		data       [maxEntropySize]byte
	}{bits: int32(8 * len(fresh)), size: int32(len(fresh))}
	copy(pool.data[:], fresh)
	unix.Syscall(unix.SYS_IOCTL, f.Fd(), rndAddEntropy, uintptr(unsafe.Pointer(&pool)))
	unix.Syscall(unix.SYS_IOCTL, f.Fd(), rndReseedCRNG, 0)
}

// sinceBoot is the guest's monotonic clock: nanoseconds since its kernel
// started to keep time.
func sinceBoot() int64 {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// started is when this process began to run Go code.
var started = sinceBoot()
