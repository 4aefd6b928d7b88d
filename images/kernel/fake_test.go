package kernel

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"gotest.tools/v3/assert"
)

const (
	fakeRelease = "6.1.0-99-amd64"
	fakeVersion = fakeRelease + " (me@example) #1 SMP Debian 6.1.999-1 (2026-11-24)"
)

// fakeImage is the least that passes for a bzImage.
func fakeImage(version string) []byte {
	image := make([]byte, 1024+64)
	image[offSetupSects] = 1
	image[offSyssize] = 4
	copy(image[offBootFlag:], "\x55\xaa")
	copy(image[offMagic:], "HdrS")
	binary.LittleEndian.PutUint16(image[offProtocol:], 0x020f)
	binary.LittleEndian.PutUint16(image[offVersion:], 0x100)
	binary.LittleEndian.PutUint16(image[offXloadflags:], xlfKernel64)
	copy(image[0x300:], version)
	return image
}

// fakeModule is an ELF file with nothing but a .modinfo section.
func fakeModule(name, release string, info ...string) []byte {
	info = append(info, "name="+name, "vermagic="+release+" SMP mod_unload ")
	text := strings.Join(info, "\x00") + "\x00"
	names := "\x00.modinfo\x00.shstrtab\x00"
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
		Ehsize: 64, Shentsize: 64, Shnum: 3, Shstrndx: 2, Shoff: 64 + uint64(len(text)+len(names)),
	}
	copy(h.Ident[:], "\x7fELF\x02\x01\x01")
	sections := []elf.Section64{{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: 64, Size: uint64(len(text))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: 64 + uint64(len(text)), Size: uint64(len(names))},
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	b.WriteString(text + names)
	binary.Write(&b, binary.LittleEndian, sections)
	return b.Bytes()
}

// wantUserError wants one line for the user, with the text in it.
func wantUserError(t *testing.T, err error, text string) {
	t.Helper()
	var user UserError
	assert.Assert(t, errors.As(err, &user), "%v is no UserError", err)
	assert.ErrorContains(t, err, text)
	assert.Assert(t, !strings.Contains(err.Error(), "\n"), "more than one line: %v", err)
}

// write makes the files below dir, by their paths.
func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, data := range files {
		path := filepath.Join(dir, name)
		assert.NilError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		assert.NilError(t, os.WriteFile(path, data, 0o644))
	}
}

// fakeTree is what a Debian package of a kernel with three modules unpacks to.
func fakeTree() map[string][]byte {
	const modules = "lib/modules/" + fakeRelease + "/"
	return map[string][]byte{
		"boot/vmlinuz-" + fakeRelease:              fakeImage(fakeVersion),
		"boot/config-" + fakeRelease:               []byte("# Linux\nCONFIG_SMP=y\nCONFIG_FUSE_FS=m\nCONFIG_NR_CPUS=64\n# CONFIG_BTRFS_FS is not set\nCONFIG_NAME=\"a b\"\n"),
		modules + "modules.builtin":                []byte("kernel/drivers/virtio/virtio-ring.ko\n"),
		modules + "kernel/fs/overlayfs/overlay.ko": fakeModule("overlay", fakeRelease, "depends="),
		modules + "kernel/fs/fuse/fuse.ko":         fakeModule("fuse", fakeRelease, "depends=virtio-ring,cu_se", "softdep=pre: crc32c nothing post: overlay"),
		modules + "kernel/fs/fuse/cu-se.ko":        fakeModule("cu_se", fakeRelease, "depends="),
		modules + "kernel/fs/torn.ko":              fakeModule("torn", fakeRelease, "depends=absent,overlay"),
		modules + "kernel/crypto/crc32c_generic.ko": fakeModule("crc32c_generic", fakeRelease,
			"alias=crypto-crc32c", "alias=crc32c", "depends="),
	}
}

// A tarEntry is one header with its content.
type tarEntry struct {
	tar.Header
	data []byte
}

func regular(name string, data []byte) tarEntry {
	return tarEntry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}, data}
}

func tarOf(t testing.TB, entries ...tarEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		assert.NilError(t, w.WriteHeader(&e.Header))
		_, err := w.Write(e.data)
		assert.NilError(t, err)
	}
	assert.NilError(t, w.Close())
	return b.Bytes()
}

func treeTar(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	entries := []tarEntry{{Header: tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}}}
	for name, data := range files {
		entries = append(entries, regular("./"+name, data))
	}
	return tarOf(t, entries...)
}

// arOf is an ar archive of name, data, name, data…
func arOf(parts ...any) []byte {
	var b bytes.Buffer
	b.WriteString(debMagic)
	for i := 0; i < len(parts); i += 2 {
		data := parts[i+1].([]byte)
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", parts[i], 0, 0, 0, "100644", len(data))
		b.Write(data)
		if len(data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

const fakeControl = "Package: linux-image-" + fakeRelease + "\nVersion: 6.1.999-1\nArchitecture: amd64\nDepends: kmod, linux-base (>= 4.3~)\nDescription: a kernel\n more: text\n"

// debOf is a Debian package; the extension says how the data is compressed.
func debOf(t testing.TB, control, ext string, data []byte) []byte {
	t.Helper()
	return arOf("debian-binary", []byte("2.0\n"),
		"control.tar", tarOf(t, regular("./control", []byte(control))),
		"data.tar"+ext, pack(t, ext, data))
}

func pack(t testing.TB, ext string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	switch ext {
	case ".gz":
		w := gzip.NewWriter(&b)
		w.Write(data)
		assert.NilError(t, w.Close())
	case ".zst":
		w, err := zstd.NewWriter(&b)
		assert.NilError(t, err)
		w.Write(data)
		assert.NilError(t, w.Close())
	default:
		return data
	}
	return b.Bytes()
}
