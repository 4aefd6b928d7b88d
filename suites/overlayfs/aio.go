package overlayfs

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An iocb is struct iocb of linux/aio_abi.h, what io_submit(2) is given.
type iocb struct {
	_      uint64 // aio_data
	_, _   uint32 // aio_key, aio_rw_flags
	opcode uint16
	_      int16 // aio_reqprio
	fd     uint32
	buf    uint64
	bytes  uint64
	offset int64
	_      uint64 // aio_reserved2
	_, _   uint32 // aio_flags, aio_resfd
}

// What an iocb asks for.
const (
	aioRead  = 0 // IOCB_CMD_PREAD
	aioWrite = 1 // IOCB_CMD_PWRITE
)

// aio reads or writes at an offset as io_submit(2) does, and waits for the result,
// which is a number of bytes.
func aio(fd int, opcode uint16, buf []byte, offset int64) (int, error) {
	var context uintptr
	if _, _, e := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&context)), 0); e != 0 {
		return 0, e
	}
	defer func() { _, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, context, 0, 0) }()
	var pin runtime.Pinner // the kernel keeps addresses beyond the call
	defer pin.Unpin()
	pin.Pin(&buf[0])
	c := &iocb{opcode: opcode, fd: uint32(fd), buf: uint64(uintptr(unsafe.Pointer(&buf[0]))), bytes: uint64(len(buf)), offset: offset}
	pin.Pin(c)
	list := []*iocb{c}
	if _, _, e := unix.Syscall(unix.SYS_IO_SUBMIT, context, 1, uintptr(unsafe.Pointer(&list[0]))); e != 0 {
		return 0, e
	}
	var done struct {
		data, obj    uint64
		res, another int64
	}
	if _, _, e := unix.Syscall6(unix.SYS_IO_GETEVENTS, context, 1, 1, uintptr(unsafe.Pointer(&done)), 0, 0); e != 0 {
		return 0, e
	}
	if done.res < 0 {
		return 0, unix.Errno(-done.res)
	}
	return int(done.res), nil
}
