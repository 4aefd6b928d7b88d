package kernel

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"gotest.tools/v3/assert"
)

func names(modules []Module) []string {
	var out []string
	for _, m := range modules {
		out = append(out, m.Name)
	}
	return out
}

func openTree(t *testing.T, more map[string][]byte) *Build {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, fakeTree())
	write(t, filepath.Join(dir, "lib/modules", fakeRelease), more)
	b, err := openIn(t, dir)
	assert.NilError(t, err)
	return b
}

func TestResolveModules(t *testing.T) {
	b := openTree(t, nil)
	for _, c := range []struct{ ask, load, missing []string }{
		{nil, nil, nil},
		{[]string{"overlay"}, []string{"overlay"}, nil},
		{[]string{"overlay", "overlay"}, []string{"overlay"}, nil},
		{[]string{"cu-se", "cu_se"}, []string{"cu_se"}, nil},
		{[]string{"virtio_ring", "virtio-ring"}, nil, nil},
		{[]string{"fuse", "overlay"}, []string{"crc32c_generic", "cu_se", "fuse", "overlay"}, nil},
		{[]string{"nope"}, nil, []string{"nope"}},
		{[]string{"torn", "nope", "torn"}, []string{"overlay"}, []string{"absent", "torn", "nope"}},
	} {
		load, missing, err := b.ResolveModules(c.ask, nil)
		assert.NilError(t, err)
		assert.DeepEqual(t, names(load), c.load)
		assert.DeepEqual(t, missing, c.missing)
	}
	load, _, err := b.ResolveModules([]string{"fuse"}, nil)
	assert.NilError(t, err)
	assert.DeepEqual(t, load[len(load)-1].Needs, []string{"crc32c_generic", "cu_se"})
	assert.Assert(t, b.Builtin("virtio-ring") && b.Builtin("virtio_ring") && !b.Builtin("overlay"))
}

func TestResolveWithoutModules(t *testing.T) {
	b := &Build{Release: fakeRelease}
	load, missing, err := b.ResolveModules([]string{"overlay"}, nil)
	assert.NilError(t, err)
	assert.Equal(t, len(load), 0)
	assert.DeepEqual(t, missing, []string{"overlay"})
}

// TestResolveInBuildTree knows what is built in although nothing is installed.
func TestResolveInBuildTree(t *testing.T) {
	tree := t.TempDir()
	write(t, tree, map[string][]byte{
		".config":               []byte("CONFIG_OVERLAY_FS=y\n"),
		"modules.builtin":       []byte("fs/overlayfs/overlay.ko\n"),
		"arch/x86/boot/bzImage": fakeImage("6.18.0-rc5 (me@x) #1"),
	})
	b, err := openIn(t, tree)
	assert.NilError(t, err)
	load, missing, err := b.ResolveModules([]string{"overlay", "fuse"}, nil)
	assert.NilError(t, err)
	assert.Equal(t, len(load), 0)
	assert.DeepEqual(t, missing, []string{"fuse"})
}

func TestResolveCircleAndUpdates(t *testing.T) {
	b := openTree(t, map[string][]byte{
		"kernel/a.ko":        fakeModule("a", fakeRelease, "depends=b"),
		"kernel/b.ko":        fakeModule("b", fakeRelease, "depends=a"),
		"updates/overlay.ko": fakeModule("overlay", fakeRelease, "depends=cu_se"),
	})
	load, missing, err := b.ResolveModules([]string{"a", "overlay"}, nil)
	assert.NilError(t, err)
	assert.DeepEqual(t, names(load), []string{"b", "a", "cu_se", "overlay"})
	assert.Equal(t, len(missing), 0)
	assert.Equal(t, filepath.Base(filepath.Dir(load[3].Path)), "updates")
}

func TestResolveReplace(t *testing.T) {
	b := openTree(t, nil)
	dir := t.TempDir()
	write(t, dir, map[string][]byte{
		"new.ko":   fakeModule("overlay", fakeRelease, "depends=cu-se"),
		"old.ko":   fakeModule("overlay", "6.1.0-9-amd64"),
		"longer":   nil,
		"text.ko":  []byte("hello"),
		"other.ko": fakeModule("kdbus", fakeRelease),
	})
	load, _, err := b.ResolveModules([]string{"overlay"}, map[string]string{"overlay": dir + "/new.ko", "kdbus": dir + "/other.ko"})
	assert.NilError(t, err)
	assert.DeepEqual(t, names(load), []string{"cu_se", "overlay"})
	assert.Equal(t, load[1].Path, dir+"/new.ko")
	load, _, err = b.ResolveModules([]string{"kdbus"}, map[string]string{"kdbus": dir + "/other.ko"})
	assert.NilError(t, err)
	assert.DeepEqual(t, names(load), []string{"kdbus"})

	for file, want := range map[string]string{
		"old.ko":    "was built for kernel 6.1.0-9-amd64, this is " + fakeRelease,
		"other.ko":  "is the module kdbus, not overlay",
		"text.ko":   "is not an x86_64 kernel module",
		"longer":    "is not an x86_64 kernel module",
		"absent.ko": "does not exist",
	} {
		_, _, err := b.ResolveModules(nil, map[string]string{"overlay": filepath.Join(dir, file)})
		wantUserError(t, err, want)
	}
	_, _, err = b.ResolveModules(nil, map[string]string{"virtio-ring": dir + "/new.ko"})
	wantUserError(t, err, "is built into kernel")
}

func TestModuleData(t *testing.T) {
	dir := t.TempDir()
	want := fakeModule("overlay", fakeRelease)
	for _, ext := range []string{"", ".gz", ".zst"} {
		path := filepath.Join(dir, "overlay.ko"+ext)
		assert.NilError(t, os.WriteFile(path, pack(t, ext, want), 0o644))
		for range 2 { // from the file, then from the cache
			got, err := Module{Name: "overlay", Path: path, cache: dir}.Data()
			assert.NilError(t, err)
			assert.Assert(t, bytes.Equal(got, want), ext)
		}
	}
	torn := filepath.Join(dir, "torn.ko.gz")
	assert.NilError(t, os.WriteFile(torn, pack(t, ".gz", want)[:40], 0o644))
	_, err := Module{Path: torn}.Data()
	assert.ErrorContains(t, err, "decompress module "+torn)
	// A cache that cannot be written costs time only.
	_, err = Module{Path: filepath.Join(dir, "overlay.ko.gz"), cache: "/proc/nothing"}.Data()
	assert.NilError(t, err)
}

func TestParseModinfo(t *testing.T) {
	got := parseModinfo("license=GPL\x00depends=a-b,c\x00softdep=pre: x-y z post: q\x00softdep=post: p\x00alias=fs-x\x00name=n\x00vermagic=6.1 SMP \x00\x00junk")
	assert.DeepEqual(t, got.depends, []string{"a_b", "c"})
	assert.DeepEqual(t, got.pre, []string{"x-y", "z"})
	assert.DeepEqual(t, got.aliases, []string{"fs-x"})
	assert.Equal(t, got.name, "n")
	assert.Equal(t, got.vermagic, "6.1 SMP ")
}

func FuzzModinfo(f *testing.F) {
	f.Add(fakeModule("overlay", fakeRelease, "depends=a,b", "softdep=pre: x post: y"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := readModinfo(data)
		for _, dep := range info.depends {
			if err != nil || dep == "" {
				t.Errorf("dependency %q with error %v", dep, err)
			}
		}
	})
}
