package overlayfs_test

import (
	"testing"

	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/suites/overlayfs"
)

func TestMain(m *testing.M) { kerneltest.Main(m, overlayfs.Suite()) }

func TestOverlayfs(t *testing.T) { kerneltest.Run(t, overlayfs.Suite()) }
