package main

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/images/initramfs"
)

// BenchmarkRun sets kplay run of one case that does nothing, without templates
// and with, and go test of one case of an unchanged suite,
// against a bare boot. All take turns. Reported are ratios; below 1 kplay is the
// faster one.
func BenchmarkRun(b *testing.B) {
	k, _ := kerneltest.Build(b)
	dir := b.TempDir()
	kplay := kerneltest.GoBuild(b, dir, "kplay", ".")
	run := []string{kplay, "run", k.Image, "--accel", "tcg", "--case", "selftest/pass", "--results", dir}
	prune := []string{kplay, "cache", "prune"}
	test := []string{"go", "test", "-count=1", "../../suites/overlayfs", "-accel=tcg", "-run", "TestOverlayfs/rename-lower-dir-is-exdev$"}
	bare := kerneltest.Bare(b, k)
	kerneltest.Spend(b, run) // the uncompressed kernel is kept from the first run on
	kerneltest.Spend(b, test)
	var cold, warm, tested, boot kerneltest.Cost
	for b.Loop() {
		boot = boot.Plus(kerneltest.Spend(b, bare))
		kerneltest.Spend(b, prune)
		cold = cold.Plus(kerneltest.Spend(b, run))
		warm = warm.Plus(kerneltest.Spend(b, run))
		kerneltest.Spend(b, test)
		tested = tested.Plus(kerneltest.Spend(b, test))
	}
	for name, c := range map[string]kerneltest.Cost{"cold": cold, "warm": warm, "gotest": tested} {
		b.ReportMetric(float64(c.Wall)/float64(boot.Wall), name+"-wall")
		b.ReportMetric(float64(c.CPU)/float64(boot.CPU), name+"-cpu")
	}
	b.ReportMetric(boot.Wall.Seconds()/float64(b.N), "bare-s")
}

// BenchmarkAssemble is the time to put kplay itself into an initramfs.
func BenchmarkAssemble(b *testing.B) {
	kplay := kerneltest.GoBuild(b, b.TempDir(), "kplay", ".")
	for b.Loop() {
		image, err := initramfs.Assemble(b.Context(), initramfs.Spec{Agent: kplay})
		assert.NilError(b, err)
		assert.NilError(b, image.Close())
	}
}
