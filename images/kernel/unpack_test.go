package kernel

import (
	"archive/tar"
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

func unpackTar(t testing.TB, archive []byte) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	root, err := os.OpenRoot(dir)
	assert.NilError(t, err)
	defer root.Close()
	u := unpacker{root: root, bytes: 1 << 20, entries: 100}
	return dir, u.unpack(&bounded{ctx: context.Background(), r: bytes.NewReader(archive), left: 2 << 20})
}

func link(kind byte, name, target string) tarEntry {
	return tarEntry{Header: tar.Header{Name: name, Linkname: target, Typeflag: kind, Mode: 0o777}}
}

func TestUnpackHostile(t *testing.T) {
	many := make([]tarEntry, 101)
	for i := range many {
		many[i] = link(tar.TypeDir, "usr/", "")
	}
	for want, entries := range map[string][]tarEntry{
		`"/boot/x": its path leads out`:       {regular("/boot/x", nil)},
		`"../boot/x": its path leads out`:     {regular("../boot/x", nil)},
		`"boot/../../x": its path leads out`:  {regular("boot/../../x", nil)},
		`"boot/x": its link leads out`:        {link(tar.TypeSymlink, "boot/x", "/etc")},
		`"boot/y": its link leads out`:        {link(tar.TypeSymlink, "boot/y", "../../x")},
		`its type is '3'`:                     {link(tar.TypeChar, "boot/null", "")},
		`its type is '6'`:                     {link(tar.TypeFifo, "boot/fifo", "")},
		`file exists`:                         {regular("boot/x", nil), regular("boot/x", nil)},
		`"boot/x/y": `:                        {regular("boot/x", nil), regular("boot/x/y", nil)},
		"more than any kernel needs":          {regular("usr/share/x", make([]byte, 1<<20+1))},
		`"usr/": it unpacks to more than any`: many,
		`path escapes`: {
			link(tar.TypeSymlink, "lib/modules/up", "../.."),
			link(tar.TypeSymlink, "boot/x", "../lib/modules/up/.."),
			regular("boot/x/passwd", nil)},
		`"boot/z": its link leads out`: {
			link(tar.TypeSymlink, "lib/modules/up", "../.."),
			link(tar.TypeSymlink, "boot/z", "../lib/modules/up/../etc/passwd")},
	} {
		_, err := unpackTar(t, tarOf(t, entries...))
		assert.ErrorContains(t, err, want)
	}
}

func TestUnpackLinks(t *testing.T) {
	dir, err := unpackTar(t, tarOf(t,
		regular("boot/a", []byte("a")),
		link(tar.TypeSymlink, "boot/soft", "a"),
		link(tar.TypeLink, "boot/hard", "./boot/a"),
		link(tar.TypeSymlink, "lib/modules/6.1/build", "/usr/src/linux"),
		regular("./usr/lib/modules/6.1/x", []byte("x")),
		regular("usr/bin/sh", []byte("x")),
	))
	assert.NilError(t, err)
	for _, name := range []string{"boot/soft", "boot/hard"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		assert.NilError(t, err)
		assert.Equal(t, string(data), "a")
	}
	var names []string
	fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			names = append(names, path)
		}
		return err
	})
	assert.DeepEqual(t, names, []string{"boot/a", "boot/hard", "boot/soft", "usr/lib/modules/6.1/x"})
}

// FuzzUnpack looks for an archive that panics the unpacker or leaves root.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, regular("boot/x", []byte("x")), link(tar.TypeSymlink, "boot/l", "x"), link(tar.TypeLink, "boot/h", "boot/x")))
	f.Add(tarOf(f, regular("../x", nil)))
	f.Fuzz(func(t *testing.T, archive []byte) {
		dir, _ := unpackTar(t, archive)
		outside, err := os.ReadDir(filepath.Dir(dir))
		assert.NilError(t, err)
		assert.Equal(t, len(outside), 1)
	})
}

// FuzzPackage reads hostile .deb files as far as their control fields.
func FuzzPackage(f *testing.F) {
	f.Add(debOf(f, fakeControl, ".gz", tarOf(f)))
	f.Add(debOf(f, fakeControl, ".zst", nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := readAr(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, m := range members {
			_, _ = readControl(m)
		}
	})
}
