package overlayfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

func upperByTar(t *suites.T) {
	o := newOverlay(t, option("index=off"), option("redirect_dir=on"),
		lower(file("a", "lower").owned(3, 4), dir("d", file("x", "")), dir("r", file("y", "kept")), file("gone", ""), symlink("l", "to")))
	o.write("a", "changed")
	o.do("remove d", os.RemoveAll(o.at("d")))
	o.mkdir("d")
	o.rename("r", "moved")
	o.unlink("gone")
	o.link("a", "b")
	o.do("make others", errors.Join(unix.Mknod(o.at("p"), unix.S_IFIFO|0o640, 0), unix.Mknod(o.at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))),
		os.Symlink("other", o.at("m")), unix.Lchown(o.at("l"), 5, 6), unix.Chmod(o.at("moved"), 0o1750)))
	before, err := readTree(o.merged)
	o.do("read the overlay", err)
	o.unmount()
	var archive bytes.Buffer
	o.do("write the archive", pack(&archive, o.upper))
	o.upper = o.layer("unpacked", nil)
	o.do("read the archive", unpack(&archive, o.upper))
	o.do("mount", o.mount())
	o.everyView(func(v view) {
		after, err := readTree(o.merged)
		o.do("read the overlay", err)
		compareTrees(after, before, true, func(path, format string, args ...any) {
			t.Errorf("%s: %s: %s", v, path, fmt.Sprintf(format, args...))
		})
	})
}

// paxXattr is how archives name extended attributes (tar(1), --xattrs).
const paxXattr = "SCHILY.xattr."

// pack writes all there is under root to an archive.
func pack(w io.Writer, root string) error {
	tr, err := readTree(root)
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	first := make(map[uint64]string) // names of hard links, by inode
	for _, path := range slices.Sorted(maps.Keys(tr)) {
		f := tr[path]
		info, err := os.Lstat(filepath.Join(root, path))
		if err != nil {
			return err
		}
		h, err := tar.FileInfoHeader(info, f.text)
		if err != nil {
			return err
		}
		h.Name, h.Format, h.PAXRecords = path, tar.FormatPAX, make(map[string]string)
		h.Devmajor, h.Devminor = int64(unix.Major(f.Rdev)), int64(unix.Minor(f.Rdev))
		for name, value := range f.xattrs {
			h.PAXRecords[paxXattr+name] = value
		}
		if link, again := first[f.Ino]; again {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, link, 0
		} else if !f.isDir() && f.Nlink > 1 {
			first[f.Ino] = path
		}
		if err := out.WriteHeader(h); err != nil {
			return fmt.Errorf("write the header of %s: %w", path, err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := io.WriteString(out, f.text); err != nil {
				return err
			}
		}
	}
	return out.Close()
}

// unpack makes under root what is in an archive. What is in a directory comes
// after it, so that the times of directories are set in the end.
func unpack(r io.Reader, root string) error {
	in := tar.NewReader(r)
	var late []func() error
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		path := filepath.Join(root, h.Name)
		if h.Typeflag == tar.TypeLink {
			if err := os.Link(filepath.Join(root, h.Linkname), path); err != nil {
				return err
			}
			continue
		}
		n, err := nodeOf(h, in)
		if err != nil {
			return err
		}
		if h.Name != "." {
			if err := n.makeBare(path); err != nil {
				return fmt.Errorf("make %s: %w", path, err)
			}
		}
		late = append([]func() error{func() error { return n.fill(path) }}, late...)
	}
	for _, f := range late {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

// nodeOf is the node an archive has a header and content of.
func nodeOf(h *tar.Header, content io.Reader) (node, error) {
	kinds := map[byte]uint32{tar.TypeReg: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR, tar.TypeSymlink: unix.S_IFLNK,
		tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}
	n := node{mode: kinds[h.Typeflag] | uint32(h.Mode)&0o7777, uid: h.Uid, gid: h.Gid, text: h.Linkname,
		mtime: h.ModTime, rdev: unix.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))}
	if h.Typeflag == tar.TypeReg {
		text, err := io.ReadAll(content)
		if err != nil {
			return n, err
		}
		n.text = string(text)
	}
	for name, value := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(name, paxXattr); ok {
			n = n.xattr(attr, value)
		}
	}
	return n, nil
}
