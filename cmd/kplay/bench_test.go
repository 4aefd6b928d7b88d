package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/images/initramfs"
	"github.com/kernel-playground/kplay/images/kernel"
)

// A cost is what a command took.
type cost struct{ wall, cpu time.Duration }

// BenchmarkColdRun sets a cold kplay run of one case that does nothing against
// the least one can type: QEMU with the same kernel and an /init that ends it.
// The two take turns. Reported are ratios; below 1 kplay is the faster one.
func BenchmarkColdRun(b *testing.B) {
	dir := b.TempDir()
	kplay, nothing := goBuild(b, dir, "kplay", "."), goBuild(b, dir, "nothing", "./testdata/nothing")
	cache, err := cacheDir()
	assert.NilError(b, err)
	k, err := kernel.Open(b.Context(), os.Getenv("KPLAY_KERNEL"), kernel.Options{Cache: cache})
	assert.NilError(b, err)
	run := []string{kplay, "run", k.Image, "--accel", "tcg", "--case", "selftest/pass", "--results", dir}
	bare := []string{"qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg", "-m", "512",
		"-serial", "file:/dev/null", "-kernel", k.Image, "-initrd", archive(b, dir, nothing), "-append", "console=ttyS0 quiet panic=-1"}
	spend(b, run) // the uncompressed kernel is kept from the first run on
	var ours, theirs cost
	for b.Loop() {
		ours = ours.plus(spend(b, run))
		theirs = theirs.plus(spend(b, bare))
	}
	b.ReportMetric(float64(ours.wall)/float64(theirs.wall), "wall-ratio")
	b.ReportMetric(float64(ours.cpu)/float64(theirs.cpu), "cpu-ratio")
	b.ReportMetric(ours.wall.Seconds()/float64(b.N), "kplay-s/op")
	b.ReportMetric(theirs.wall.Seconds()/float64(b.N), "bare-s/op")
}

// BenchmarkAssemble is the time to put kplay itself into an initramfs.
func BenchmarkAssemble(b *testing.B) {
	kplay := goBuild(b, b.TempDir(), "kplay", ".")
	for b.Loop() {
		image, err := initramfs.Assemble(b.Context(), initramfs.Spec{Agent: kplay})
		assert.NilError(b, err)
		assert.NilError(b, image.Close())
	}
}

func (c cost) plus(o cost) cost { return cost{c.wall + o.wall, c.cpu + o.cpu} }

func spend(b *testing.B, argv []string) cost {
	begin := time.Now()
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.CombinedOutput()
	assert.NilError(b, err, string(out))
	return cost{time.Since(begin), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

func goBuild(b testing.TB, dir, name, pkg string) string {
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	assert.NilError(b, err, string(out))
	return path
}

func archive(b *testing.B, dir, agent string) string {
	image, err := initramfs.Assemble(b.Context(), initramfs.Spec{Agent: agent})
	assert.NilError(b, err)
	defer image.Close()
	f, err := os.Create(filepath.Join(dir, "nothing.cpio"))
	assert.NilError(b, err)
	defer f.Close()
	_, err = image.WriteTo(f)
	assert.NilError(b, err)
	return f.Name()
}
