package kernel

import (
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// Bounds on the memory a hostile archive can make a decoder take. xz -9 and
// zstd --ultra -22 ask for less.
const (
	xzDictMax     = 64 << 20
	zstdWindowMax = 128 << 20
)

// decompress gives the content of a file with the given extension: ".xz",
// ".zst", ".gz", or any of plain, which says that it is not compressed.
func decompress(r io.Reader, ext string, plain ...string) (io.ReadCloser, error) {
	switch ext {
	case ".xz":
		z, err := xz.NewReader(r, xzDictMax)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(z), nil
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(zstdWindowMax))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	case ".gz":
		return gzip.NewReader(r)
	}
	for _, p := range plain {
		if ext == p {
			return io.NopCloser(r), nil
		}
	}
	return nil, fmt.Errorf("compression %q is not known", ext)
}
