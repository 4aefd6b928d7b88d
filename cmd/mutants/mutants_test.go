package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/overlayfs"
)

func TestManifest(t *testing.T) {
	all, err := manifest()
	assert.NilError(t, err)
	perFile := make(map[string]int)
	for _, m := range all {
		perFile[m.file]++
	}
	for _, file := range []string{"copy_up.c", "dir.c", "inode.c", "namei.c", "readdir.c", "super.c", "util.c", "file.c", "export.c"} {
		assert.Assert(t, perFile[file] > 0, "%s has no mutant", file)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"[[mutant]]\nname = 'a'\nslip = 'x'\nold = 'x'\nnew = 'x'": "changes nothing",
		"[[mutant]]\nname = 'a'\nold = 'x'":                        "says no slip",
		"[[mutant]]\nnames = 'a'":                                  "unknown key",
		"[[mutant]]\nname = 'a'\nslip = 'x'\nold = 'x'\n[[mutant]]\nname = 'a'\nslip = 'x'\nold = 'y'": "no name of its own",
	} {
		_, err := parse("dir.toml", text)
		assert.ErrorContains(t, err, want)
	}
}

func TestChoose(t *testing.T) {
	all, err := manifest()
	assert.NilError(t, err)
	for _, n := range []int{1, 8, len(all) - 1, len(all)} {
		some, err := choose(all, "*", n, 7)
		assert.NilError(t, err)
		assert.Equal(t, len(some), n)
		again, err := choose(all, "*", n, 7)
		assert.NilError(t, err)
		assert.DeepEqual(t, names(some), names(again))
		sorted := names(some)
		slices.Sort(sorted)
		assert.Equal(t, len(slices.Compact(sorted)), n, "one was taken twice")
	}
	some, err := choose(all, "export.c/*", 0, 0)
	assert.NilError(t, err)
	assert.Assert(t, len(some) > 0)
	_, err = choose(all, "nosuch", 0, 0)
	assert.ErrorContains(t, err, "no mutant")
}

func names(all []mutant) (out []string) {
	for _, m := range all {
		out = append(out, m.String())
	}
	return out
}

func TestStridedMeetsEveryCase(t *testing.T) {
	for n := range 200 {
		var cases []suites.Case
		for i := range n {
			cases = append(cases, suites.Case{Name: string(rune('a' + i))})
		}
		out := strided(cases)
		seen := make(map[string]bool)
		for _, c := range out {
			seen[c.Name] = true
		}
		assert.Equal(t, len(seen), n)
	}
	assert.Equal(t, len(strided(overlayfs.Suite().Cases)), len(overlayfs.Suite().Cases))
}

func TestOrderBeginsWithKillers(t *testing.T) {
	all := overlayfs.Suite().Cases
	m, k := mutant{file: "dir.c"}, make(killers)
	k.add(m, ending{killer: all[7].Name})
	k.add(m, ending{killer: all[9].Name})
	k.add(m, ending{killer: all[9].Name})
	k.add(mutant{file: "file.c"}, ending{killer: all[11].Name})
	out := k.order(m, all)
	assert.Equal(t, len(out), len(all))
	assert.Equal(t, out[0].Name, all[9].Name)
	assert.Equal(t, out[1].Name, all[7].Name)
	assert.Assert(t, strings.HasPrefix(out[2].Name, broad))
}

func TestStudyGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	killed, survivor, left := mutant{file: "dir.c", Name: "a", Slip: "x"}, mutant{file: "dir.c", Name: "b", Slip: "y: z"}, mutant{file: "dir.c", Name: "c"}
	lines := ending{"rename-file", "FAIL: a: b", 90 * time.Second}.line(killed) + "\n" + ending{took: time.Second}.line(survivor) + "\n"
	assert.NilError(t, os.WriteFile(path, []byte(lines), 0o644))
	s, err := openStudy(path)
	assert.NilError(t, err)
	defer s.close()
	all := []mutant{killed, survivor, left, {file: "dir.c", Name: "d", Equivalent: "why"}}
	assert.DeepEqual(t, names(s.todo(all, false)), []string{untouched, "dir.c/c"})
	assert.Equal(t, s.endings["dir.c/a"].killer, "rename-file")
	sums := s.tally(all)
	assert.Equal(t, sums.killed["dir.c"], 1)
	assert.Equal(t, sums.planted["dir.c"], 2)
	assert.Equal(t, sums.equivalent, 1)
}
