package kernel

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"strings"
)

// Where things are in the first sectors of a bzImage, by
// Documentation/arch/x86/boot.rst; the sizes are little-endian.
const (
	offSetupSects = 0x1f1 // one byte: 512-byte sectors of real-mode code, after the first
	offSyssize    = 0x1f4 // 4 bytes: the protected-mode code, in units of 16 bytes
	offBootFlag   = 0x1fe // 0x55 0xaa
	offMagic      = 0x202 // "HdrS"
	offProtocol   = 0x206 // 2 bytes: 0x020f is 2.15
	offVersion    = 0x20e // 2 bytes: where the version string is, less 0x200
	offXloadflags = 0x236 // 2 bytes, since protocol 2.12; bit 0: has a 64-bit entry point

	headerSize  = 0x268
	versionSize = 512 // longest version string looked at

	protocolXload = 0x020c
	xlfKernel64   = 1 << 0
)

// A header is what a bzImage says of itself. The version string is made by
// the kernel's build of UTS_RELEASE, who compiled it where, and UTS_VERSION.
type header struct {
	Version string // "6.1.0-56-amd64 (debian-kernel@…) #1 SMP … Debian 6.1.192-2 (2026-11-16)"
}

// Release is what uname -r will print: the version string's first word.
func (h header) Release() string {
	release, _, _ := strings.Cut(h.Version, " ")
	return release
}

// Foreign kernels are told by their magic number, so that the user learns what
// the file is and not only what it is not.
var foreign = []struct {
	at    int
	magic string
	what  string
}{
	{56, "ARM\x64", "an arm64 kernel"},           // Documentation/arch/arm64/booting.rst
	{56, "RSC\x05", "a RISC-V kernel"},           // Documentation/arch/riscv/boot-image-header.rst
	{4, "zimg", "a compressed EFI zboot kernel"}, // drivers/firmware/efi/libstub/zboot-header.S; not used on x86
	{0, "\x7fELF", "an ELF file"},
	{0, debMagic, "a Debian package"},
	{0, rpmMagic, "an RPM package"},
	{0, "\xfd7zXZ\x00", "an xz file"},
	{0, "\x28\xb5\x2f\xfd", "a zstd file"},
}

// readHeader reads the header of the bzImage at path. A file that is none, is
// cut short or is for another machine is a UserError.
func readHeader(path string) (header, error) {
	f, err := os.Open(path)
	if err != nil {
		return header{}, readError(path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return header{}, readError(path, err)
	}
	return parseHeader(f, info.Size(), path)
}

// parseHeader does the work of readHeader on an open file of the given size;
// path is for its errors. The order of the checks is that of what helps most:
// what the file is, whether all of it is there, whether it can run here.
func parseHeader(r io.ReaderAt, size int64, path string) (header, error) {
	if size == 0 {
		return header{}, userErrorf("%s is empty: copy or build the kernel image again", path)
	}
	h := make([]byte, headerSize)
	n, err := r.ReadAt(h, 0)
	if err != nil && err != io.EOF {
		return header{}, readError(path, err)
	}
	if n < headerSize || string(h[offMagic:offMagic+4]) != "HdrS" || string(h[offBootFlag:offBootFlag+2]) != "\x55\xaa" {
		return header{}, userErrorf("%s is %s, not an x86 kernel image: name a bzImage, such as boot/vmlinuz-* or arch/x86/boot/bzImage", path, describe(h[:n], r))
	}
	if want := imageSize(h); size < want {
		return header{}, userErrorf("%s is cut short: its header speaks of %d bytes, there are %d; copy or build it again", path, want, size)
	}
	protocol := binary.LittleEndian.Uint16(h[offProtocol:])
	xload := binary.LittleEndian.Uint16(h[offXloadflags:])
	if protocol < protocolXload || xload&xlfKernel64 == 0 {
		return header{}, userErrorf("%s is a 32-bit or very old x86 kernel: kplay boots x86_64 kernels since v3.8", path)
	}
	return parsed(r, h, path)
}

// parsed reads the version string, which the header only points at.
func parsed(r io.ReaderAt, h []byte, path string) (header, error) {
	text := make([]byte, versionSize)
	n, err := r.ReadAt(text, int64(binary.LittleEndian.Uint16(h[offVersion:]))+0x200)
	if err != nil && err != io.EOF {
		return header{}, readError(path, err)
	}
	text, _, ended := bytes.Cut(text[:n], []byte{0})
	out := header{Version: string(text)}
	if !ended || !plainName(out.Release()) {
		return header{}, userErrorf("%s has no kernel release in its header: build it again", path)
	}
	return out, nil
}

// plainName reports whether a release or module name is fit to be part of a
// path: printable ASCII without a slash, and no dot in front.
func plainName(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' || c == '/' {
			return false
		}
	}
	return s != "" && s[0] != '.'
}

// imageSize is the least size in bytes of an image with this header.
func imageSize(h []byte) int64 {
	sects := int64(h[offSetupSects])
	if sects == 0 {
		sects = 4 // for backwards compatibility, says boot.rst
	}
	return (sects+1)*512 + int64(binary.LittleEndian.Uint32(h[offSyssize:]))*16
}

// describe says what a file beginning with head is, in a few words.
func describe(head []byte, r io.ReaderAt) string {
	for _, f := range foreign {
		if len(head) > f.at && bytes.HasPrefix(head[f.at:], []byte(f.magic)) {
			return f.what
		}
	}
	if bytes.HasPrefix(head, []byte{0x1f, 0x8b}) {
		return describeGzip(r)
	}
	if bytes.IndexFunc(head, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' && c != '\r' }) < 0 {
		return "a text file"
	}
	return "something else"
}

// describeGzip looks into a gzip file: arm64 kernels are installed compressed.
func describeGzip(r io.ReaderAt) string {
	const what = "a gzip file"
	z, err := gzip.NewReader(io.NewSectionReader(r, 0, 1<<62))
	if err != nil {
		return what
	}
	head := make([]byte, headerSize)
	n, _ := io.ReadFull(z, head)
	if bytes.HasPrefix(head[:n], []byte{0x1f, 0x8b}) {
		return what
	}
	return what + " with " + describe(head[:n], nil) + " in it"
}
