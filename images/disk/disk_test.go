package disk

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
