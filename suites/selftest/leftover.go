package selftest

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// leftovers are the cases that leave something behind, or break what they were
// lent, and those that look whether the next case can tell.
var leftovers = []ending{
	{suites.Case{
		Name:  "leave-process-behind",
		Doc:   "A process that outlives its case ends with the case's PID namespace.",
		Alone: true,
		Run:   leaveProcess,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:  "leave-mount-behind",
		Doc:   "A file system left mounted ends with the case's mount namespace.",
		Alone: true,
		Run:   leaveMount,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:  "unmount-everything",
		Doc:   "A case that unmounts all it can reach hurts its own mount namespace only.",
		Alone: true,
		Run:   unmountEverything,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:  "remount-proc",
		Doc:   "A case that makes its /proc read-only does not make the agent's so.",
		Alone: true,
		Run:   remountProc,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "nothing-left-behind",
		Doc:  "No mount or process of an earlier case is there, and /proc can be written to.",
		Run:  nothingLeft,
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "leave-goroutine-behind",
		Doc:  "A goroutine that outlives its case, and may end the process any time, is left to nobody.",
		Run:  func(*suites.T) { go func() { <-bait; os.Exit(7) }() },
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "after-goroutine",
		Doc:  "The case after it gets a process without that goroutine.",
		Run:  func(*suites.T) { close(bait); <-time.After(100 * time.Millisecond) },
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name: "agent-out-of-sight",
		Doc:  "/proc shows a case the processes of its own PID namespace and no others.",
		Run:  agentOutOfSight,
	}, Expectation{"PASS", ""}},
}

// leftMount is where leave-mount-behind leaves one: outside its directory,
// which the harness removes.
const leftMount = "/proc/sys"

// bait is what the goroutine of leave-goroutine-behind waits for. It is another
// one in another process.
var bait = make(chan struct{})

func leaveProcess(t *suites.T) {
	if err := swarm(3); err != nil {
		t.Error(err)
	}
}

func leaveMount(t *suites.T) {
	for _, dir := range []string{t.TempDir(), leftMount} {
		if err := unix.Mount("left", dir, "tmpfs", 0, ""); err != nil {
			t.Errorf("mount tmpfs on %s: %v", dir, err)
		}
	}
}

func unmountEverything(t *suites.T) {
	points := mountPoints(t)
	slices.Reverse(points)
	for _, p := range points {
		if err := unix.Unmount(p, unix.MNT_DETACH); err != nil {
			t.Logf("unmount %s: %v", p, err)
		}
	}
}

func remountProc(t *suites.T) {
	if err := unix.Mount("", "/proc", "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Errorf("remount /proc read-only: %v", err)
	}
}

func nothingLeft(t *suites.T) {
	if slices.Contains(mountPoints(t), leftMount) {
		t.Errorf("%s is still mounted over", leftMount)
	}
	if n := len(processes(t)); n > 1 {
		t.Errorf("%d processes are here, want 1", n)
	}
	if err := unix.Access("/proc/sysrq-trigger", unix.W_OK); err != nil {
		t.Errorf("write access to /proc: %v", err)
	}
}

func agentOutOfSight(t *suites.T) {
	own, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Skipf("this kernel shows no PID namespaces: %v", err)
	}
	for _, p := range processes(t) {
		if ns, err := os.Readlink(filepath.Join(p, "ns/pid")); err == nil && ns != own {
			t.Errorf("%s is in %s, this case in %s", p, ns, own)
		}
	}
}

// processes are the directories in /proc of what is alive.
func processes(t *suites.T) (alive []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(all) == 0 {
		t.Fatal("/proc shows no process")
	}
	for _, p := range all {
		// Kernel threads and zombies have no program.
		if _, err := os.Readlink(p + "/exe"); err == nil {
			alive = append(alive, p)
		}
	}
	return alive
}

func mountPoints(t *suites.T) (points []string) {
	t.Helper()
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 {
			points = append(points, fields[1])
		}
	}
	return points
}

// clocks are the cases that meddle with the guest's time of day. Deadlines are
// the host's.
var clocks = []ending{
	{suites.Case{
		Name: "set-clock-ahead",
		Doc:  "A case that sets the clock ten years ahead is not out of time.",
		Run:  func(t *suites.T) { shiftClock(t, 10*365*24*time.Hour) },
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:    "set-clock-back",
		Doc:     "A case that sets the clock one year back does not gain time.",
		Timeout: 3 * time.Second,
		Run:     func(t *suites.T) { shiftClock(t, -365*24*time.Hour); pauseForever() },
	}, Expectation{"TIMEOUT", ""}},
}

func shiftClock(t *suites.T, by time.Duration) {
	ts := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		t.Errorf("set the clock: %v", err)
	}
}
