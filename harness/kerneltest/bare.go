package kerneltest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/images/initramfs"
	"github.com/kernel-playground/kplay/images/kernel"
)

// A Cost is what a process took, in wall time and in processor time of its own
// and its children.
type Cost struct{ Wall, CPU time.Duration }

// Plus adds two costs.
func (c Cost) Plus(o Cost) Cost { return Cost{c.Wall + o.Wall, c.CPU + o.CPU} }

// Spend runs a command to its end and returns what it took.
func Spend(t testing.TB, argv []string) Cost {
	t.Helper()
	begin := time.Now()
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	return Cost{time.Since(begin), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

// GoBuild builds a package as name in dir, statically, and returns the path.
func GoBuild(t testing.TB, dir, name, pkg string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	assert.NilError(t, err, string(out))
	return path
}

// Bare is the least one can type to boot a kernel: QEMU with its image, quiet,
// and an /init that ends the machine at once. It is what speed is measured
// against.
func Bare(t testing.TB, b *kernel.Build) []string {
	t.Helper()
	dir := t.TempDir()
	_, file, _, _ := runtime.Caller(0)
	nothing := GoBuild(t, dir, "nothing", filepath.Join(filepath.Dir(file), "testdata", "nothing", "main.go"))
	image, err := initramfs.Assemble(t.Context(), initramfs.Spec{Agent: nothing})
	assert.NilError(t, err)
	defer image.Close()
	f, err := os.Create(filepath.Join(dir, "nothing.cpio"))
	assert.NilError(t, err)
	defer f.Close()
	_, err = image.WriteTo(f)
	assert.NilError(t, err)
	return []string{"qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg", "-m", "512",
		"-serial", "file:/dev/null", "-kernel", b.Image, "-initrd", f.Name(), "-append", "console=ttyS0 quiet panic=-1"}
}
