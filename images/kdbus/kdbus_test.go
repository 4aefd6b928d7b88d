package kdbus

import (
	"context"
	"io/fs"
	"os"
	"regexp"
	"testing"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/assert/cmp"
)

func TestEverySourceIsBuilt(t *testing.T) {
	kbuild, err := fs.ReadFile(Source, "module/Kbuild")
	assert.NilError(t, err)
	var built []string
	for _, m := range regexp.MustCompile(`\t([a-z]+)\.o\b`).FindAllStringSubmatch(string(kbuild), -1) {
		built = append(built, "module/"+m[1]+".c")
	}
	sources, err := fs.Glob(Source, "module/*.c")
	assert.NilError(t, err)
	assert.DeepEqual(t, built, sources)
}

func TestBuildTellsWhatMakeSaid(t *testing.T) {
	into := t.TempDir()
	_, err := Build(context.Background(), t.TempDir(), into)
	assert.ErrorContains(t, err, "No rule to make target 'modules'")
	left, err := os.ReadDir(into)
	assert.NilError(t, err)
	assert.Check(t, cmp.Len(left, 0))
}
