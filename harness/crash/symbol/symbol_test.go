package symbol

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/crash"
)

// program is an executable with debug information, and a function compiled into
// another.
func program(t *testing.T) *Binary {
	t.Helper()
	name := filepath.Join(t.TempDir(), "vmlinux")
	out, err := exec.Command("go", "build", "-o", name, "./testdata/program").CombinedOutput()
	assert.NilError(t, err, string(out))
	f, err := os.Open(name)
	assert.NilError(t, err)
	t.Cleanup(func() { f.Close() })
	b, err := Open(name, f)
	assert.NilError(t, err)
	return b
}

func TestFramesHaveLines(t *testing.T) {
	b := program(t)
	outer := b.functions["main.outer"]
	assert.Equal(t, len(outer), 1)
	size := outer[0].Size
	inlined := false
	for off := range size {
		frames := b.Frames([]crash.Frame{{Func: "main.outer", Off: off, Size: size, Reliable: true}})
		last := frames[len(frames)-1]
		assert.Equal(t, last.Func, "main.outer")
		assert.Assert(t, strings.Contains(last.File, "program/main.go:"), last.File)
		if len(frames) == 2 {
			inlined = true
			assert.Equal(t, frames[0].Func, "main.add")
			assert.Equal(t, frames[0].Inline, true)
			assert.Assert(t, strings.HasSuffix(frames[0].File, "main.go:6"), frames[0].File)
			assert.Assert(t, strings.HasSuffix(last.File, "main.go:10"), last.File)
		}
	}
	assert.Assert(t, inlined, "no address of outer is in add")
}

func TestFramesOfOthersStay(t *testing.T) {
	b := program(t)
	frames := []crash.Frame{{Func: "nosuch", Off: 1, Size: 2}, {Func: "main.outer", Off: 1, Size: 2, Module: "overlay"}}
	assert.DeepEqual(t, b.Frames(frames), frames)
}

func TestOpenRefuses(t *testing.T) {
	_, err := Open("text", strings.NewReader("no ELF"))
	assert.ErrorContains(t, err, "read debug information of text")
}

func TestModuleName(t *testing.T) {
	for file, want := range map[string]string{
		"vmlinux": "", "/usr/lib/debug/boot/vmlinux-6.1.0": "", "a/overlay.ko": "overlay", "snd-hda.ko.debug": "snd_hda",
	} {
		assert.Equal(t, moduleName(file), want)
	}
}
