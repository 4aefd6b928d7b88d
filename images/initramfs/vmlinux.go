package initramfs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// vmlinuxMax bounds an unpacked kernel, in bytes. Kernels with everything built
// in have some 150 MB.
const vmlinuxMax = 1 << 30

// Vmlinux takes the ELF kernel out of a bzImage and keeps it below the directory
// cache, from where the next call for the same kernel has it. QEMU starts it by
// PVH, which spares the guest the decompression.
//
// ok is false for a kernel that cannot be started so: it has no PVH entry point
// (no CONFIG_PVH), or is compressed by a method not known here. Its bzImage boots.
// An error is a file that cannot be read, a cache that cannot be written, or a
// damaged kernel.
func Vmlinux(cache, bzImage string) (path string, ok bool, err error) {
	f, err := os.Open(bzImage)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", false, err
	}
	path = filepath.Join(cache, "vmlinux", hex.EncodeToString(h.Sum(nil)))
	info, err := os.Stat(path)
	if err != nil {
		info, err = unpackVmlinux(path, f)
	}
	if err != nil {
		return "", false, fmt.Errorf("take vmlinux out of %s: %w", bzImage, err)
	}
	// An empty file remembers that there is nothing to be had.
	if info.Size() == 0 {
		return "", false, nil
	}
	return path, true, nil
}

// unpackVmlinux writes the ELF kernel in bzImage to path, or an empty file if
// QEMU could not start it. Two processes may do so at once.
func unpackVmlinux(path string, bzImage io.ReaderAt) (os.FileInfo, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // fails once it has its name
	defer f.Close()
	if err := writeVmlinux(f, bzImage); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return info, os.Rename(f.Name(), path)
}

func writeVmlinux(f *os.File, bzImage io.ReaderAt) error {
	z, err := payload(bzImage)
	if errors.Is(err, errNoPayload) {
		return nil
	}
	if err != nil {
		return err
	}
	defer z.Close()
	n, err := io.Copy(f, io.LimitReader(z, vmlinuxMax+1))
	if err != nil {
		return err
	}
	if n > vmlinuxMax {
		return fmt.Errorf("it unpacks to more than %d bytes", vmlinuxMax)
	}
	if !hasPVHEntry(f) {
		return f.Truncate(0)
	}
	return nil
}
