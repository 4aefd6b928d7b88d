package kdbusclient

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// A Pool is a connection's memory for what it receives, mapped to be read. The
// kernel may write to it at any time, and anything.
type Pool struct {
	mem []byte
}

// MapPool maps a connection's pool.
func MapPool(fd int, size uint64) (*Pool, error) {
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &Pool{mem}, nil
}

// Size is how many bytes the pool has.
func (p *Pool) Size() uint64 { return uint64(len(p.mem)) }

// Copy returns a copy of a slice.
func (p *Pool) Copy(offset, size uint64) ([]byte, error) {
	if offset > p.Size() || size > p.Size()-offset {
		return nil, fmt.Errorf("slice of %d bytes at %d is not within a pool of %d", size, offset, p.Size())
	}
	return bytes.Clone(p.mem[offset : offset+size]), nil
}

// Unmap ends the mapping.
func (p *Pool) Unmap() error {
	if p.mem == nil {
		return nil
	}
	mem := p.mem
	p.mem = nil
	return unix.Munmap(mem)
}
