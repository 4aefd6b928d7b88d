package initramfs

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
	"gotest.tools/v3/assert"
)

// note is an ELF note, its owner and content padded.
func note(owner string, kind uint32, content []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(owner)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(content)))
	b = binary.LittleEndian.AppendUint32(b, kind)
	for _, field := range [][]byte{[]byte(owner), content} {
		b = append(b, field...)
		b = append(b, make([]byte, -len(field)&3)...)
	}
	return b
}

// notes are what a kernel with a PVH entry point has, after another note.
var notes = append(note("Linux\x00", 0x100, []byte("salt!")), note(pvhNoteOwner, pvhNoteType, make([]byte, 8))...)

// compressor is one of the ways to compress a kernel.
type compressor func(w io.Writer) (io.WriteCloser, error)

var compressors = map[string]compressor{
	"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
	"xz": func(w io.Writer) (io.WriteCloser, error) {
		return xz.WriterConfig{CheckSum: xz.CRC32}.NewWriter(w)
	},
	"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
	"lzma": func(w io.Writer) (io.WriteCloser, error) { return lzma.NewWriter(w) },
	"lz4": func(w io.Writer) (io.WriteCloser, error) {
		z := lz4.NewWriter(w)
		return z, z.Apply(lz4.LegacyOption(true))
	},
}

// fakeBzImage is a header and a payload, made of vmlinux as the kernel's build
// does it: with the unpacked size after all but gzip.
func fakeBzImage(t testing.TB, vmlinux []byte, method string) []byte {
	t.Helper()
	var packed bytes.Buffer
	z, err := compressors[method](&packed)
	assert.NilError(t, err)
	_, err = z.Write(vmlinux)
	assert.NilError(t, err)
	assert.NilError(t, z.Close())
	if method != "gzip" {
		binary.Write(&packed, binary.LittleEndian, uint32(len(vmlinux)))
	}
	return withHeader(packed.Bytes())
}

func withHeader(payload []byte) []byte {
	const setup, gap = 2, 100
	image := make([]byte, (setup+1)*sectorSize+gap)
	image[offSetupSects] = setup
	copy(image[offMagic:], "HdrS")
	binary.LittleEndian.PutUint16(image[offProtocol:], 0x020f)
	binary.LittleEndian.PutUint32(image[offPayload:], gap)
	binary.LittleEndian.PutUint32(image[offPayloadLength:], uint32(len(payload)))
	return append(append(image, payload...), "what follows the payload"...)
}

func TestVmlinux(t *testing.T) {
	want := append(fakeELF(elf.PT_NOTE, notes), strings.Repeat("relocations", 9999)...)
	for method := range compressors {
		t.Run(method, func(t *testing.T) {
			cache := t.TempDir()
			image := write(t, "bzImage", string(fakeBzImage(t, want, method)), 0o644)
			path, ok, err := Vmlinux(cache, image)
			assert.NilError(t, err)
			assert.Assert(t, ok)
			got, err := os.ReadFile(path)
			assert.NilError(t, err)
			assert.Assert(t, bytes.Equal(got, want))
			assert.Equal(t, files(t, cache), 1)
		})
	}
}

// files counts the regular files below dir.
func files(t *testing.T, dir string) int {
	t.Helper()
	n := 0
	assert.NilError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	}))
	return n
}

func TestVmlinuxIsKept(t *testing.T) {
	cache := t.TempDir()
	image := write(t, "bzImage", string(fakeBzImage(t, fakeELF(elf.PT_NOTE, notes), "zstd")), 0o644)
	path, _, err := Vmlinux(cache, image)
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(path, []byte("kept"), 0o644))
	again, ok, err := Vmlinux(cache, image)
	assert.NilError(t, err)
	assert.Assert(t, ok)
	got, err := os.ReadFile(again)
	assert.NilError(t, err)
	assert.Equal(t, string(got), "kept")
}

func TestVmlinuxThatQEMUCannotStart(t *testing.T) {
	plain := fakeELF(elf.PT_NOTE, notes)
	old := fakeBzImage(t, plain, "gzip")
	binary.LittleEndian.PutUint16(old[offProtocol:], 0x0207)
	arm := bytes.Clone(plain)
	binary.LittleEndian.PutUint16(arm[offMachine:], uint16(elf.EM_AARCH64))
	for name, image := range map[string][]byte{
		"no note":         fakeBzImage(t, fakeELF(elf.PT_NOTE, note(pvhNoteOwner, 6, nil)), "gzip"),
		"another's note":  fakeBzImage(t, fakeELF(elf.PT_NOTE, note("GNU\x00", pvhNoteType, nil)), "gzip"),
		"no note segment": fakeBzImage(t, fakeELF(elf.PT_LOAD, notes), "gzip"),
		"another machine": fakeBzImage(t, arm, "gzip"),
		"not ELF":         fakeBzImage(t, []byte("flat"), "gzip"),
		"lzo":             withHeader([]byte("\x89LZO\x00\r\n\x1a\n")),
		"no payload":      withHeader(nil),
		"old protocol":    old,
		"not a bzImage":   []byte(strings.Repeat("text", 999)),
		"empty":           nil,
	} {
		path := write(t, "bzImage", string(image), 0o644)
		cache := t.TempDir()
		for range 2 {
			_, ok, err := Vmlinux(cache, path)
			assert.NilError(t, err, name)
			assert.Assert(t, !ok, name)
		}
	}
}

func TestVmlinuxErrors(t *testing.T) {
	whole := fakeBzImage(t, fakeELF(elf.PT_NOTE, notes), "zstd")
	cut := write(t, "cut", string(whole[:len(whole)-60]), 0o644)
	cache := t.TempDir()
	_, _, err := Vmlinux(cache, cut)
	assert.ErrorContains(t, err, "take vmlinux out of "+cut)
	assert.Equal(t, files(t, cache), 0)

	_, _, err = Vmlinux(cache, "/no/bzImage")
	assert.ErrorIs(t, err, fs.ErrNotExist)

	image := write(t, "bzImage", string(whole), 0o644)
	_, _, err = Vmlinux(image, image) // a cache that is no directory
	assert.ErrorContains(t, err, "take vmlinux out of")
}

func TestVmlinuxByManyAtOnce(t *testing.T) {
	cache := t.TempDir()
	image := write(t, "bzImage", string(fakeBzImage(t, fakeELF(elf.PT_NOTE, notes), "xz")), 0o644)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, ok, err := Vmlinux(cache, image)
			assert.Check(t, err)
			assert.Check(t, ok)
		})
	}
	all.Wait()
	assert.Equal(t, files(t, cache), 1)
}

// FuzzVmlinux wants -fuzzminimizetime=1x: which code the decoders' goroutines
// reach differs from run to run, which the minimizer never gets over.
func FuzzVmlinux(f *testing.F) {
	for method := range compressors {
		f.Add(fakeBzImage(f, fakeELF(elf.PT_NOTE, notes), method))
	}
	f.Fuzz(func(t *testing.T, image []byte) {
		z, err := payload(bytes.NewReader(image))
		if err != nil {
			return
		}
		defer z.Close()
		head, _ := io.ReadAll(io.LimitReader(z, 1<<20))
		hasPVHEntry(bytes.NewReader(head))
	})
}

func FuzzFindNote(f *testing.F) {
	f.Add(notes)
	f.Fuzz(func(t *testing.T, notes []byte) { findNote(notes, pvhNoteOwner, pvhNoteType) })
}
