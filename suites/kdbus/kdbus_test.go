package kdbus_test

import (
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/suites/kdbus"
)

func TestMain(m *testing.M) { kerneltest.Main(m, kdbus.Suite(), kdbus.Probes()) }

// TestKdbus needs a kernel with kdbus, or the module: -module kdbus=FILE.ko.
func TestKdbus(t *testing.T) { kerneltest.Run(t, kdbus.Suite()) }

func TestSuitesAreWellFormed(t *testing.T) {
	assert.NilError(t, kdbus.Suite().Check())
	assert.NilError(t, kdbus.Probes().Check())
}
