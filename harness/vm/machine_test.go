package vm_test

import (
	"context"
	"io"
	"os"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/harness/vm"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// TestKillAtOnce kills machines at every moment of their start, also with a
// command of their control channel half read.
func TestKillAtOnce(t *testing.T) {
	b, _ := kerneltest.Build(t)
	initrd, err := os.Open(b.Image) // the machine does not live to read it
	assert.NilError(t, err)
	defer initrd.Close()
	for i := range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		if i%2 == 1 {
			time.AfterFunc(time.Duration(i)*5*time.Millisecond, cancel)
		}
		m, err := vm.Start(ctx, vm.Spec{Accel: vm.TCG, Kernel: b.Image, Initrd: initrd, Memory: 128, CPUs: 1, Console: io.Discard})
		assert.NilError(t, err)
		m.Kill()
		select {
		case <-m.Done():
		case <-time.After(time.Minute):
			t.Fatalf("machine %d has no end", i)
		}
		cancel()
	}
}
