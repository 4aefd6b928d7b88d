package selftest

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// parts are the cases a part of which runs in a process of its own, born in a
// user namespace and a mount namespace.
var parts = []ending{
	{suites.Case{
		Name:   "part-in-user-namespace",
		Doc:    "A part of a case is root of the user namespace it was born in, with the IDs that were mapped, and what it mounts is its own.",
		Run:    func(t *suites.T) { enter(t); nothingMounted(t) },
		Within: inUserNamespace,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:   "part-fails",
		Doc:    "An error of a part fails the case, and the text is the reason.",
		Run:    func(t *suites.T) { enter(t) },
		Within: func(t *suites.T) { t.Error("wrong in there") },
	}, Expectation{"FAIL", "wrong in there"}},
	{suites.Case{
		Name:   "part-skips",
		Doc:    "A part that skips skips the case.",
		Run:    func(t *suites.T) { enter(t); t.Error("not reached") },
		Within: func(t *suites.T) { t.Skip("no unicorn in there") },
	}, Expectation{"SKIP", "no unicorn in there"}},
	{suites.Case{
		Name:   "part-panics",
		Doc:    "A Go panic of a part is caught, and fails the case.",
		Run:    func(t *suites.T) { enter(t) },
		Within: func(*suites.T) { panic("provoked in there") },
	}, Expectation{"FAIL", "Go panic: provoked in there"}},
	{suites.Case{
		Name:   "part-exits",
		Doc:    "A part whose process exits before its function returns did not pass.",
		Run:    func(t *suites.T) { enter(t) },
		Within: func(*suites.T) { os.Exit(0) },
	}, Expectation{"FAIL", "exit status 0"}},
	{suites.Case{
		Name:   "part-killed",
		Doc:    "A part killed by a signal fails the case, and the signal is in the reason.",
		Run:    func(t *suites.T) { enter(t) },
		Within: func(*suites.T) { unix.Kill(os.Getpid(), unix.SIGKILL); pauseForever() },
	}, Expectation{"FAIL", "killed"}},
}

// mapped is the first of the IDs of the host that stand for those from 0 on.
const mapped = 200000

func enter(t *suites.T) {
	t.Helper()
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: mapped, Size: 1000}}
	t.Enter(t.TempDir(), &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{},
	})
}

func inUserNamespace(t *suites.T) {
	if uid, gid := os.Getuid(), os.Getgid(); uid != 0 || gid != 0 {
		t.Errorf("the part is user %d, group %d, want root", uid, gid)
	}
	for _, name := range []string{"uid_map", "gid_map"} {
		text, err := os.ReadFile("/proc/self/" + name)
		if got := strings.Join(strings.Fields(string(text)), " "); err != nil || got != "0 200000 1000" {
			t.Errorf("%s is %q (%v), want 0 200000 1000", name, got, err)
		}
	}
	if err := unix.Mount("part", t.Dir(), "tmpfs", 0, ""); err != nil {
		t.Errorf("mount a tmpfs: %v", err)
	}
	if err := unix.Chroot("/proc/1/root"); err == nil {
		t.Error("the part may look into a process of the namespace outside")
	}
}

func nothingMounted(t *suites.T) {
	for _, p := range mountPoints(t) {
		if strings.HasPrefix(p, t.Dir()+"/") {
			t.Errorf("%s is mounted outside of the part", p)
		}
	}
}
