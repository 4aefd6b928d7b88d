package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/suites/all"
)

func TestMain(m *testing.M) {
	harness.BeGuest(all.Suites())
	testscript.Main(m, map[string]func(){"kplay": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_STATE_HOME", e.WorkDir+"/state")
			cache, err := os.UserCacheDir()
			e.Setenv("XDG_CACHE_HOME", cache)
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status, "cut": cut},
	})
}

// status runs a command and checks its exit status: status N command [arg...]
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [arg...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// cut keeps the first N bytes of a file: cut N file
func cut(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.ParseInt(args[0], 10, 64)
	ts.Check(err)
	ts.Check(os.Truncate(ts.MkAbs(args[1]), n))
}
