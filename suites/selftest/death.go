package selftest

import (
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// deaths are the cases whose process ends before they do.
var deaths = []ending{
	{suites.Case{
		Name: "go-panic",
		Doc:  "A Go panic of the case is caught, and fails it.",
		Run:  func(*suites.T) { panic("provoked") },
	}, Expectation{"FAIL", "Go panic: provoked"}},
	{suites.Case{
		Name: "go-panic-in-goroutine",
		Doc:  "A Go panic that nobody can catch kills the process, and fails the case.",
		Run:  panicInGoroutine,
	}, Expectation{"FAIL", "Go panic: provoked elsewhere"}},
	{suites.Case{
		Name: "go-fatal-error",
		Doc:  "An error the Go runtime does not survive kills the process with status 2, and fails the case.",
		Run:  func(*suites.T) { new(sync.Mutex).Unlock() },
	}, Expectation{"FAIL", ""}},
	{suites.Case{
		Name: "exit-early",
		Doc:  "A process that exits with status 0 before its case has ended did not pass.",
		Run:  func(*suites.T) { os.Exit(0) },
	}, Expectation{"FAIL", "exited with status 0"}},
	{suites.Case{
		Name: "exit-status-3",
		Doc:  "A process that exits during its case fails it, and the status is in the reason.",
		Run:  func(*suites.T) { os.Exit(3) },
	}, Expectation{"FAIL", "exited with status 3"}},
	{suites.Case{
		Name: "exit-in-cleanup",
		Doc:  "A case that skipped, and whose process then exits, has no verdict of its own, and fails.",
		Run:  func(t *suites.T) { t.Cleanup(func() { os.Exit(0) }); t.Skip("not the last word") },
	}, Expectation{"FAIL", "exited with status 0"}},
	{suites.Case{
		Name:    "exit-thread",
		Doc:     "A case whose thread alone exits, as _exit(2) does not but exit(2) does, never ends.",
		Timeout: 3 * time.Second,
		Run:     func(*suites.T) { runtime.LockOSThread(); unix.Syscall(unix.SYS_EXIT, 0, 0, 0) },
	}, Expectation{"TIMEOUT", ""}},
	{suites.Case{
		Name: "kill-self",
		Doc:  "A process killed by signal 9 fails its case.",
		Run:  killSelf,
	}, Expectation{"FAIL", "killed by signal 9"}},
	{suites.Case{
		Name: "kill-others",
		Doc:  "A case can kill neither the agent nor its own process: an init of a PID namespace is immune to signals from within (pid_namespaces(7)).",
		Run:  killOthers,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "reboot",
		Doc:  "reboot(2) in a PID namespace kills its init with SIGHUP and leaves the machine alone (since Linux 3.4).",
		Run:  reboot,
	}, Expectation{"FAIL", "killed by signal 1"}},
	{suites.Case{
		Name:  "close-every-descriptor",
		Doc:   "A process that closes its channel to the agent cannot say that its case passed.",
		Alone: true,
		Run:   closeEverything,
	}, Expectation{"FAIL", ""}},
	{suites.Case{
		Name: "after-death",
		Doc:  "The case after one that lost its process gets its own verdict.",
		Run:  pass,
	}, Expectation{"PASS", ""}},
}

func panicInGoroutine(*suites.T) {
	go panic("provoked elsewhere")
	pauseForever()
}

// killSelf runs into its CPU time limit. The init of a PID namespace cannot
// send itself SIGKILL, but the kernel can: at the hard limit (setrlimit(2)).
func killSelf(t *suites.T) {
	limit := unix.Rlimit{Cur: 1, Max: 1}
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &limit); err != nil {
		t.Fatalf("limit the CPU time: %v", err)
	}
	spin()
}

func killOthers(t *suites.T) {
	unix.Kill(1, unix.SIGKILL)
	// Zero means that the parent is in another PID namespace; kill(2) would
	// take it for this process group.
	if parent := os.Getppid(); parent != 0 {
		unix.Kill(parent, unix.SIGKILL)
	}
	unix.Kill(-1, unix.SIGKILL)
	t.Log("still here")
}

// reboot must not be run in the first PID namespace, where it would work.
func reboot(t *suites.T) {
	if os.Getpid() != 1 {
		t.Skip("this process is not the init of a PID namespace")
	}
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	t.Fatalf("reboot(2) returned: %v", err)
}

func closeEverything(*suites.T) {
	for fd := range 1024 {
		unix.Close(fd)
	}
}

// pauseForever waits in the kernel rather than in the Go runtime, which would
// call a program whose goroutines all wait a deadlock.
func pauseForever() {
	for {
		unix.Pause()
	}
}

func spin() {
	for {
	}
}
