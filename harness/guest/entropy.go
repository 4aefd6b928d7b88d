package guest

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ioctls of random(4).
const (
	rndAddEntropy  = 0x40085203
	rndReseedCRNG  = 0x5207 // since 4.17; an older kernel reseeds by itself
	maxEntropySize = 64
)

// randomFile is kept open, as taintFile is.
var randomFile = sync.OnceValue(func() uintptr {
	fd, err := unix.Open("/dev/urandom", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ^uintptr(0)
	}
	return uintptr(fd)
})

// addEntropy credits fresh random bytes of the host, so that getrandom does not
// wait for a guest without a source of its own, and clones do not get the same.
func addEntropy(fresh []byte) {
	if len(fresh) > maxEntropySize {
		return
	}
	pool := struct {
		bits, size int32
		data       [maxEntropySize]byte
	}{bits: int32(8 * len(fresh)), size: int32(len(fresh))}
	copy(pool.data[:], fresh)
	unix.Syscall(unix.SYS_IOCTL, randomFile(), rndAddEntropy, uintptr(unsafe.Pointer(&pool)))
	unix.Syscall(unix.SYS_IOCTL, randomFile(), rndReseedCRNG, 0)
}
