package userland

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

// TestMain makes this program the userland when it is called by the name of a
// command, as the agent does.
func TestMain(m *testing.M) {
	if exit, ok := Run(os.Args); ok {
		os.Exit(exit)
	}
	os.Exit(m.Run())
}

func TestNames(t *testing.T) {
	names := Names()
	assert.Assert(t, slices.IsSorted(names))
	for _, want := range []string{"cat", "cp", "find", "ls", "mkdir", "mv", "rm"} {
		assert.Assert(t, slices.Contains(names, want), want)
	}
	for _, name := range names {
		assert.Equal(t, filepath.Base(name), name)
	}
}

func TestRunLeavesOtherProgramsAlone(t *testing.T) {
	for _, argv := range [][]string{nil, {}, {""}, {"/init"}, {"kplay", "ls"}, {"lsx"}} {
		exit, ok := Run(argv)
		assert.Assert(t, !ok, "%q", argv)
		assert.Equal(t, exit, 0)
	}
}

// call runs the command in dir and gives what it prints and whether it succeeds.
func call(t *testing.T, dir string, argv ...string) (string, error) {
	t.Helper()
	exe, err := os.Executable()
	assert.NilError(t, err)
	cmd := exec.Cmd{Path: exe, Args: argv, Dir: dir}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	assert.NilError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("text\n"), 0o644))
	for _, c := range []struct{ command, want string }{
		{"/bin/cat a", "text\n"},
		{"ls", "a\n"},
		{"mkdir -p d/e", ""},
		{"cp a d/e/b", ""},
		{"mv d/e/b d/c", ""},
		{"touch d/f", ""},
		{"chmod 0600 d/f", ""},
		{"find d -name c", "d/c\n"},
		{"rm -r d", ""},
		{"ls", "a\n"},
		{"base64 a", "dGV4dAo=\n"},
	} {
		out, err := call(t, dir, strings.Fields(c.command)...)
		assert.NilError(t, err, "%s: %s", c.command, out)
		assert.Equal(t, out, c.want, c.command)
	}
}

// u-root's ls is not among them: it tells of a missing file on its standard
// output, and exits with 0.
func TestFailureIsTold(t *testing.T) {
	for _, name := range []string{"cat", "chmod", "cp", "mv", "rm"} {
		out, err := call(t, t.TempDir(), name, "missing", "missing/too")
		assert.ErrorContains(t, err, "exit status 1", name)
		assert.Assert(t, strings.Contains(out, "missing"), "%s: %s", name, out)
	}
}
