package disk

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/suites"
)

// copier is a disk that holds what its content is.
var copier = suites.Disk{
	Name: "copy", Tool: "sh", Package: "dash", Args: []string{"-c", `cat >"$1"; echo "$X" >>"$1"`, "sh", "FILE"}, Env: []string{"X=end"},
	Content: func(w io.Writer) error { _, err := io.WriteString(w, "content "); return err },
}

func TestMakeKeepsWhatItMade(t *testing.T) {
	cache := t.TempDir()
	packed, err := Make(t.Context(), cache, copier)
	assert.NilError(t, err)
	var want bytes.Buffer
	assert.NilError(t, suites.PackDisk(&want, strings.NewReader("content end\n"), 12))
	assert.DeepEqual(t, packed, want.Bytes())

	kept, err := filepath.Glob(filepath.Join(cache, "disks", "*"))
	assert.NilError(t, err)
	assert.Equal(t, len(kept), 1)
	assert.NilError(t, os.WriteFile(kept[0], []byte("kept"), 0o644))
	packed, err = Make(t.Context(), cache, copier)
	assert.NilError(t, err)
	assert.Equal(t, string(packed), "kept")

	other := copier
	other.Env = []string{"X=other"}
	packed, err = Make(t.Context(), cache, other)
	assert.NilError(t, err)
	assert.Assert(t, bytes.Contains(packed, []byte("content other\n")))
}

func TestMakeUnpacksATree(t *testing.T) {
	d := suites.Disk{
		Name: "tree", Tool: "sh", Args: []string{"-c", `cd "$1" && { cat d/f; readlink l; stat -c %h,%Y,%a d/f; stat -c %F,%Y,%a p d; } >"$2"`, "sh", "TREE", "FILE"},
		Content: func(w io.Writer) error {
			tw := tar.NewWriter(w)
			at := time.Unix(1_000_000_000, 0)
			for _, h := range []*tar.Header{
				{Typeflag: tar.TypeDir, Name: "d", Mode: 0o750, ModTime: at},
				{Typeflag: tar.TypeReg, Name: "d/f", Mode: 0o604, ModTime: at, Size: 5},
				{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "d", ModTime: at},
				{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o644, ModTime: at},
				{Typeflag: tar.TypeLink, Name: "h", Linkname: "d/f", ModTime: at},
			} {
				if err := tw.WriteHeader(h); err != nil {
					return err
				}
				if _, err := io.WriteString(tw, strings.Repeat("x", int(h.Size))); err != nil {
					return err
				}
			}
			return tw.Close()
		},
	}
	packed, err := Make(t.Context(), t.TempDir(), d)
	assert.NilError(t, err)
	want := "xxxxxd\n2,1000000000,604\nfifo,1000000000,644\ndirectory,1000000000,750\n"
	assert.Equal(t, string(bytes.TrimRight(packed[16:], "\x00")), want)
}

func TestMakeSaysWhatIsMissing(t *testing.T) {
	for name, want := range map[string]string{
		"no-such-program": "no no-such-program on the host to make disk d with: install dosfstools",
		"false":           "the host's false does not make disk d: exit status 1",
	} {
		_, err := Make(t.Context(), t.TempDir(), suites.Disk{Name: "d", Tool: name, Package: "dosfstools"})
		var missing MissingError
		assert.Assert(t, errors.As(err, &missing))
		assert.ErrorContains(t, err, want)
	}
}
