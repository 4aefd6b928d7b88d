package vm

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestOldQEMUIsRefused(t *testing.T) {
	for _, v := range [][2]int{{7, 2}, {7, 3}, {8, 0}, {10, 1}} {
		assert.NilError(t, recent(v[0], v[1]))
	}
	for _, v := range [][2]int{{7, 1}, {6, 9}, {2, 12}} {
		assert.ErrorContains(t, recent(v[0], v[1]), "is too old: install 7.2 or newer")
	}
}
