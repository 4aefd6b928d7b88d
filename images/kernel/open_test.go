package kernel

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"gotest.tools/v3/assert"
)

func openIn(t *testing.T, ref string) (*Build, error) {
	t.Helper()
	return Open(context.Background(), ref, Options{Cache: t.TempDir()})
}

// fedoraTree is what a kernel-core and kernel-modules-core unpack to.
func fedoraTree() map[string][]byte {
	const modules = "lib/modules/6.18.0-0.rc5.45.fc44.x86_64/"
	return map[string][]byte{
		modules + "vmlinuz":                      fakeImage("6.18.0-0.rc5.45.fc44.x86_64 (mockbuild@x) #1 SMP"),
		modules + "config":                       []byte("CONFIG_SMP=y\n"),
		modules + "kernel/fs/overlay/overlay.ko": fakeModule("overlay", "6.18.0-0.rc5.45.fc44.x86_64"),
	}
}

func TestOpenLayouts(t *testing.T) {
	tree := t.TempDir()
	write(t, tree, map[string][]byte{".config": []byte("CONFIG_SMP=y\n"), "arch/x86/boot/bzImage": fakeImage("6.18.0-rc5 (me@x) #1")})
	assert.NilError(t, os.MkdirAll(filepath.Join(tree, "arch/x86_64/boot"), 0o755))
	assert.NilError(t, os.Symlink("../../x86/boot/bzImage", filepath.Join(tree, "arch/x86_64/boot/bzImage")))
	debian := t.TempDir()
	write(t, debian, fakeTree())
	fedora := t.TempDir()
	write(t, fedora, fedoraTree())
	write(t, fedora, map[string][]byte{"boot/vmlinuz-0-rescue-1234": fakeImage("6.1.2 (me@x)")})
	merged := t.TempDir()
	assert.NilError(t, os.Symlink("usr/lib", filepath.Join(merged, "lib")))
	write(t, filepath.Join(merged, "usr"), fedoraTree())
	assert.NilError(t, os.Symlink("boot/vmlinuz-"+fakeRelease, filepath.Join(debian, "vmlinuz")))
	bare := t.TempDir()
	write(t, bare, map[string][]byte{"bzImage": fakeImage("6.1.2 (me@x)")})

	for _, c := range []struct {
		ref, upstream    string
		modules, options bool
	}{
		{debian, "v6.1.999", true, true},
		{debian + "/boot", "v6.1.999", true, true},
		{debian + "/boot/vmlinuz-" + fakeRelease, "v6.1.999", true, true},
		{debian + "/lib/modules/" + fakeRelease, "v6.1.999", true, true},
		{fedora, "v6.18-rc5", true, true},
		{fedora + "/lib/modules/6.18.0-0.rc5.45.fc44.x86_64", "v6.18-rc5", true, true},
		{merged, "v6.18-rc5", true, true},
		{tree, "v6.18-rc5", false, true},
		{tree + "/arch/x86/boot/bzImage", "v6.18-rc5", false, true},
		{tree + "/arch/x86_64/boot/bzImage", "v6.18-rc5", false, true},
		{bare + "/bzImage", "v6.1.2", false, false},
	} {
		b, err := openIn(t, c.ref)
		assert.NilError(t, err)
		assert.Equal(t, b.Source, c.ref)
		assert.Equal(t, b.Upstream.String(), c.upstream, c.ref)
		assert.Equal(t, isDir(b.Modules), c.modules, c.ref)
		assert.Equal(t, b.Option("SMP") == "y", c.options, c.ref)
		assert.Equal(t, len(b.Digest), 64)
	}
}

