package guest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
)

// A runner is, seen from the agent, the child process that runs cases.
type runner struct {
	cmd    *exec.Cmd
	conn   *event.Conn
	sock   net.Conn
	output *output
	used   bool

	ready    chan struct{} // closed when it waits for its first case
	finished chan event.Event
	exited   chan struct{}
}

// isolation is tried in this order: a kernel may lack PID namespaces.
var isolation = []uintptr{
	unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC,
	unix.CLONE_NEWPID | unix.CLONE_NEWNS,
	unix.CLONE_NEWNS,
}

func startRunner(send func(event.Event) error) (*runner, error) {
	var err error
	for i, flags := range isolation {
		var r *runner
		if r, err = launch(send, flags); err == nil {
			isolation = isolation[i:]
			return r, nil
		}
	}
	return nil, err
}

func launch(send func(event.Event) error, flags uintptr) (*runner, error) {
	sock, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	out, outW, err := newOutput(send)
	if err != nil {
		sock.Close()
		return nil, err
	}
	defer outW.Close()
	r := &runner{sock: sock, output: out, ready: make(chan struct{}), finished: make(chan event.Event, 1), exited: make(chan struct{})}
	r.cmd = exec.Command("/proc/self/exe")
	r.cmd.Args = []string{"kplay-runner"}
	r.cmd.Env = append([]string{RoleVar + "=" + roleRunner, InGuestVar + "=1", "PATH=/bin", "HOME=/tmp"}, pace()...)
	r.cmd.Stdout, r.cmd.Stderr = outW, outW
	r.cmd.ExtraFiles = []*os.File{theirs}
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if err := r.cmd.Start(); err != nil {
		sock.Close()
		out.close()
		return nil, err
	}
	go func() {
		r.cmd.Wait()
		close(r.exited)
	}()
	return r, r.greet()
}

// pace has the Go runtime leave a runner alone, which spends its time in system
// calls. With a processor to spare it does not hand on that of each call that
// takes more than 20 µs, as nearly all do under emulation (the runtime's retake):
// that, and no line in the log for each time caches are dropped, took 88 cases from
// 107,000 context switches to 45,000. Without the runtime's signals none of them
// can interrupt a call of a case.
func pace() []string {
	return []string{"GOMAXPROCS=" + strconv.Itoa(runtime.NumCPU()+1), "GOGC=400", "GODEBUG=asyncpreemptoff=1"}
}

// greet gives the runner a key of its own. It keeps stray bytes of a case from
// passing for an event; a case that wants to forge its own verdict can, for it
// is the one that gives it.
func (r *runner) greet() error {
	key := make([]byte, event.KeySize)
	rand.Read(key)
	r.conn = event.NewConn(r.sock, nil, false)
	if err := r.conn.Send(event.Event{Kind: event.Welcome, Key: key}); err != nil {
		return err
	}
	r.conn.Rekey(key)
	go func() {
		for {
			e, err := r.conn.Recv()
			if err != nil {
				return
			}
			switch e.Kind {
			case event.Hello:
				close(r.ready)
			case event.Finish:
				r.finished <- e
			}
		}
	}()
	return nil
}

// await waits until the runner waits for its first case. A template is frozen
// after that: what the runner does before, every clone would do again.
func (r *runner) await() error {
	select {
	case <-r.ready:
		return nil
	case <-r.exited:
		return errors.New("start a runner: " + r.epitaph())
	}
}

// run has the runner run one case, and says how it ended.
func (r *runner) run(e event.Event) event.Event {
	r.used = true
	r.output.begin(e.Case)
	finish := event.Event{Kind: event.Finish, Status: "fail"}
	if err := r.conn.Send(e); err != nil {
		finish.Reason = "the runner does not listen: " + err.Error()
	}
	select {
	case finish = <-r.finished:
	case <-r.exited:
		select { // what it said last counts, if it came with its end
		case finish = <-r.finished:
		default:
			finish.Reason = r.epitaph()
		}
	}
	finish.Case = e.Case
	finish.Dropped = r.output.end()
	return finish
}

// epitaph says how a runner ended that should have gone on.
func (r *runner) epitaph() string {
	r.output.drain()
	if said := r.output.goPanic(); said != "" {
		return "Go panic: " + said
	}
	var status syscall.WaitStatus
	ok := r.cmd.ProcessState != nil
	if ok {
		status, ok = r.cmd.ProcessState.Sys().(syscall.WaitStatus)
	}
	switch {
	case ok && status.Signaled():
		return fmt.Sprintf("the case's process was killed by signal %d (%v)", status.Signal(), status.Signal())
	case ok:
		return fmt.Sprintf("the case's process exited with status %d before the case ended", status.ExitStatus())
	}
	return "the case's process ended before the case"
}

func (r *runner) ended() bool {
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

// end kills the runner and, with its PID namespace, everything it started, and
// waits until they are gone. If that never happens, the case's deadline passes.
func (r *runner) end() {
	r.cmd.Process.Kill()
	<-r.exited
	killStrays()
	r.sock.Close()
	r.output.close()
}

// killStrays kills every process but this one, where there is no PID namespace
// to do it.
func killStrays() {
	if isolation[0]&unix.CLONE_NEWPID == 0 {
		unix.Kill(-1, unix.SIGKILL)
	}
}

func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, nil, fmt.Errorf("make a socket pair: the kernel has no CONFIG_UNIX: %w", err)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	ours := os.NewFile(uintptr(fds[0]), "runner")
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket pair: %w", err)
	}
	return conn, os.NewFile(uintptr(fds[1]), "runner"), nil
}
