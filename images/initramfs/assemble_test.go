package initramfs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/u-root/u-root/pkg/cpio"
	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/images/initramfs/userland"
	"github.com/kernel-playground/kplay/images/kernel"
)

// self is the executable of this test: an agent as good as any.
func self(t testing.TB) string {
	t.Helper()
	exe, err := os.Executable()
	assert.NilError(t, err)
	return exe
}

// write makes a file with the given permissions below the test's directory.
func write(t testing.TB, name, content string, mode fs.FileMode) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), name)
	assert.NilError(t, os.WriteFile(p, []byte(content), mode))
	assert.NilError(t, os.Chmod(p, mode))
	return p
}

func assemble(t testing.TB, spec Spec) *Image {
	t.Helper()
	img, err := Assemble(context.Background(), spec)
	assert.NilError(t, err)
	t.Cleanup(func() { img.Close() })
	return img
}

// records reads an image back, each record by its absolute path.
func records(t testing.TB, img *Image) map[string]cpio.Record {
	t.Helper()
	var archive bytes.Buffer
	n, err := img.WriteTo(&archive)
	assert.NilError(t, err)
	assert.Equal(t, n, img.Size())
	all, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(archive.Bytes())))
	assert.NilError(t, err)
	byPath := map[string]cpio.Record{"/": {}}
	for _, r := range all {
		p := "/" + r.Name
		_, parent := byPath[path.Dir(p)]
		assert.Assert(t, parent, "%s comes before its directory", p)
		byPath[p] = r
	}
	return byPath
}

func content(t testing.TB, r cpio.Record) string {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(r, 0, int64(r.FileSize)))
	assert.NilError(t, err)
	return string(data)
}

func TestAssemble(t *testing.T) {
	all := records(t, assemble(t, Spec{
		Agent: self(t),
		Modules: []kernel.Module{
			{Name: "virtio_ring", Path: write(t, "virtio_ring.ko", "ring", 0o644)},
			{Name: "virtio", Path: write(t, "virtio.ko", "virtio", 0o600)},
		},
		Files: map[string]string{
			"/opt/suite/run.sh": write(t, "run.sh", "#!/bin/sh\n", 0o755),
			"/etc/empty":        write(t, "empty", "", 0o640),
		},
	}))
	for p, want := range map[string]struct {
		mode    uint64
		content string
	}{
		"/lib/modules/kplay/00-virtio_ring.ko": {cpio.S_IFREG | 0o644, "ring"},
		"/lib/modules/kplay/01-virtio.ko":      {cpio.S_IFREG | 0o644, "virtio"},
		"/etc/kplay/modules": {cpio.S_IFREG | 0o644, "virtio_ring /lib/modules/kplay/00-virtio_ring.ko\n" +
			"virtio /lib/modules/kplay/01-virtio.ko\n"},
		"/opt/suite/run.sh": {cpio.S_IFREG | 0o755, "#!/bin/sh\n"},
		"/opt/suite":        {cpio.S_IFDIR | 0o755, ""},
		"/etc/empty":        {cpio.S_IFREG | 0o640, ""},
		"/tmp":              {cpio.S_IFDIR | 0o1777, ""},
		"/dev/console":      {cpio.S_IFCHR | 0o600, ""},
		"/bin/cat":          {cpio.S_IFLNK | 0o777, "/init"},
	} {
		got, ok := all[p]
		assert.Assert(t, ok, p)
		assert.Equal(t, got.Mode, want.mode, p)
		assert.Equal(t, content(t, got), want.content, p)
	}
	assert.Equal(t, all["/init"].Mode, uint64(cpio.S_IFREG|0o755))
	assert.Equal(t, all["/dev/kmsg"].Rmajor, uint64(1))
	assert.Equal(t, all["/dev/kmsg"].Rminor, uint64(11))
	for _, name := range userland.Names() {
		assert.Equal(t, all["/bin/"+name].Mode&cpio.S_IFMT, uint64(cpio.S_IFLNK), name)
	}
}

func TestAssembleTwiceGivesTheSameBytes(t *testing.T) {
	spec := Spec{Agent: self(t), Files: map[string]string{}}
	for _, name := range strings.Fields("a b c d e f g h") {
		spec.Files["/x/"+name] = write(t, name, name, 0o644)
	}
	var first, second bytes.Buffer
	_, err := assemble(t, spec).WriteTo(&first)
	assert.NilError(t, err)
	_, err = assemble(t, spec).WriteTo(&second)
	assert.NilError(t, err)
	assert.Assert(t, bytes.Equal(first.Bytes(), second.Bytes()))
}

func TestAssembleRefuses(t *testing.T) {
	exe, text := self(t), write(t, "text", "text", 0o755)
	file := func(guest, host string) Spec { return Spec{Agent: exe, Files: map[string]string{guest: host}} }
	module := func(name, path string) Spec {
		return Spec{Agent: exe, Modules: []kernel.Module{{Name: name, Path: path}}}
	}
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{Agent: "/no/agent"}, "add the agent: open /no/agent"},
		{Spec{Agent: text}, "is not an ELF executable"},
		{Spec{Agent: t.TempDir()}, "is not an ELF executable"},
		{file("rel", text), `add "rel": it is not a plain absolute path`},
		{file("/a/../b", text), `it is not a plain absolute path`},
		{file("/", text), `add "/": it is not a plain absolute path`},
		{file("/a\x00b", text), `it is not a plain absolute path`},
		{file("/init", text), "add /init: it is there already"},
		{file("/bin/cat", text), "add /bin/cat: it is there already"},
		{file("/init/x", text), "add /init/x: /init is not a directory"},
		{file("/x", "/no/file"), "add /x: stat /no/file"},
		{file("/x", t.TempDir()), "is not a regular file"},
		{module("a b", text), `add module "a b": that is no name of a module`},
		{module("../a", text), "that is no name of a module"},
		{module("", text), "that is no name of a module"},
		{module("a", "/no/a.ko"), "add module a: "},
	} {
		_, err := Assemble(context.Background(), c.spec)
		assert.ErrorContains(t, err, c.want)
		assert.ErrorContains(t, err, "assemble the initramfs: ")
	}
}

func TestAssembleStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Assemble(ctx, Spec{Agent: self(t), Files: map[string]string{"/x": self(t)}})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestImageFile(t *testing.T) {
	img := assemble(t, Spec{Agent: self(t)})
	f, err := img.File()
	assert.NilError(t, err)
	defer f.Close()
	again, err := img.File()
	assert.NilError(t, err)
	defer again.Close()

	_, err = f.Write([]byte("x"))
	assert.Assert(t, errors.Is(err, unix.EBADF), "write to the file: %v", err)
	_, err = img.file.WriteAt([]byte("x"), 0)
	assert.Assert(t, errors.Is(err, unix.EPERM), "write to the sealed memory: %v", err)
	assert.Assert(t, errors.Is(img.file.Truncate(0), unix.EPERM))

	assert.NilError(t, img.Close())
	for _, f := range []*os.File{f, again} {
		n, err := io.Copy(io.Discard, f)
		assert.NilError(t, err)
		assert.Equal(t, n, img.Size())
	}
}

func BenchmarkAssemble(b *testing.B) {
	exe := self(b)
	for b.Loop() {
		assemble(b, Spec{Agent: exe}).Close()
	}
}
