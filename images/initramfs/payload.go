package initramfs

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Where a bzImage says where its payload, the compressed vmlinux, lies; see
// Documentation/arch/x86/boot.rst. All fields are little-endian.
const (
	offSetupSects    = 0x1f1 // 1 byte: sectors of real-mode code, after the first
	offMagic         = 0x202 // "HdrS"
	offProtocol      = 0x206 // 2 bytes: 0x020f is 2.15
	offPayload       = 0x248 // 4 bytes: from the start of the protected-mode code
	offPayloadLength = 0x24c // 4 bytes
	headerSize       = 0x250

	sectorSize      = 512
	payloadProtocol = 0x0208 // the first with a payload offset
)

// Bounds on the memory a hostile kernel can make a decoder take, in bytes. The
// kernel's build compresses with xz --lzma2=dict=32MiB (newer ones 128MiB), lzma
// -9, whose dictionary has 64 MiB, and zstd --ultra -22, whose window has 128 MiB.
const (
	xzDictMax     = 128 << 20
	lzmaDictMax   = 64 << 20
	zstdWindowMax = 128 << 20
)

// errNoPayload says that there is no payload, or none that can be unpacked here.
var errNoPayload = errors.New("no payload that can be unpacked")

// compressions are told by their magic numbers, those of the table in
// lib/decompress.c. Missing is LZO, for which there is no library.
var compressions = []struct {
	magic  string
	reader func(io.Reader) (io.ReadCloser, error)
}{
	{"\x1f\x8b", func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }},
	{"BZh", closing(func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil })},
	{"\x5d\x00\x00", closing(func(r io.Reader) (io.Reader, error) { return lzma.ReaderConfig{DictCap: lzmaDictMax}.NewReader(r) })},
	{"\xfd7zXZ\x00", closing(func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, xzDictMax) })},
	{"\x02\x21\x4c\x18", closing(func(r io.Reader) (io.Reader, error) { return lz4.NewReader(r), nil })},
	{"\x28\xb5\x2f\xfd", zstdReader},
}

func closing(open func(io.Reader) (io.Reader, error)) func(io.Reader) (io.ReadCloser, error) {
	return func(r io.Reader) (io.ReadCloser, error) {
		z, err := open(r)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(z), nil
	}
}

func zstdReader(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(zstdWindowMax))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// payload gives the unpacked payload of a bzImage: an ELF file, and relocations
// after it. The error is errNoPayload if kernels like it are not known here.
func payload(bzImage io.ReaderAt) (io.ReadCloser, error) {
	h := make([]byte, headerSize)
	if _, err := bzImage.ReadAt(h, 0); err == io.EOF {
		return nil, errNoPayload
	} else if err != nil {
		return nil, err
	}
	if string(h[offMagic:offMagic+4]) != "HdrS" || binary.LittleEndian.Uint16(h[offProtocol:]) < payloadProtocol {
		return nil, errNoPayload
	}
	start := (int64(h[offSetupSects])+1)*sectorSize + int64(binary.LittleEndian.Uint32(h[offPayload:]))
	length := int64(binary.LittleEndian.Uint32(h[offPayloadLength:]))
	magic := make([]byte, 6)
	if _, err := bzImage.ReadAt(magic, start); err != nil && err != io.EOF {
		return nil, err
	}
	for _, c := range compressions {
		if bytes.HasPrefix(magic, []byte(c.magic)) {
			return c.reader(io.NewSectionReader(bzImage, start, trimmed(c.magic, length)))
		}
	}
	return nil, errNoPayload
}

// trimmed is the length without the four bytes that scripts/Makefile.lib adds to
// all but gzip: the unpacked size. Readers would take it for a second stream.
func trimmed(magic string, length int64) int64 {
	if magic == "\x1f\x8b" {
		return length
	}
	return max(length-4, 0)
}
