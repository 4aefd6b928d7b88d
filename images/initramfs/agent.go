package initramfs

import (
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/u-root/u-root/pkg/ldd"
)

// Where an ELF64 header points at the section headers; see elf(5).
const (
	elfHeaderSize = 64
	offShoff      = 0x28 // 8 bytes
	offShnum      = 0x3c // 2 bytes, and 2 of e_shstrndx after them
)

// addAgent adds the agent as /init, without what only a debugger looks at, and
// the loader and libraries it needs.
func (l *layer) addAgent(host string) error {
	p, err := OpenProgram(host)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := l.addContent(agentPath, 0o755, p, p.Size()); err != nil {
		return err
	}
	for _, lib := range p.Libraries {
		if err := l.addFile(lib, lib); err != nil {
			return err
		}
	}
	return nil
}

// A Program is an executable as a guest needs it: cut after its last segment,
// with no mention of sections. Symbols and debug information lie behind the
// segments in what linkers write and are a third of a Go program.
type Program struct {
	Libraries []string // its loader and shared libraries, paths on the host; none if it is static

	agent
	closer io.Closer
}

// OpenProgram opens an executable of the host, an x86_64 ELF file.
func OpenProgram(host string) (*Program, error) {
	f, err := os.Open(host)
	if err != nil {
		return nil, fmt.Errorf("add the agent: %w", err)
	}
	a, err := readAgent(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("agent %s %w", host, err)
	}
	p := &Program{agent: *a, closer: f}
	if a.dynamic {
		if p.Libraries, err = ldd.List(host); err != nil {
			f.Close()
			return nil, fmt.Errorf("agent %s is linked dynamically and its libraries were not found; build it with CGO_ENABLED=0: %w", host, err)
		}
	}
	return p, nil
}

// Size is the length of the program as cut, in bytes.
func (p *Program) Size() int64 { return p.size }

// Close closes the file.
func (p *Program) Close() error { return p.closer.Close() }

// An agent is what a Program is read from.
type agent struct {
	file    io.ReaderAt
	head    [elfHeaderSize]byte // put in place of the file's own
	size    int64
	dynamic bool // it has a PT_INTERP segment
}

// ReadAt reads the executable as cut.
func (a *agent) ReadAt(p []byte, off int64) (int, error) {
	n, err := a.file.ReadAt(p, off)
	if off >= 0 && off < elfHeaderSize {
		copy(p[:n], a.head[off:])
	}
	return n, err
}

func readAgent(f io.ReaderAt) (*agent, error) {
	e, err := elf.NewFile(f)
	if err != nil {
		return nil, fmt.Errorf("is not an ELF executable: %w", err)
	}
	if e.Machine != elf.EM_X86_64 || e.Class != elf.ELFCLASS64 {
		return nil, fmt.Errorf("is built for %v, the guest is an x86_64: build it with GOARCH=amd64", e.Machine)
	}
	a := &agent{file: f}
	if _, err := f.ReadAt(a.head[:], 0); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	binary.LittleEndian.PutUint64(a.head[offShoff:], 0)
	binary.LittleEndian.PutUint32(a.head[offShnum:], 0)
	for _, p := range e.Progs {
		a.size = max(a.size, int64(p.Off+p.Filesz))
		a.dynamic = a.dynamic || p.Type == elf.PT_INTERP
	}
	if a.size < elfHeaderSize {
		return nil, fmt.Errorf("has no segments to load")
	}
	return a, nil
}
