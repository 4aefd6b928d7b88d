package kernel

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Bounds on what a package may unpack to. The largest distribution kernels
// have 400 MB in 5,000 files.
const (
	unpackBytesMax   = 4 << 30
	unpackEntriesMax = 100_000
)

// wanted are the directories of a package that are unpacked.
var wanted = []string{"boot/", "lib/modules/", "usr/lib/modules/"}

var errNoKernel = errors.New("no kernel in the package")

// unpackAll unpacks the packages into the new directory dir and has it written
// to disk. Without a kernel among it all the error is errNoKernel.
func unpackAll(ctx context.Context, debs []string, dir string, o Options) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, deb := range debs {
		o.say("unpack %s", filepath.Base(deb))
		if err := unpackDeb(ctx, deb, root); err != nil {
			return err
		}
	}
	if len(imagesIn(dir)) == 0 {
		return errNoKernel
	}
	f, err := root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// unpackDeb unpacks one package. Trouble with the cache is passed on as it is;
// all else that can go wrong is the package's fault.
func unpackDeb(ctx context.Context, path string, root *os.Root) error {
	d, err := openPackage(path)
	if err != nil {
		return err
	}
	defer d.close()
	z, err := d.data.tar()
	if err != nil {
		return damaged(path, err)
	}
	defer z.Close()
	u := unpacker{root: root, bytes: unpackBytesMax, entries: unpackEntriesMax}
	err = u.unpack(&bounded{ctx: ctx, r: z, left: unpackBytesMax})
	if err == nil || isFull(err) || isLocked(err) || ctx.Err() != nil {
		return err
	}
	return damaged(path, err)
}

// bounded reads no more than left bytes, and nothing once ctx is done.
type bounded struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

// Read is checked for ctx each time: a hostile or huge archive can keep the
// decoder busy for minutes.
func (b *bounded) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

var errTooLarge = errors.New("it unpacks to more than any kernel needs")

// An unpacker writes the wanted part of a tar archive below root, which os.Root
// does not let it leave. What would leave it makes the whole archive suspect.
type unpacker struct {
	root    *os.Root
	bytes   int64 // how much more may be written
	entries int   // how many more entries may be read
	links   []string
}

// unpack reads the archive to its end. On an error what it wrote so far stays,
// for the caller to remove.
func (u *unpacker) unpack(r io.Reader) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			// The rest is padding; reading it checks the compressor's sums.
			_, err = io.Copy(io.Discard, r)
			return errors.Join(err, u.checkLinks())
		}
		if err != nil {
			return err
		}
		if err := u.entry(h, t); err != nil {
			return fmt.Errorf("unpack %q: %w", h.Name, err)
		}
	}
}

// entry unpacks one entry. The bounds count also what is not wanted, since it
// is decompressed all the same. Owners, times and modes of the archive mean
// nothing here and are not taken over.
func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	name := path.Clean(h.Name)
	u.entries--
	u.bytes -= h.Size
	switch {
	case !filepath.IsLocal(h.Name):
		return errors.New("its path leads out of the package")
	case u.entries < 0 || u.bytes < 0:
		return errTooLarge
	case !isWanted(name):
		return nil
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.root.MkdirAll(name, 0o755)
	case tar.TypeReg:
		return u.file(name, r)
	case tar.TypeSymlink:
		return u.symlink(h.Linkname, name)
	case tar.TypeLink:
		return u.root.Link(path.Clean(h.Linkname), name)
	}
	return fmt.Errorf("its type is %q: a kernel package has files, directories and links", h.Typeflag)
}

// isWanted reports whether a cleaned path is to be unpacked.
func isWanted(name string) bool {
	for _, dir := range wanted {
		if strings.HasPrefix(name, dir) {
			return true
		}
	}
	return false
}

// file writes a new file. A name that is there already is an error: no package
// has a file twice, and a link of that name must not be written through.
func (u *unpacker) file(name string, r io.Reader) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// symlink makes a link, wherever it leads, for checkLinks to look at. The links
// to the sources the kernel was built from lead out, and are of no use here.
func (u *unpacker) symlink(target, name string) error {
	if base := path.Base(name); base == "build" || base == "source" {
		return nil
	}
	u.links = append(u.links, name)
	return u.root.Symlink(target, name)
}

// checkLinks refuses links that lead out of root, which os.Root does not
// follow. It cannot be done before all links are there: through another link,
// ".." may lead elsewhere than it seems.
func (u *unpacker) checkLinks() error {
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unpack %q: its link leads out of the package: %w", name, err)
		}
	}
	return nil
}
