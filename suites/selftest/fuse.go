package selftest

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"
)

// The little of include/uapi/linux/fuse.h that a server which never answers has
// to know.
const (
	fuseInit      = 26
	fuseMajor     = 7
	fuseMinor     = 23 // the first whose answer to INIT has 64 bytes
	fuseInHeader  = 40 // bytes of struct fuse_in_header
	fuseOutHeader = 16
	fuseInitOut   = 64
	fuseMaxWrite  = 20 // offset in struct fuse_init_out
)

// initFUSE answers the kernel's first request, which is INIT.
func initFUSE(dev int) error {
	request := make([]byte, 64<<10)
	n, err := unix.Read(dev, request)
	if err != nil {
		return fmt.Errorf("read the INIT request: %w", err)
	}
	if op := binary.LittleEndian.Uint32(request[4:]); n < fuseInHeader || op != fuseInit {
		return fmt.Errorf("the first FUSE request is %d, want INIT", op)
	}
	answer := make([]byte, fuseOutHeader+fuseInitOut)
	binary.LittleEndian.PutUint32(answer, uint32(len(answer)))
	copy(answer[8:16], request[8:16]) // the request's number
	out := answer[fuseOutHeader:]
	binary.LittleEndian.PutUint32(out, fuseMajor)
	binary.LittleEndian.PutUint32(out[4:], fuseMinor)
	binary.LittleEndian.PutUint32(out[fuseMaxWrite:], 4096)
	if _, err := unix.Write(dev, answer); err != nil {
		return fmt.Errorf("answer the INIT request: %w", err)
	}
	return nil
}

// takeRequest reads the next request, so that the kernel waits for its answer.
func takeRequest(dev int) error {
	if _, err := unix.Read(dev, make([]byte, 64<<10)); err != nil {
		return fmt.Errorf("take a FUSE request: %w", err)
	}
	return nil
}