func TestOpenRelativePath(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, fakeTree())
	t.Chdir(filepath.Join(dir, "lib/modules", fakeRelease))
	b, err := openIn(t, ".")
	assert.NilError(t, err)
	assert.Assert(t, b.Modules != "")
	t.Chdir(filepath.Join(dir, "boot"))
	b, err = openIn(t, "vmlinuz-"+fakeRelease)
	assert.NilError(t, err)
	assert.Assert(t, isDir(b.Modules))
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string][]byte{
		"empty":                               {},
		"text":                                []byte("hello\n"),
		"text.deb":                            []byte("<html>404</html>\n"),
		"x.rpm":                               []byte(rpmMagic + "\x03\x00\x00\x00"),
		"none/README":                         []byte("hello\n"),
		"two/vmlinuz-6.1":                     fakeImage("6.1.0"),
		"two/vmlinuz-6.2":                     fakeImage("6.2.0"),
		"mixed/lib/modules/A/vmlinuz":         fakeImage("6.2.0"),
		"mixed/lib/modules/A/modules.builtin": nil,
	})
	for ref, want := range map[string]string{
		"absent":       "does not exist",
		"empty":        "is empty",
		"text":         "is a text file",
		"text.deb":     "not a Debian package",
		"x.rpm":        "is an RPM package",
		"none":         "there is no kernel in",
		"two":          "two/vmlinuz-6.1, ",
		"mixed":        "among the modules of A",
		"text/further": "does not exist",
	} {
		_, err := openIn(t, filepath.Join(dir, ref))
		wantUserError(t, err, want)
	}
	_, err := openIn(t, "/dev/null")
	wantUserError(t, err, "neither a file nor a directory")
	_, err = openIn(t, "apt:-oDir=/")
	wantUserError(t, err, "not the name of a package")
}

// unreadableEnv makes the test binary open the file it names and print the
// error, as a user who is not root.
const unreadableEnv = "KERNEL_TEST_UNREADABLE"

func TestOpenUnreadable(t *testing.T) {
	if ref := os.Getenv(unreadableEnv); ref != "" {
		_, err := Open(context.Background(), ref, Options{Cache: "/nowhere"})
		wantUserError(t, err, "may not be read by this user")
		return
	}
	dir := t.TempDir()
	write(t, dir, map[string][]byte{"vmlinuz-6.1": fakeImage("6.1.0")})
	image := filepath.Join(dir, "vmlinuz-6.1")
	assert.NilError(t, os.Chmod(image, 0))
	cmd := exec.Command(os.Args[0], "-test.run=^TestOpenUnreadable$")
	cmd.Env = append(os.Environ(), unreadableEnv+"="+image)
	if os.Getuid() == 0 {
		asNobody(t, cmd, dir)
	}
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, "%s", out)
}

// asNobody has cmd, which is this test binary, run without root's rights, and
// lets it reach dir.
func asNobody(t *testing.T, cmd *exec.Cmd, dir string) {
	for d := dir; d != filepath.Clean(os.TempDir()) && d != "/"; d = filepath.Dir(d) {
		assert.NilError(t, os.Chmod(d, 0o755))
	}
	self, err := os.ReadFile(os.Args[0])
	assert.NilError(t, err)
	cmd.Path = filepath.Join(dir, "self")
	assert.NilError(t, os.WriteFile(cmd.Path, self, 0o755))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}

func TestNewestFor(t *testing.T) {
	for osRelease, want := range map[string]string{
		"ID=debian\n":                               "linux-image-cloud-amd64",
		"NAME=x\nID=ubuntu\nID_LIKE=debian\n":       "linux-image-virtual",
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n": "linux-image-virtual",
	} {
		got, err := newestFor(osRelease)
		assert.NilError(t, err)
		assert.Equal(t, got[0], want, osRelease)
	}
	_, err := newestFor("ID=fedora\n")
	wantUserError(t, err, "RPM")
	_, err = newestFor("ID=arch\n")
	wantUserError(t, err, "no kernel package of this distribution")
}

func TestOption(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, fakeTree())
	b, err := openIn(t, dir)
	assert.NilError(t, err)
	plain := b.Config
	packed := filepath.Join(dir, "config.gz")
	text, err := os.ReadFile(plain)
	assert.NilError(t, err)
	assert.NilError(t, os.WriteFile(packed, pack(t, ".gz", text), 0o644))
	want := map[string]string{"SMP": "y", "CONFIG_FUSE_FS": "m", "BTRFS_FS": "n", "NOT_NAMED": "n", "NR_CPUS": "64", "NAME": "a b"}
	for _, config := range []string{plain, packed} {
		b.Config = config
		got := maps.Clone(want)
		for name := range got {
			got[name] = b.Option(name)
		}
		assert.DeepEqual(t, got, want)
	}
	b.Config = ""
	assert.Equal(t, b.Option("SMP"), "")
	assert.Equal(t, (&Build{Config: "/absent"}).Option("SMP"), "")
}
