package kernel

import (
	"bytes"
	"testing"

	"gotest.tools/v3/assert"
)

func TestParseHeader(t *testing.T) {
	image := fakeImage(fakeVersion)
	h, err := parseHeader(bytes.NewReader(image), int64(len(image)), "bzImage")
	assert.NilError(t, err)
	assert.Equal(t, h.Version, fakeVersion)
	assert.Equal(t, h.Release(), fakeRelease)
}

func TestParseHeaderSaysWhatTheFileIs(t *testing.T) {
	at := func(off int, magic string) []byte {
		b := make([]byte, 4096)
		copy(b[off:], magic)
		return b
	}
	changed := func(change func([]byte)) []byte {
		b := fakeImage(fakeVersion)
		change(b)
		return b
	}
	for want, file := range map[string][]byte{
		"is empty":                        {},
		"is a text file":                  []byte("menuentry 'Debian' {\n\tlinux /boot\n}\n"),
		"is an arm64 kernel":              at(56, "ARM\x64"),
		"is a RISC-V kernel":              at(56, "RSC\x05"),
		"a gzip file with an arm64":       pack(t, ".gz", at(56, "ARM\x64")),
		"is a gzip file":                  []byte("\x1f\x8b\x08 and then nothing"),
		"is a zstd file":                  pack(t, ".zst", fakeImage(fakeVersion)),
		"is an ELF file":                  at(0, "\x7fELF"),
		"is something else":               make([]byte, 4096),
		"is cut short":                    fakeImage(fakeVersion)[:1050],
		"is a 32-bit or very old":         changed(func(b []byte) { b[offXloadflags] = 0 }),
		"no kernel release in its header": changed(func(b []byte) { b[0x300] = '/' }),
	} {
		_, err := parseHeader(bytes.NewReader(file), int64(len(file)), "FILE")
		wantUserError(t, err, want)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(fakeImage(fakeVersion))
	f.Add(pack(f, ".gz", fakeImage(fakeVersion)))
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := parseHeader(bytes.NewReader(data), int64(len(data)), "FILE")
		if err == nil && !plainName(h.Release()) {
			t.Errorf("release %q got through", h.Release())
		}
	})
}
