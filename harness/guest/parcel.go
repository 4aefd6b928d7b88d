package guest

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/kernel-playground/kplay/suites"
)

// A parcel is what the host hands to the agent besides a program, as a tar
// archive: the modules to load, in their order, and what cases may ask for.

// An Item is one file of a parcel: a module to load at once under its name, or,
// where the name begins with Keep, a file of the attic.
type Item struct {
	Name string
	Data func() ([]byte, error)
}

// Keep begins the name of an item that is put into the attic, under the rest of
// the name.
const Keep = "attic/"

// PackParcel writes a parcel.
func PackParcel(w io.Writer, items []Item) error {
	t := tar.NewWriter(w)
	for _, i := range items {
		b, err := i.Data()
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: i.Name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			return fmt.Errorf("pack %s: %w", i.Name, err)
		}
		if _, err := t.Write(b); err != nil {
			return fmt.Errorf("pack %s: %w", i.Name, err)
		}
	}
	return t.Close()
}

// openParcel loads the modules of the parcel that lies behind the first skip
// bytes of the file, and reports what became of each. What else is in it goes
// into the attic.
func openParcel(path string, skip int64) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the parcel: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(skip, io.SeekStart); err != nil {
		return nil, fmt.Errorf("open the parcel: %w", err)
	}
	report := make(map[string]string)
	for t := tar.NewReader(f); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the parcel: %w", err)
		}
		if name, ok := strings.CutPrefix(h.Name, Keep); ok {
			if err := keep(name, t); err != nil {
				return nil, err
			}
			continue
		}
		data, err := io.ReadAll(t)
		report[h.Name] = fate(h.Name, err, data)
	}
	if skip == 0 {
		os.Remove(path) // its pages are the guest's memory
	}
	return report, nil
}

// keep puts a file into the attic.
func keep(name string, r io.Reader) error {
	path := filepath.Join(suites.Attic, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(fmt.Errorf("keep %s: %w", name, err), f.Close())
	}
	return f.Close()
}
