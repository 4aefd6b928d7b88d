package suites

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
)

func TestUnpackDiskGivesWhatWasPacked(t *testing.T) {
	image := make([]byte, 40*diskPage+100)
	copy(image, "first")
	copy(image[17*diskPage-3:], "across pages")
	copy(image[40*diskPage:], "last, not a whole page")
	var packed bytes.Buffer
	assert.NilError(t, PackDisk(&packed, bytes.NewReader(image), int64(len(image))))
	assert.Equal(t, packed.Len(), 8+4*(8+diskPage))
	path := filepath.Join(t.TempDir(), "image")
	f, err := os.Create(path)
	assert.NilError(t, err)
	defer f.Close()
	assert.NilError(t, unpackDisk(f, &packed))
	got, err := os.ReadFile(path)
	assert.NilError(t, err)
	assert.Assert(t, bytes.Equal(got, image))
	var st unix.Stat_t
	assert.NilError(t, unix.Stat(path, &st))
	assert.Assert(t, st.Blocks*512 < 10*diskPage, "%d blocks", st.Blocks)
}

func TestUnpackDiskRefusesATornOne(t *testing.T) {
	var packed bytes.Buffer
	assert.NilError(t, PackDisk(&packed, bytes.NewReader([]byte("text")), 4))
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	assert.NilError(t, err)
	defer f.Close()
	assert.ErrorContains(t, unpackDisk(f, bytes.NewReader(packed.Bytes()[:100])), "unexpected EOF")
}

func TestCheckWantsTheDisksOfCases(t *testing.T) {
	s := Suite{Name: "s", Cases: []Case{{Name: "a", Doc: "Promises.", Disks: []string{"xfs"}, Run: func(*T) {}}}}
	assert.ErrorContains(t, s.Check(), `no disk "xfs"`)
	s.Disks = []Disk{{Name: "xfs"}}
	assert.NilError(t, s.Check())
}
