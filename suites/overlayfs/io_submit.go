package overlayfs

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// submitAIO writes, extends and reads back, one after the other.
func submitAIO(fd int) (saw string, err error) {
	buf := make([]byte, 8)
	for _, op := range []struct {
		opcode uint16
		text   string
		at     int64
	}{{aioWrite, "asynchro", 100}, {aioWrite, "extended", int64(len(exercised))}, {aioRead, "", 102}, {aioRead, "", int64(len(exercised)) + 4}} {
		copy(buf, op.text)
		n, err := aio(fd, op.opcode, buf, op.at)
		if err != nil {
			return saw, err
		}
		saw += fmt.Sprintf("%d %q ", n, buf)
	}
	return saw, nil
}

// ringParams is a struct io_uring_params (linux/io_uring.h).
type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wqFd uint32
	reserved                                               [3]uint32
	sq                                                     struct {
		head, tail, mask, entries, flags, dropped, array, res1 uint32
		res2                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, res1 uint32
		res2                                                   uint64
	}
}

// ringEntry is a struct io_uring_sqe.
type ringEntry struct {
	opcode, flags uint8
	priority      uint16
	fd            int32
	offset, addr  uint64
	length, rw    uint32
	data          uint64
	bufIndex      uint16
	personality   uint16
	fileIndex     int32
	reserved      [2]uint64
}

// The operations of a struct io_uring_sqe, and where the rings are mapped.
const (
	ringFsync      = 3
	ringReadFixed  = 4
	ringWriteFixed = 5
	ringRead       = 22 // since 5.6
	ringWrite      = 23

	ringEntries      = 4
	offSubmission    = 0
	offCompletion    = 0x8000000
	offEntries       = 0x10000000
	registerBuffers  = 0
	enterGetEvents   = 1
	completionLength = 16
)

// A ring is an instance of io_uring with which one operation at a time is done.
type ring struct {
	fd          int
	p           ringParams
	sq, cq, sqe []byte
}

// submitRing writes, extends, syncs and reads back, one after the other.
func submitRing(fd int) (saw string, err error) {
	r, err := newRing()
	if err != nil {
		return "", err
	}
	defer r.close()
	buf := make([]byte, 4096)
	vector := unix.Iovec{Base: &buf[0], Len: uint64(len(buf))}
	if _, _, e := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), registerBuffers, uintptr(unsafe.Pointer(&vector)), 1, 0, 0); e != 0 {
		return "", fmt.Errorf("register a buffer: %w", e)
	}
	end := uint64(len(exercised))
	for _, op := range []struct {
		opcode uint8
		text   string
		at     uint64
		length uint32
	}{
		{ringWrite, "submitted", 100, 9}, {ringWriteFixed, "fixed", end, 5}, {ringFsync, "", 0, 0},
		{ringRead, "", 102, 9}, {ringReadFixed, "", end + 2, 9},
	} {
		copy(buf, op.text)
		entry := ringEntry{opcode: op.opcode, fd: int32(fd), offset: op.at, length: op.length}
		if op.length > 0 {
			entry.addr = uint64(uintptr(unsafe.Pointer(&buf[0])))
		}
		result, err := r.do(entry)
		if err != nil {
			return saw, err
		}
		saw += fmt.Sprintf("%d: %d %q ", op.opcode, result, buf[:9])
	}
	return saw, nil
}

func newRing() (*ring, error) {
	r := &ring{}
	fd, _, e := unix.Syscall(unix.SYS_IO_URING_SETUP, ringEntries, uintptr(unsafe.Pointer(&r.p)), 0)
	if e == unix.EPERM { // kernel.io_uring_disabled
		e = unix.ENOSYS
	}
	if e != 0 {
		return nil, e
	}
	r.fd = int(fd)
	const prot = unix.PROT_READ | unix.PROT_WRITE
	var err error
	for _, m := range []struct {
		at   *[]byte
		off  int64
		size uint32
	}{
		{&r.sq, offSubmission, r.p.sq.array + r.p.sqEntries*4},
		{&r.cq, offCompletion, r.p.cq.cqes + r.p.cqEntries*completionLength},
		{&r.sqe, offEntries, r.p.sqEntries * uint32(unsafe.Sizeof(ringEntry{}))},
	} {
		if *m.at, err = unix.Mmap(r.fd, m.off, int(m.size), prot, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
			r.close()
			return nil, fmt.Errorf("map a ring: %w", err)
		}
	}
	return r, nil
}

func (r *ring) close() {
	for _, m := range [][]byte{r.sq, r.cq, r.sqe} {
		if m != nil {
			unix.Munmap(m)
		}
	}
	unix.Close(r.fd)
}

// do submits an operation, waits for it, and gives its result.
func (r *ring) do(entry ringEntry) (int32, error) {
	at := func(ring []byte, offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&ring[offset])) }
	tail := atomic.LoadUint32(at(r.sq, r.p.sq.tail))
	slot := tail & *at(r.sq, r.p.sq.mask)
	*(*ringEntry)(unsafe.Pointer(&r.sqe[slot*uint32(unsafe.Sizeof(entry))])) = entry
	*at(r.sq, r.p.sq.array+slot*4) = slot
	atomic.StoreUint32(at(r.sq, r.p.sq.tail), tail+1)
	if _, _, e := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), 1, 1, enterGetEvents, 0, 0); e != 0 {
		return 0, fmt.Errorf("submit an operation: %w", e)
	}
	head := atomic.LoadUint32(at(r.cq, r.p.cq.head))
	done := r.p.cq.cqes + (head&*at(r.cq, r.p.cq.mask))*completionLength
	result := int32(*at(r.cq, done+8)) // after the 8 bytes of the operation's own
	atomic.StoreUint32(at(r.cq, r.p.cq.head), head+1)
	return result, nil
}
