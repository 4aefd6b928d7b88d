package suites

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A Disk is an image of a file system for cases to work on. The host makes it,
// without privileges; T.Disk gives a case a copy of its own.
type Disk struct {
	Name    string
	Tool    string                  // the program that makes it, as "mkfs.xfs"
	Package string                  // what the program comes with: "xfsprogs"
	Args    []string                // of the program; FILE stands for the image's path, TREE for a directory with the content
	Env     []string                // added to its environment
	Size    int64                   // of the image before the program runs, in bytes; 0 if that makes it
	Content func(w io.Writer) error // writes a tar archive, the program's standard input unless it has a TREE; nil for none
	Modules []string                // kernel modules that mount it
}

// Attic is the directory in a guest with what cases may ask for by T.Disk and
// T.Load: packed images in DisksDir, modules in ModulesDir below it.
const (
	Attic      = "/run/attic"
	DisksDir   = "disks"
	ModulesDir = "modules"
)

// Names of files in the attic are a disk's or module's name and one of these.
const (
	PackedExt = ".packed" // an image as PackDisk writes it
	WhyNotExt = ".whynot" // a text: why there is no image
	ModuleExt = ".ko"
	NeedsExt  = ".needs" // the names of modules to load first
)

// diskPage is the size of the pieces in which images are packed, in bytes.
const diskPage = 4096

// PackDisk writes an image of size bytes without its empty pages: the size as 8
// bytes, then for each page that is not zero its offset and the page, all numbers
// little endian.
func PackDisk(w io.Writer, image io.ReaderAt, size int64) error {
	if err := binary.Write(w, binary.LittleEndian, size); err != nil {
		return err
	}
	page, zero := make([]byte, diskPage), [diskPage]byte{}
	for at := int64(0); at < size; at += diskPage {
		clear(page)
		if _, err := image.ReadAt(page, at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if [diskPage]byte(page) == zero {
			continue
		}
		if err := binary.Write(w, binary.LittleEndian, at); err != nil {
			return err
		}
		if _, err := w.Write(page); err != nil {
			return err
		}
	}
	return nil
}

// unpackDisk writes the image that PackDisk has packed, with holes.
func unpackDisk(f *os.File, r io.Reader) error {
	var at int64
	if err := binary.Read(r, binary.LittleEndian, &at); err != nil {
		return err
	}
	size, page := at, make([]byte, diskPage)
	for {
		err := binary.Read(r, binary.LittleEndian, &at)
		if errors.Is(err, io.EOF) {
			return f.Truncate(size)
		}
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(r, page); err != nil {
			return err
		}
		if _, err := f.WriteAt(page, at); err != nil {
			return err
		}
	}
}

// Disk makes a new image of the disk, which the case has to list in Disks, and
// returns its path, which lies below Dir. A case is skipped where the host could
// not make the disk.
func (t *T) Disk(name string) string {
	t.Helper()
	base := filepath.Join(Attic, DisksDir, name)
	if why, err := os.ReadFile(base + WhyNotExt); err == nil {
		t.Skip(strings.TrimSpace(string(why)))
	}
	packed, err := os.Open(base + PackedExt)
	if err != nil {
		t.Fatalf("open a disk: %v", err)
	}
	defer packed.Close()
	image, err := os.CreateTemp(t.dir, name+"-*.img")
	if err == nil {
		defer image.Close()
		err = unpackDisk(image, packed)
	}
	if err != nil {
		t.Fatalf("unpack disk %s: %v", name, err)
	}
	return image.Name()
}

// Load loads kernel modules, which the case has to list in Loads or among the
// Modules of its disks, and what they need. Those the build does not have may be
// a part of the kernel: it is for the case to probe for what they do.
func (t *T) Load(names ...string) {
	t.Helper()
	for _, name := range names {
		if err := loadModule(name); err != nil {
			t.Fatal(err)
		}
	}
}

func loadModule(name string) error {
	if _, err := os.Stat("/sys/module/" + name + "/initstate"); err == nil {
		return nil
	}
	base := filepath.Join(Attic, ModulesDir, name)
	needs, err := os.ReadFile(base + NeedsExt)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, need := range strings.Fields(string(needs)) {
		if err := loadModule(need); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(base + ModuleExt)
	if err == nil {
		err = unix.InitModule(data, "")
	}
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", name, err)
	}
	return nil
}
