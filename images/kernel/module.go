package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// moduleMax bounds a decompressed module, in bytes. The largest there is,
// amdgpu, has 30 MB.
const moduleMax = 256 << 20

// A Module is one kernel module of a build, or a file put in its place.
type Module struct {
	Name  string   // as in /proc/modules: "overlay", "virtio_console"
	Path  string   // of the file: .ko, or compressed as .ko.xz, .ko.zst, .ko.gz
	Needs []string // names of modules to load before it

	cache string // directory for what was decompressed; empty for none
}

// Data is the module as init_module(2) wants it: decompressed, with the
// signature it may end in.
func (m Module) Data() ([]byte, error) {
	raw, err := os.ReadFile(m.Path)
	if err != nil {
		return nil, readError(m.Path, err)
	}
	ext := filepath.Ext(m.Path)
	if ext == ".ko" {
		return raw, nil
	}
	// By content, so that a changed file is never taken for the old one.
	sum := sha256.Sum256(raw)
	kept := filepath.Join(m.cache, "modules", hex.EncodeToString(sum[:])+".ko")
	if m.cache != "" {
		if data, err := os.ReadFile(kept); err == nil {
			return data, nil
		}
	}
	data, err := inflate(string(raw), ext)
	if err != nil {
		return nil, fmt.Errorf("decompress module %s: %w", m.Path, err)
	}
	if m.cache != "" {
		// The cache spares time and nothing else: a full disk is no reason to stop.
		_ = writeWhole(kept, data)
	}
	return data, nil
}

// inflate decompresses a module of at most moduleMax bytes.
func inflate(raw, ext string) ([]byte, error) {
	z, err := decompress(strings.NewReader(raw), ext)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	data, err := io.ReadAll(io.LimitReader(z, moduleMax+1))
	if err == nil && len(data) > moduleMax {
		err = fmt.Errorf("it has more than %d bytes", moduleMax)
	}
	return data, err
}

// moduleName is the name of the module in a file, or on a command line:
// without directory and extensions, and with the underscores the kernel's
// build system makes of dashes.
func moduleName(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}
