package overlayfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fixedStamp is when everything in the fixed tree was last changed: file systems
// that are made in one go keep full seconds only.
var fixedStamp = time.Unix(stamp.Unix(), 0)

// fixedTree is what a disk that cannot be written to holds: every kind of
// object that can be packed, and what overlays make of layers. It is made when it
// is asked for: each process that runs cases would take its time for it.
var fixedTree = sync.OnceValue(func() []node {
	return []node{
		dir("d",
			file("a", "lower").perm(0o640).owned(7, 8).xattr("user.keep", "kept").xattr("trusted.keep", "too"),
			symlink("l", "a").owned(7, 8),
			file("set-user-id", "#!").perm(0o6755).owned(9, 10),
			fifo("fifo"),
			device("chr", unix.S_IFCHR, 1, 3),
			device("blk", unix.S_IFBLK, 7, 1),
		).perm(0o751).owned(5, 6),
		dir("deep", dir("1", dir("2", dir("3", dir("4", dir("5", file("leaf", "deep down"))))))),
		file("big", long(1<<20+4097)),
		file("empty", ""),
		file("link1", "two names"),
		whiteout("gone"),
		dir("hides", file("new", "n")).opaque(),
		dir("merges", file("top", "t"), whiteout("gone")),
	}
})

// fixedLink is a second name of link1 in the fixed tree.
const fixedLink = "link2"

// plainTree is the fixed tree without what only root can make on the host: other
// owners, devices, and trusted attributes, so that no directory is opaque.
func plainTree() []node { return plain(fixedTree()) }

func plain(nodes []node) (out []node) {
	for _, n := range nodes {
		if kind := n.mode & unix.S_IFMT; kind == unix.S_IFBLK || n.rdev != 0 || n.xattrs[opaque] != "" {
			continue
		}
		n.uid, n.gid, n.children = 0, 0, plain(n.children)
		if n.xattrs = maps.Clone(n.xattrs); n.xattrs != nil {
			delete(n.xattrs, "trusted.keep")
		}
		out = append(out, n)
	}
	return out
}

// packFixed gives what writes a tree, with fixedLink, as a tar archive.
func packFixed(tree func() []node) func(io.Writer) error {
	return func(w io.Writer) error {
		t := tar.NewWriter(w)
		if err := packTar(t, "", tree()); err != nil {
			return err
		}
		err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeLink, Name: fixedLink, Linkname: "link1", Mode: 0o644, ModTime: fixedStamp})
		return errors.Join(err, t.Close())
	}
}

// tarTypes are the types of what a tar archive can hold.
var tarTypes = map[uint32]byte{
	unix.S_IFREG: tar.TypeReg, unix.S_IFDIR: tar.TypeDir, unix.S_IFLNK: tar.TypeSymlink,
	unix.S_IFIFO: tar.TypeFifo, unix.S_IFCHR: tar.TypeChar, unix.S_IFBLK: tar.TypeBlock,
}

func packTar(t *tar.Writer, prefix string, nodes []node) error {
	for _, n := range nodes {
		path := filepath.Join(prefix, n.name)
		h := &tar.Header{
			Typeflag: tarTypes[n.mode&unix.S_IFMT], Name: path, Mode: int64(n.mode & 0o7777), Uid: n.uid, Gid: n.gid,
			ModTime: fixedStamp, Devmajor: int64(unix.Major(n.rdev)), Devminor: int64(unix.Minor(n.rdev)),
			Format: tar.FormatPAX, PAXRecords: make(map[string]string),
		}
		for name, value := range n.xattrs {
			h.PAXRecords["SCHILY.xattr."+name] = value
		}
		var content string
		switch h.Typeflag {
		case tar.TypeReg:
			content, h.Size = n.text, int64(len(n.text))
		case tar.TypeSymlink:
			h.Linkname = n.text
		}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("pack %s: %w", path, err)
		}
		if _, err := io.WriteString(t, content); err != nil {
			return fmt.Errorf("pack %s: %w", path, err)
		}
		if err := packTar(t, path, n.children); err != nil {
			return err
		}
	}
	return nil
}
