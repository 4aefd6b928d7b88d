package disk

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unpackTree makes the directory and what the tar archive holds in it, as far as
// anybody may: owners are the caller's, and devices are refused but for 0:0, of
// which Linux makes none special since 5.8.
func unpackTree(dir string, archive io.Reader) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	var headers []*tar.Header
	for t := tar.NewReader(archive); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := unpackOne(dir, h, t); err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
		headers = append(headers, h)
	}
	for i := len(headers) - 1; i >= 0; i-- { // a directory's time after those of what is in it
		if err := setTime(filepath.Join(dir, headers[i].Name), headers[i].ModTime); err != nil {
			return fmt.Errorf("unpack %s: %w", headers[i].Name, err)
		}
	}
	return setTime(dir, time.Unix(0, 0))
}

func unpackOne(dir string, h *tar.Header, content io.Reader) error {
	path := filepath.Join(dir, h.Name)
	var err error
	switch h.Typeflag {
	case tar.TypeDir:
		err = os.Mkdir(path, 0o755)
	case tar.TypeReg:
		err = writeFile(path, content)
	case tar.TypeSymlink:
		return os.Symlink(h.Linkname, path)
	case tar.TypeLink:
		return os.Link(filepath.Join(dir, h.Linkname), path)
	case tar.TypeFifo:
		err = unix.Mkfifo(path, 0o600)
	default:
		err = unix.Mknod(path, unix.S_IFCHR, int(unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))))
	}
	if err != nil {
		return err
	}
	for name, value := range h.PAXRecords {
		if name, ok := strings.CutPrefix(name, "SCHILY.xattr."); ok {
			if err := unix.Lsetxattr(path, name, []byte(value), 0); err != nil {
				return fmt.Errorf("set %s: %w", name, err)
			}
		}
	}
	return unix.Chmod(path, uint32(h.Mode))
}

func writeFile(path string, content io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, content); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func setTime(path string, at time.Time) error {
	ts := unix.NsecToTimespec(at.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}
