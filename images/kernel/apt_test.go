package kernel

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// aptPackages are what the repository of these tests offers: Ubuntu's shape,
// two metapackages that lead to an image and its modules.
func aptPackages(t *testing.T) map[string][]byte {
	image, modules := make(map[string][]byte), make(map[string][]byte)
	for name, data := range fakeTree() {
		if strings.HasPrefix(name, "boot/") {
			image[name] = data
		} else {
			modules[name] = data
		}
	}
	pkg := func(name, depends string, files map[string][]byte) []byte {
		control := fmt.Sprintf("Package: %s\nVersion: 6.1.999-1\nArchitecture: amd64\nMaintainer: me\nDepends: %s\nDescription: x\n", name, depends)
		return debOf(t, control, ".gz", treeTar(t, files))
	}
	return map[string][]byte{
		"linux-virtual":                pkg("linux-virtual", "linux-image-virtual (= 6.1.999-1)", nil),
		"linux-image-virtual":          pkg("linux-image-virtual", "linux-image-6.1.0-99-amd64", nil),
		"linux-image-6.1.0-99-amd64":   pkg("linux-image-6.1.0-99-amd64", "kmod, linux-modules-6.1.0-99-amd64", image),
		"linux-modules-6.1.0-99-amd64": pkg("linux-modules-6.1.0-99-amd64", "kmod", modules),
		"linux-image-circle":           pkg("linux-image-circle", "linux-image-circle", nil),
		"hello":                        pkg("hello", "libc6", nil),
	}
}

// aptRepository has apt-get work on a repository of its own, without the
// network and without touching what the machine has.
func aptRepository(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("apt-get"); err != nil {
		t.Skip("apt-get is not installed")
	}
	dir := t.TempDir()
	var index strings.Builder
	for name, deb := range aptPackages(t) {
		path := filepath.Join(dir, "repo", name+".deb")
		write(t, dir, map[string][]byte{"repo/" + name + ".deb": deb})
		d, err := openPackage(path)
		assert.NilError(t, err)
		d.close()
		for field, value := range d.control {
			fmt.Fprintf(&index, "%s: %s\n", field, value)
		}
		fmt.Fprintf(&index, "Filename: ./%s.deb\nSize: %d\nSHA256: %x\n\n", name, len(deb), sha256.Sum256(deb))
	}
	write(t, dir, map[string][]byte{
		"repo/Packages":            []byte(index.String()),
		"sources":                  []byte("deb [trusted=yes] copy:" + dir + "/repo ./\n"),
		"status":                   nil,
		"state/lists/partial/x":    nil,
		"cache/archives/partial/x": nil,
		"apt.conf": []byte(fmt.Sprintf(`Dir::State "%[1]s/state"; Dir::State::status "%[1]s/status"; Dir::Cache "%[1]s/cache";
Dir::Etc::sourcelist "%[1]s/sources"; Dir::Etc::sourceparts "/dev/null"; APT::Sandbox::User "root"; APT::Architecture "amd64";`, dir)),
	})
	t.Setenv("APT_CONFIG", dir+"/apt.conf")
}

func aptUpdate(t *testing.T) {
	t.Helper()
	out, err := exec.Command("apt-get", "update").CombinedOutput()
	assert.NilError(t, err, "%s", out)
}

func TestOpenApt(t *testing.T) {
	aptRepository(t)
	_, err := openIn(t, "apt:linux-virtual")
	wantUserError(t, err, "run sudo apt-get update")
	aptUpdate(t)

	o := Options{Cache: t.TempDir()}
	for round, downloads := range []int{4, 0} {
		var said []string
		o.Progress = func(line string) { said = append(said, line) }
		b, err := Open(context.Background(), "apt:linux-virtual", o)
		assert.NilError(t, err)
		assert.Equal(t, b.Source, "apt:linux-virtual")
		assert.Equal(t, b.NVR, "linux-image-6.1.0-99-amd64-6.1.999-1")
		assert.Assert(t, isDir(b.Modules))
		assert.Equal(t, strings.Count(strings.Join(said, "\n"), "download "), downloads, "round %d: %q", round, said)
	}
	entries, err := os.ReadDir(filepath.Join(o.Cache, "debs"))
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 4)
}

func TestOpenAptRefuses(t *testing.T) {
	aptRepository(t)
	aptUpdate(t)
	for ref, want := range map[string]string{
		"apt:linux-image-none":      "knows no package linux-image-none",
		"apt:linux-virtual=9":       "knows no package linux-virtual=9",
		"apt:linux-virtual/nowhere": "knows no package linux-virtual/nowhere",
		"apt:linux-image-circle":    "leads to no kernel",
		"apt:hello":                 "has no kernel in it",
		"apt:":                      "is not the name of a package",
		"apt:a b":                   "is not the name of a package",
	} {
		_, err := openIn(t, ref)
		wantUserError(t, err, want)
	}
	t.Setenv("PATH", t.TempDir())
	_, err := openIn(t, "apt:linux-virtual")
	wantUserError(t, err, "needs apt-get")
}

func TestAptError(t *testing.T) {
	for stderr, want := range map[string]string{
		"W: x\nE: Unable to locate package p\n":                          "knows no package p",
		"E: Failed to fetch http://x 404  Not Found\nE: Unable to fetch": "(Failed to fetch http://x 404  Not Found)",
		"E: Failed to write\nNo space left on device":                    "no space left",
		"": "gives no reason",
	} {
		wantUserError(t, aptError("p", stderr), want)
	}
}

func TestOpenInstalled(t *testing.T) {
	root := t.TempDir()
	_, err := openInstalled(root, fakeRelease)
	wantUserError(t, err, "neither")
	write(t, root, map[string][]byte{"boot/vmlinuz-" + fakeRelease: fakeImage(fakeVersion)})
	_, err = openInstalled(root, fakeRelease)
	wantUserError(t, err, "no modules")
	write(t, root, fakeTree())
	b, err := openInstalled(root, fakeRelease)
	assert.NilError(t, err)
	assert.Equal(t, b.Release, fakeRelease)
}
