package guest

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
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
func runAgent(l line, lossy bool, parcel string, skip int64) error {
	a := &agent{runs: make(chan event.Event, 1), conn: event.NewConn(l, event.ReadyKey, lossy)}
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
	feedWatchdog()
	quietDrops()
	if a.runner, err = startRunner(a.conn.Send); err != nil {
		return err
	}
	if err := a.runner.await(); err != nil {
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
	runtime.GC() // or each clone would sweep up after this process's start
	a.mark("ready")
	facts := &event.Facts{Release: kernelRelease(), Filesystems: filesystems(), Marks: a.marks, Modules: mods}
	if err := a.conn.Send(event.Event{Kind: event.Ready, Taint: taint(), Facts: facts}); err != nil {
		return err
	}
	welcome, err := a.rehearse()
	if err != nil {
		return fmt.Errorf("wait for the host's welcome: %w", err)
	}
	if welcome.Kind != event.Welcome || len(welcome.Key) != event.KeySize {
		return fmt.Errorf("wait for the host's welcome: got %q", welcome.Kind)
	}
	a.conn.Rekey(welcome.Key)
	settle(welcome)
	if err := a.conn.Send(event.Event{Kind: event.Hello}); err != nil {
		return err
	}
	go a.log.follow()
	return nil
}

// rehearse answers the host's pings, as the welcome will be, until something
// else comes. What memory that takes is there then when the machine is frozen,
// and no clone has to be given it.
func (a *agent) rehearse() (event.Event, error) {
	for {
		e, err := a.conn.Recv()
		if err != nil || e.Kind != event.Ping {
			return e, err
		}
		settle(e)
		if err := a.conn.Send(event.Event{Kind: event.Pong}); err != nil {
			return e, err
		}
		a.conn.Rekey(event.ReadyKey) // whoever speaks next is new
	}
}

// settle sets right what is the same in all clones.
func settle(e event.Event) {
	setClock(e.WallNS)
	addEntropy(e.Entropy)
	unix.Sethostname([]byte(e.Name))
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
