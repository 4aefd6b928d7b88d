package guest

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
)

// An agent is /init: it prepares the guest, speaks with the host, and has
// runners run the cases.
type agent struct {
	conn  *event.Conn
	log   *kernelLog
	runs  chan event.Event
	marks []event.Mark
	mods  map[string]string
}

// runAgent never returns: when PID 1 ends, the kernel panics.
func runAgent() {
	a := &agent{runs: make(chan event.Event, 1)}
	err := a.live()
	// The console is the only way left to say it. A guest that stops by itself
	// without having said bye is an ERROR, never a verdict on the kernel.
	fmt.Fprintln(os.Stderr, "kplay agent:", err)
	for {
		unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		time.Sleep(time.Hour)
	}
}

func (a *agent) live() error {
	// A case may signal every process it can see. Not signal.Ignore: children
	// would inherit it.
	signal.Notify(make(chan os.Signal, 1))
	a.marks = append(a.marks, event.Mark{Name: "kernel", NS: started})
	a.mark("agent start")
	if err := mountAll(); err != nil {
		return err
	}
	// The agent is the last process to be sacrificed when memory runs out.
	os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	a.mods = loadModules()
	a.mark("modules")
	if os.Getenv(ProfileVar) != "" {
		a.marks = splitKernel(a.marks)
	}
	line, lossy, err := openLine(os.Getenv(ChannelVar))
	if err != nil {
		return err
	}
	a.mark("line")
	a.conn = event.NewConn(line, nil, lossy)
	if err := a.greet(); err != nil {
		return err
	}
	go a.runCases()
	return a.answer()
}

func (a *agent) mark(name string) {
	a.marks = append(a.marks, event.Mark{Name: name, NS: sinceBoot()})
}

// greet knocks, takes the key and the time from the host, and says hello. The
// host times the stretch from its welcome to our hello, which holds a fixed
// piece of work, to learn how fast this guest is.
func (a *agent) greet() error {
	if err := a.conn.Send(event.Event{Kind: event.Knock}); err != nil {
		return err
	}
	welcome, err := a.conn.Recv()
	if err != nil {
		return fmt.Errorf("wait for the host's welcome: %w", err)
	}
	if welcome.Kind != event.Welcome || len(welcome.Key) != event.KeySize {
		return fmt.Errorf("wait for the host's welcome: got %q", welcome.Kind)
	}
	a.conn.Rekey(welcome.Key)
	setClock(welcome.WallNS)
	addEntropy(welcome.Entropy)
	Calibrate()
	a.mark("hello")
	if err := a.conn.Send(a.hello()); err != nil {
		return err
	}
	a.log = openKernelLog(a.conn.Send)
	consoleLoud()
	return nil
}

func (a *agent) hello() event.Event {
	return event.Event{
		Kind: event.Hello, Release: kernelRelease(), Taint: taint(),
		Filesystems: filesystems(), Marks: a.marks, Modules: a.mods,
	}
}

func kernelRelease() string {
	var u unix.Utsname
	unix.Uname(&u)
	return unix.ByteSliceToString(u.Release[:])
}

// filesystems lists the types the kernel knows without loading more modules.
func filesystems() []string {
	f, err := os.Open("/proc/filesystems")
	if err != nil {
		return nil
	}
	defer f.Close()
	var types []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		types = append(types, fields[len(fields)-1])
	}
	return types
}

// answer serves the host until it says stop. It never waits for a case.
func (a *agent) answer() error {
	for {
		e, err := a.conn.Recv()
		if err != nil {
			return fmt.Errorf("listen to the host: %w", err)
		}
		switch e.Kind {
		case event.Run:
			a.runs <- e
		case event.Ping:
			err = a.conn.Send(event.Event{Kind: event.Pong})
		case event.Dump:
			showTasks()
			a.log.drain()
			err = a.conn.Send(event.Event{Kind: event.Pong})
		case event.Stop:
			a.log.drain()
			a.conn.Send(event.Event{Kind: event.Bye})
			unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
		}
		if err != nil {
			return err
		}
	}
}
