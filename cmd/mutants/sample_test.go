package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/overlayfs"
)

func TestMain(m *testing.M) { kerneltest.Main(m, overlayfs.Suite()) }

// sampled are the mutants TestSample plants, one each for what is copied up,
// what is hidden, what is listed and what is permitted.
const sampled = "copy_up.c/group-forgotten,dir.c/not-opaque-over-whiteout,readdir.c/seek-off-by-one,inode.c/lower-asked-for-writing"

// TestSample plants a few mutants and has the suite kill them. What kills them
// has to pass on the module as it is.
func TestSample(t *testing.T) {
	if testing.Short() {
		t.Skip("builds modules and boots machines")
	}
	if !debian12() {
		t.Skip("the mutants are of the sources of Debian 12, which this is not")
	}
	all, err := manifest()
	assert.NilError(t, err)
	all, err = choose(all, sampled, 0, 0)
	assert.NilError(t, err)
	l := openLab(t)
	assert.NilError(t, l.src.fits(all))
	assert.NilError(t, l.src.buildAll(t.Context(), append(all, mutant{})))

	var killers []suites.Case
	for _, m := range all {
		end, err := l.trial(t.Context(), m)
		assert.NilError(t, err)
		t.Log(end.line(m))
		if end.killer == "" {
			t.Errorf("no case sees that %s %s", m, m.Slip)
		}
		i := slices.IndexFunc(l.suite.Cases, func(c suites.Case) bool { return c.Name == end.killer })
		if i >= 0 && !slices.ContainsFunc(killers, func(c suites.Case) bool { return c.Name == end.killer }) {
			killers = append(killers, l.suite.Cases[i])
		}
	}
	end, err := l.try(t.Context(), mutant{}, killers)
	assert.NilError(t, err)
	t.Logf("the module as it is took %v", end.took.Round(time.Second))
	assert.Equal(t, end.killer, "", "the module as it is fails: %s", end.reason)
}

// debian12 reports whether this machine's packages are those of Debian 12.
func debian12() bool {
	text, _ := os.ReadFile("/etc/os-release")
	return strings.Contains(string(text), "VERSION_CODENAME=bookworm")
}

// openLab skips the test for want of something, unless that is forbidden.
func openLab(t *testing.T) *lab {
	t.Helper()
	cache, err := os.UserCacheDir()
	assert.NilError(t, err)
	cache = filepath.Join(cache, "kplay")
	src, err := fetch(t.Context(), cache)
	var l *lab
	if err == nil {
		l, err = newLab(t.Context(), src, cache)
	}
	if err == nil {
		_, err = vm.Find()
	}
	var user kernel.UserError
	var host *vm.HostError
	if os.Getenv(kerneltest.RequireVar) == "" && (errors.As(err, &user) || errors.As(err, &host)) {
		t.Skipf("no mutant can be tried here: %v", err)
	}
	assert.NilError(t, err)
	return l
}
