package vm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// PageSize is the size of a page of the guest's memory, in bytes.
const PageSize = 4096

var zeroPage [PageSize]byte

// NewRAM makes an empty file in memory of size MiB for a Spec's RAM.
func NewRAM(size int) (*os.File, error) {
	fd, err := unix.MemfdCreate("kplay-ram", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, &HostError{"make memory for a guest", err}
	}
	f := os.NewFile(uintptr(fd), "kplay-ram")
	if err := f.Truncate(int64(size) << 20); err != nil {
		f.Close()
		return nil, &HostError{"make memory for a guest", err}
	}
	return f, nil
}

// CopyRAM makes dst, which is empty, hold what src holds, and no more of it than
// needed: pages of zeros become holes. see, if not nil, is shown what is copied.
func CopyRAM(dst, src *os.File, see func(off int64, pages []byte)) error {
	err := EachRun(src, func(off int64, pages []byte) error {
		if see != nil {
			see(off, pages)
		}
		_, err := dst.WriteAt(pages, off)
		return err
	})
	if err == nil {
		err = sameSize(dst, src)
	}
	if err != nil {
		return fmt.Errorf("copy a guest's memory: %w", err)
	}
	return nil
}

func sameSize(dst, src *os.File) error {
	st, err := src.Stat()
	if err != nil {
		return err
	}
	return dst.Truncate(st.Size())
}

// longestRun bounds what EachRun passes on at once, in bytes.
const longestRun = 1 << 20

// EachRun calls f with every run of pages in a memory file that are not all
// zeros, in order. Runs are cut at multiples of 1 MiB. The bytes may be changed
// but not kept.
func EachRun(ram *os.File, f func(off int64, pages []byte) error) error {
	window := make([]byte, longestRun)
	for off := int64(0); ; {
		data, err := unix.Seek(int(ram.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // no data from off on
		}
		if err != nil {
			return fmt.Errorf("find the data in a memory file: %w", err)
		}
		data -= data % PageSize
		off = (data/longestRun + 1) * longestRun
		// Not mapped: to read a hole of a tmpfs file through a mapping fills it.
		n, err := ram.ReadAt(window[:off-data], data)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read a memory file: %w", err)
		}
		if err := eachRun(window[:n], data, f); err != nil {
			return err
		}
	}
}

func eachRun(b []byte, at int64, f func(int64, []byte) error) error {
	for i := 0; i < len(b); {
		if isZero(b, i) {
			i += PageSize
			continue
		}
		j := i + PageSize
		for j < len(b) && !isZero(b, j) {
			j += PageSize
		}
		j = min(j, len(b))
		if err := f(at+int64(i), b[i:j]); err != nil {
			return err
		}
		i = j
	}
	return nil
}

func isZero(b []byte, at int) bool {
	return bytes.Equal(b[at:min(at+PageSize, len(b))], zeroPage[:min(PageSize, len(b)-at)])
}
