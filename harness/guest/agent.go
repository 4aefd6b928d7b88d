package guest

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
)

// An agent is /init of a machine that runs cases: it speaks with the host and
// has runners run the cases. It makes everything ready that can be, and then
// waits: that is where the second template is frozen, whose clones only need to
// be told their name, the time and a key.
type agent struct {
	conn   *event.Conn
	log    *kernelLog
	runs   chan event.Event
	runner *runner // the next case's, or nil
	marks  []event.Mark
}

// runAgent takes over the line to the host, and the modules that lie behind the
// first skip bytes of the file at parcel. It returns only if it cannot go on.
func runAgent(line io.ReadWriter, lossy bool, parcel string, skip int64) error {
	a := &agent{runs: make(chan event.Event, 1), conn: event.NewConn(line, event.ReadyKey, lossy)}
	a.mark("go")
	ignoreSignals()
	addEntropy(nil) // opens what it needs
	// The agent is the last process to be sacrificed when memory runs out.
	os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	mods, err := openParcel(parcel, skip)
	if err != nil {
		return err
	}
	a.mark("modules")
	panicOnNMI()
	if a.runner, err = startRunner(a.conn.Send); err != nil {
		return err
	}
	a.mark("runner")
	if err := a.greet(mods); err != nil {
		return err
	}
	go a.runCases()
	return a.answer()
}

func (a *agent) mark(name string) {
	a.marks = append(a.marks, event.Mark{Name: name, NS: sinceBoot()})
}

// greet says that the agent is ready, and takes this machine's key, name and
// time from the host. The host times the stretch from pace to ready, a fixed
// piece of work, to learn how fast this guest is.
func (a *agent) greet(mods map[string]string) error {
	if err := a.conn.Send(event.Event{Kind: event.Pace}); err != nil {
		return err
	}
	Calibrate()
	a.mark("pace")
	a.log = openKernelLog(a.conn.Send)
	consoleLoud()
	a.mark("ready")
	facts := &event.Facts{Release: kernelRelease(), Filesystems: filesystems(), Marks: a.marks, Modules: mods}
	if err := a.conn.Send(event.Event{Kind: event.Ready, Taint: taint(), Facts: facts}); err != nil {
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
	unix.Sethostname([]byte(welcome.Name))
	if err := a.conn.Send(event.Event{Kind: event.Hello}); err != nil {
		return err
	}
	go a.log.follow()
	return nil
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
			keepClock(e.WallNS)
			a.runs <- e
		case event.Ping:
			err = a.conn.Send(event.Event{Kind: event.Pong})
		case event.Dump:
			showTasks()
			a.log.drain()
			err = a.conn.Send(event.Event{Kind: event.Pong})
		case event.Stop:
			a.log.drain()
			err = a.conn.Send(event.Event{Kind: event.Bye})
		}
		if err != nil {
			return err
		}
	}
}
