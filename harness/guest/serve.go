package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/suites"
)

// socketFD is the descriptor a runner is given to speak with the agent.
const socketFD = 3

// caseDir is where a runner mounts a case's tmpfs.
const caseDir = "/tmp/case"

// serveCases is the life of a runner: it runs the cases the agent names until
// the agent closes the socket or kills it. It returns why it ended.
func serveCases(all []suites.Suite) error {
	os.Unsetenv(RoleVar) // a program a case starts is no runner
	unix.CloseOnExec(socketFD)
	conn := event.NewConn(os.NewFile(socketFD, "agent"), nil, false)
	welcome, err := conn.Recv()
	if err != nil {
		return fmt.Errorf("wait for the agent: %w", err)
	}
	conn.Rekey(welcome.Key)
	if err := ownWorld(); err != nil {
		return err
	}
	runtime.GC() // as in the agent
	if err := conn.Send(event.Event{Kind: event.Hello}); err != nil {
		return err
	}
	for {
		e, err := conn.Recv()
		if err != nil {
			return fmt.Errorf("listen to the agent: %w", err)
		}
		finish := runOne(all, e)
		if err := conn.Send(finish); err != nil {
			return err
		}
	}
}

// ownWorld cuts the runner's mounts off from the agent's, gives it a /proc that
// shows its own PID namespace, and makes it the first to go when memory is short.
func ownWorld() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	if os.Getpid() == 1 {
		if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
			return fmt.Errorf("mount proc: %w", err)
		}
	}
	os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0)
	return os.MkdirAll(caseDir, 0o755)
}

func runOne(all []suites.Suite, order event.Event) event.Event {
	finish := event.Event{Kind: event.Finish, Case: order.Case}
	s, c, ok := suites.Find(all, order.Case)
	if !ok {
		finish.Reason = "the guest knows no such case"
		return finish
	}
	said, err := suites.ParseParams(order.Params)
	if err != nil {
		finish.Reason = err.Error()
		return finish
	}
	before := takeStock()
	if err := unix.Mount("tmpfs", caseDir, "tmpfs", 0, "mode=0755"); err != nil {
		finish.Reason = fmt.Sprintf("mount a tmpfs for the case: %v", err)
		return finish
	}
	o := s.Execute(c, caseDir, said, func(line string) { os.Stdout.WriteString(line + "\n") })
	finish.Status, finish.Reason, finish.GuestNS = string(o.Status), o.Reason, o.Duration.Nanoseconds()
	os.Chdir("/")
	err = unix.Unmount(caseDir, 0)
	finish.Dirty = before.leftBehind(takeStock(), err)
	return finish
}

// A stock is what a case could leave behind for the next one.
type stock struct {
	mounts    []byte
	files     int
	processes int
	routines  int
	umask     int
	uid       int
}

func takeStock() stock {
	var s stock
	s.mounts, _ = os.ReadFile("/proc/self/mountinfo")
	s.files = entries("/proc/self/fd", func(string) bool { return true })
	s.processes = entries("/proc", func(name string) bool { return name[0] >= '1' && name[0] <= '9' })
	s.routines = runtime.NumGoroutine()
	s.umask = unix.Umask(0o022)
	s.uid = os.Geteuid()
	return s
}

func entries(dir string, count func(name string) bool) int {
	d, err := os.Open(dir)
	if err != nil {
		return -1
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	n := 0
	for _, name := range names {
		if count(name) {
			n++
		}
	}
	return n
}

// leftBehind says what the case left behind, or nothing.
func (s stock) leftBehind(now stock, unmount error) string {
	switch {
	case errors.Is(unmount, unix.EBUSY):
		return "something in the working directory is in use"
	case unmount != nil:
		return "the working directory is gone: " + unmount.Error()
	case !bytes.Equal(s.mounts, now.mounts):
		return "mounts"
	case s.files != now.files:
		return "open files"
	case s.processes != now.processes:
		return "processes"
	case s.routines < now.routines:
		return "goroutines"
	case s.umask != now.umask:
		return "a umask"
	case s.uid != now.uid:
		return "other credentials"
	}
	return ""
}
