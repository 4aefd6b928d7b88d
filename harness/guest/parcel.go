package guest

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
)

// A parcel is what the host hands to the agent besides a program: the modules
// to load, in their order, each as a file of its name in a tar archive.

// PackParcel writes a parcel.
func PackParcel(w io.Writer, names []string, data func(name string) ([]byte, error)) error {
	t := tar.NewWriter(w)
	for _, name := range names {
		b, err := data(name)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
			return fmt.Errorf("pack module %s: %w", name, err)
		}
		if _, err := t.Write(b); err != nil {
			return fmt.Errorf("pack module %s: %w", name, err)
		}
	}
	return t.Close()
}

// loadParcel loads the modules of the parcel that lies behind the first skip
// bytes of the file, and reports what became of each.
func loadParcel(path string, skip int64) (map[string]string, error) {
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
		data, err := io.ReadAll(t)
		report[h.Name] = fate(h.Name, err, data)
	}
	if skip == 0 {
		os.Remove(path) // its pages are the guest's memory
	}
	return report, nil
}
