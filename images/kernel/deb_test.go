package kernel

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
)

// writeDeb puts a package into a directory of its own.
func writeDeb(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	assert.NilError(t, os.WriteFile(path, data, 0o644))
	return path
}

func TestOpenDeb(t *testing.T) {
	for _, ext := range []string{"", ".gz", ".zst"} {
		path := writeDeb(t, "k.deb", debOf(t, fakeControl, ext, treeTar(t, fakeTree())))
		b, err := openIn(t, path)
		assert.NilError(t, err)
		assert.Equal(t, b.NVR, "linux-image-"+fakeRelease+"-6.1.999-1")
		assert.Equal(t, b.Release, fakeRelease)
		assert.Equal(t, b.Upstream.String(), "v6.1.999")
		assert.Equal(t, b.Option("FUSE_FS"), "m")
		assert.Assert(t, isDir(b.Modules))
	}
}

// TestOpenDebByDpkg reads what Debian's own tool writes, xz among it.
func TestOpenDebByDpkg(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		t.Skip("dpkg-deb is not installed")
	}
	dir := t.TempDir()
	tree := filepath.Join(dir, "tree")
	write(t, tree, fakeTree())
	write(t, tree, map[string][]byte{"DEBIAN/control": []byte(strings.Replace(fakeControl, "\nDesc", "\nMaintainer: me <me@example.org>\nDesc", 1))})
	for _, z := range []string{"xz", "zstd", "gzip", "none"} {
		deb := filepath.Join(dir, z+".deb")
		out, err := exec.Command("dpkg-deb", "--root-owner-group", "-Z"+z, "--build", tree, deb).CombinedOutput()
		if z == "zstd" && err != nil {
			continue // not every dpkg has it
		}
		assert.NilError(t, err, "%s", out)
		b, err := openIn(t, deb)
		assert.NilError(t, err, z)
		assert.Equal(t, b.Upstream.String(), "v6.1.999")
	}
}

func TestOpenDebCutAnywhere(t *testing.T) {
	whole := debOf(t, fakeControl, ".gz", treeTar(t, fakeTree()))
	for n := len(debMagic); n < len(whole); n += 101 {
		_, err := openIn(t, writeDeb(t, "k.deb", whole[:n]))
		wantUserError(t, err, "damaged or cut short")
	}
	data := pack(t, ".gz", treeTar(t, fakeTree()))
	for n := 0; n < len(data); n += 101 {
		deb := arOf("debian-binary", []byte("2.0\n"), "control.tar", tarOf(t, regular("control", []byte(fakeControl))), "data.tar.gz", data[:n])
		_, err := openIn(t, writeDeb(t, "k.deb", deb))
		wantUserError(t, err, "damaged or cut short")
	}
}

func TestOpenDebRefuses(t *testing.T) {
	control := func(old, new string) string { return strings.Replace(fakeControl, old, new, 1) }
	tree := treeTar(t, fakeTree())
	none := treeTar(t, map[string][]byte{"usr/share/doc/x": []byte("x")})
	for want, deb := range map[string][]byte{
		"for the architecture arm64":             debOf(t, control("amd64\nDep", "arm64\nDep"), "", tree),
		"depends on linux-image-6.1.0-56-amd64:": debOf(t, control("kmod,", "linux-image-6.1.0-56-amd64 (= 6.1.192-2),"), "", none),
		"has no kernel in it: name":              debOf(t, fakeControl, "", none),
		`compression ".br" is not known`:         debOf(t, fakeControl, ".br", tree),
		"not an ar archive":                      append([]byte(debMagic), strings.Repeat("x", 60)...),
		"find its control file":                  arOf("control.tar", tarOf(t), "data.tar", tree),
		"ends too early":                         arOf("control.tar", tarOf(t, regular("control", nil))),
	} {
		_, err := openIn(t, writeDeb(t, "k.deb", deb))
		wantUserError(t, err, want)
	}
}

