package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
	"golang.org/x/sys/unix"
)

// A Line is a connection to the agent. A lossy one can be written to and read
// from by anything in the guest.
type Line struct {
	Name  string // "virtio-serial" or "second UART"
	Lossy bool
	net.Conn
}

// An Ending is how a machine's life ended.
type Ending struct {
	// Cause is QEMU's word for it: "guest-reset", "guest-shutdown",
	// "guest-panic", "internal-error"; empty when Kill did it or QEMU died.
	Cause  string
	Killed bool
	Stderr string        // what QEMU said, trimmed
	Wall   time.Duration // from start to end
	CPU    time.Duration // user and system time of the QEMU process
}

// A Machine is a running QEMU.
type Machine struct {
	Args    []string // QEMU's command line
	Version string   // QEMU's version
	Lines   []Line   // to the agent
	Started time.Time
	Running time.Time // when QEMU answered on its control channel

	cmd     *exec.Cmd
	stderr  bytes.Buffer
	monitor *qmp.SocketMonitor
	heard   chan struct{}  // closed when QEMU's last event was noted
	readers sync.WaitGroup // of the console

	halting  atomic.Bool   // it was told to stand still, so that its doing so is no news
	moved    chan string   // how a migration ended
	panicked chan struct{} // see Panicked
	starved  atomic.Bool   // see Starved

	mu     sync.Mutex
	ending Ending
	done   chan struct{}
}

// Start boots a machine. It is killed when ctx ends. The error is a HostError.
func Start(ctx context.Context, s Spec) (*Machine, error) { return launch(ctx, s, s.boot) }

// launch starts a QEMU with the command line that args makes.
func launch(ctx context.Context, s Spec, args func(*inheritance, ends) []string) (*Machine, error) {
	if s.QEMU == "" {
		path, err := Find()
		if err != nil {
			return nil, err
		}
		s.QEMU = path
	}
	m, err := start(s, append(lean, sandbox...), args)
	if err != nil && strings.Contains(err.Error(), "sandbox") {
		m, err = start(s, lean, args) // QEMU was built without seccomp
	}
	if err != nil {
		return nil, &HostError{"start QEMU", err}
	}
	stop := context.AfterFunc(ctx, m.Kill)
	go func() {
		<-m.done
		stop()
	}()
	return m, nil
}

func start(s Spec, first []string, args func(*inheritance, ends) []string) (*Machine, error) {
	dir, err := os.MkdirTemp("", "kplay-qmp-")
	if err != nil {
		return nil, fmt.Errorf("make a directory for the control socket: %w", err)
	}
	defer os.RemoveAll(dir)
	control, err := listen(dir + "/qmp")
	if err != nil {
		return nil, err
	}
	ours, theirs, err := pairs(3)
	if err != nil {
		control.Close()
		return nil, err
	}
	m := &Machine{Started: time.Now(), done: make(chan struct{}), moved: make(chan string, 4), panicked: make(chan struct{}, 1)}
	var in inheritance
	m.cmd = exec.Command(s.QEMU, append(slices.Clone(first), args(&in, ends{control, theirs[0], theirs[1], theirs[2]})...)...)
	m.cmd.Stderr = &m.stderr
	m.cmd.ExtraFiles = in.files
	m.Args = m.cmd.Args
	err = spawn(m.cmd)
	// QEMU has its own copies now, and its end must be seen as the end of them.
	closeAll(append(theirs, control))
	if err != nil {
		for _, c := range ours {
			c.Close()
		}
		return nil, err
	}
	m.attach(s, ours)
	err = m.connect(dir + "/qmp")
	go m.wait(ours)
	if err != nil {
		m.Kill()
		<-m.done
		if said := firstLine(m.ending.Stderr); said != "" {
			return nil, errors.New(said)
		}
		return nil, err
	}
	return m, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// listen makes a listening socket for QEMU to inherit, so that dialling the
// path works before QEMU has come up.
func listen(path string) (*os.File, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for the control channel: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	defer l.Close()
	return l.(*net.UnixListener).File()
}

// pairs makes n connections, and returns our ends and QEMU's.
func pairs(n int) (ours []net.Conn, theirs []*os.File, err error) {
	for range n {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, nil, fmt.Errorf("make a socket pair: %w", err)
		}
		mine := os.NewFile(uintptr(fds[0]), "socketpair")
		conn, err := net.FileConn(mine)
		mine.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("make a socket pair: %w", err)
		}
		ours = append(ours, conn)
		theirs = append(theirs, os.NewFile(uintptr(fds[1]), "socketpair"))
	}
	return ours, theirs, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// attach begins to read the console.
func (m *Machine) attach(s Spec, ours []net.Conn) {
	console, virtio, uart := ours[0], ours[1], ours[2]
	if s.Channel != UART {
		m.Lines = append(m.Lines, Line{"virtio-serial", false, virtio})
	}
	if s.Channel != Virtio {
		m.Lines = append(m.Lines, Line{"second UART", true, uart})
	}
	m.readers.Go(func() { io.Copy(s.Console, console) })
}

func (m *Machine) wait(ours []net.Conn) {
	m.cmd.Wait()
	m.hangUp()
	m.readers.Wait() // the last words come before the end
	m.mu.Lock()
	m.ending.Stderr = strings.TrimSpace(m.stderr.String())
	m.ending.Wall = time.Since(m.Started)
	if st := m.cmd.ProcessState; st != nil {
		m.ending.CPU = st.UserTime() + st.SystemTime()
	}
	m.mu.Unlock()
	for _, c := range ours {
		c.Close()
	}
	close(m.done)
}

// PID is the QEMU process's.
func (m *Machine) PID() int { return m.cmd.Process.Pid }

// CPU is the user and system time the QEMU process has taken, by its ending if
// it has ended.
func (m *Machine) CPU() time.Duration {
	if used := m.Ending().CPU; used > 0 {
		return used
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", m.PID()))
	_, after, _ := strings.Cut(string(b), ") ") // proc(5): fields 3 and on
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / ticks)
}

// ticks is how many of the units of /proc/PID/stat make a second: USER_HZ, which
// is part of the kernel's interface.
const ticks = 100

// Done is closed when QEMU has ended and its last words have been read.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Ending says how the machine ended. It is complete once Done is closed.
func (m *Machine) Ending() Ending {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ending
}

// Kill ends the machine at once. It may be called more than once.
func (m *Machine) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-m.done:
	default:
		m.ending.Killed = m.ending.Cause == ""
		m.cmd.Process.Kill()
	}
}
