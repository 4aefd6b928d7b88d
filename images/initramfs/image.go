package initramfs

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// An Image is a finished initramfs. It lies in memory, outside any file system,
// and cannot be changed.
type Image struct {
	file *os.File
	size int64
}

// Size is the length of the archive in bytes.
func (i *Image) Size() int64 { return i.size }

// WriteTo writes the archive to w. It may be called any number of times.
func (i *Image) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, io.NewSectionReader(i.file, 0, i.size))
}

// File opens the archive for reading. The file has an offset of its own and
// outlives the image; the caller closes it. A child process that inherits it can
// open it again as /proc/self/fd/N.
func (i *Image) File() (*os.File, error) {
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", i.file.Fd()))
	if err != nil {
		return nil, fmt.Errorf("open the initramfs: %w", err)
	}
	return f, nil
}

// Close frees the memory, as soon as the files are closed too.
func (i *Image) Close() error { return i.file.Close() }

// newMemfd makes an empty file in memory; name is for /proc/PID/fd only.
func newMemfd(name string) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// seal makes what is in f unchangeable for whoever has it open, by fcntl(2)'s
// F_ADD_SEALS.
func seal(f *os.File) (*Image, error) {
	info, err := f.Stat()
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS,
			unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("seal the initramfs: %w", err)
	}
	return &Image{file: f, size: info.Size()}, nil
}