// TestOpenDebWithModulesBeside is Ubuntu's way: two packages make a kernel.
func TestOpenDebWithModulesBeside(t *testing.T) {
	image, modules := make(map[string][]byte), make(map[string][]byte)
	for name, data := range fakeTree() {
		if strings.HasPrefix(name, "boot/vmlinuz") {
			image[name] = data
		} else {
			modules[name] = data
		}
	}
	control := strings.Replace(fakeControl, "kmod,", "kmod, linux-modules-6.1.0-99-amd64,", 1)
	path := writeDeb(t, "linux-image.deb", debOf(t, control, "", treeTar(t, image)))
	b, err := openIn(t, path)
	assert.NilError(t, err)
	assert.Equal(t, b.Modules, "")
	beside := filepath.Join(filepath.Dir(path), "linux-modules-6.1.0-99-amd64_6.1.999-1_amd64.deb")
	assert.NilError(t, os.WriteFile(beside, debOf(t, control, "", treeTar(t, modules)), 0o644))
	b, err = openIn(t, path)
	assert.NilError(t, err)
	assert.Assert(t, isDir(b.Modules))
	assert.Equal(t, b.Option("FUSE_FS"), "m")
}

func TestOpenDebOnce(t *testing.T) {
	path := writeDeb(t, "k.deb", debOf(t, fakeControl, ".gz", treeTar(t, fakeTree())))
	cache := t.TempDir()
	var mu sync.Mutex
	unpackings := 0
	o := Options{Cache: cache, Progress: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(line, "unpack ") {
			unpackings++
		}
	}}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			b, err := Open(context.Background(), path, o)
			if err != nil || !isDir(b.Modules) {
				t.Errorf("open: %v", err)
			}
		})
	}
	all.Wait()
	assert.Equal(t, unpackings, 1)
}

// TestOpenDebAfterKill finds the half-unpacked directory of a killed process.
func TestOpenDebAfterKill(t *testing.T) {
	path := writeDeb(t, "k.deb", debOf(t, fakeControl, ".gz", treeTar(t, fakeTree())))
	sum, err := digest(path)
	assert.NilError(t, err)
	cache := t.TempDir()
	write(t, cache, map[string][]byte{"unpacked/" + sum + ".part/boot/vmlinuz-" + fakeRelease: []byte("half")})
	b, err := Open(context.Background(), path, Options{Cache: cache})
	assert.NilError(t, err)
	assert.Equal(t, b.Release, fakeRelease)
	entries, err := os.ReadDir(filepath.Join(cache, "unpacked"))
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 2) // the directory and its lock
}

func TestOpenDebCancelled(t *testing.T) {
	path := writeDeb(t, "k.deb", debOf(t, fakeControl, ".gz", treeTar(t, fakeTree())))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Open(ctx, path, Options{Cache: t.TempDir()})
	assert.ErrorIs(t, err, context.Canceled)
}

func TestOpenDebWithoutSpace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting a small tmpfs needs root")
	}
	cache := t.TempDir()
	if err := unix.Mount("tmpfs", cache, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("mount a small tmpfs: %v", err)
	}
	defer unix.Unmount(cache, 0)
	tree := maps.Clone(fakeTree())
	tree["boot/System.map"] = make([]byte, 1<<20)
	path := writeDeb(t, "k.deb", debOf(t, fakeControl, ".gz", treeTar(t, tree)))
	_, err := Open(context.Background(), path, Options{Cache: cache})
	wantUserError(t, err, "no space left in the cache "+cache)
	left, err := filepath.Glob(cache + "/unpacked/*.part")
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0)
}

func TestDepends(t *testing.T) {
	d := &deb{control: map[string]string{"Depends": "kmod, linux-image-6.8.0-31-generic (= 6.8.0-31.31) | linux-image-unsigned-6.8.0-31-generic, linux-imagex (>= 2), linux-image-generic (>= 1)"}}
	assert.DeepEqual(t, relations(d.depends(metaForm)), []string{
		"linux-image-6.8.0-31-generic=6.8.0-31.31", "linux-image-unsigned-6.8.0-31-generic", "linux-image-generic"})
	assert.Equal(t, len(d.depends(imageForm)), 2)
}

func relations(rs []relation) []string {
	var out []string
	for _, r := range rs {
		out = append(out, r.spec())
	}
	return out
}
