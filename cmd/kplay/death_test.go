package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/results"
)

// TestNoMachineOutlivesKplay ends a kplay in the middle of a run, also in the
// way it cannot do anything about, and looks for its machine.
func TestNoMachineOutlivesKplay(t *testing.T) {
	build, _ := kerneltest.Build(t)
	kplay := kerneltest.GoBuild(t, t.TempDir(), "kplay", ".")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(sig.String(), func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(kplay, "run", build.Image, "--accel", "tcg", "--case", "selftest/hang-interruptible", "--timeout", "10m", "--results", dir)
			assert.NilError(t, cmd.Start())
			var machine int
			poll.WaitOn(t, func(poll.LogT) poll.Result {
				if machine = child(cmd.Process.Pid); machine == 0 {
					return poll.Continue("kplay has started no machine")
				}
				return poll.Success()
			}, poll.WithTimeout(time.Minute))
			assert.NilError(t, cmd.Process.Signal(sig))
			cmd.Wait()
			poll.WaitOn(t, func(poll.LogT) poll.Result {
				if syscall.Kill(machine, 0) == nil && state(machine) != "Z" {
					return poll.Continue("the machine is still there")
				}
				return poll.Success()
			}, poll.WithTimeout(time.Minute))
			_, broken, err := results.List(dir)
			assert.NilError(t, err)
			assert.Equal(t, len(broken), 0, "%v", broken)
		})
	}
}

// child is the QEMU that pid has started, or 0. Which thread of pid did is not
// known.
func child(pid int) int {
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for _, f := range strings.Fields(string(b)) {
			comm, _ := os.ReadFile("/proc/" + f + "/comm")
			if n, err := strconv.Atoi(f); err == nil && strings.HasPrefix(string(comm), "qemu") {
				return n
			}
		}
	}
	return 0
}

// state is a process's letter in /proc/PID/stat.
func state(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.SplitN(rest, " ", 2)[0]
}

// TestKilledWhileMakingATemplate kills kplay at the moment it begins to write
// one, and a few more: what the next run finds is whole.
func TestKilledWhileMakingATemplate(t *testing.T) {
	build, _ := kerneltest.Build(t)
	kplay := kerneltest.GoBuild(t, t.TempDir(), "kplay", ".")
	cache := t.TempDir()
	env := append(os.Environ(), "XDG_CACHE_HOME="+cache)
	run := func() *exec.Cmd {
		cmd := exec.Command(kplay, "run", build.Image, "--accel", "tcg", "--case", "selftest/pass", "--results", t.TempDir())
		cmd.Env = env
		return cmd
	}
	for range 2 {
		cmd := run()
		assert.NilError(t, cmd.Start())
		poll.WaitOn(t, func(poll.LogT) poll.Result {
			if found, _ := filepath.Glob(cache + "/kplay/templates/.new-*/ram"); len(found) == 0 {
				return poll.Continue("no template is being written")
			}
			return poll.Success()
		}, poll.WithTimeout(time.Minute), poll.WithDelay(time.Millisecond))
		assert.NilError(t, cmd.Process.Kill())
		cmd.Wait()
	}
	out, err := run().CombinedOutput()
	assert.NilError(t, err, "%s", out)
	list := exec.Command(kplay, "cache", "ls")
	list.Env = env
	text, err := list.Output()
	assert.NilError(t, err)
	assert.Assert(t, !strings.Contains(string(text), "damaged"), "%s", text)
	assert.Assert(t, strings.Contains(string(text), ", booted") && strings.Contains(string(text), ", ready"), "%s", text)
}
