package guest

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
)

// A loader is /init of a machine that boots: it mounts what every guest needs,
// opens the line to the host, and waits there. That is where a template is
// frozen, so that it lasts as long as the kernel and the loader do: a clone is
// handed the agent of the day, and the modules, by way of the landing.
type loader struct {
	marks []event.Mark
	line  line
	lossy bool
}

// runLoader never returns: when PID 1 ends, the kernel panics.
func runLoader() { giveUp(new(loader).live()) }

// giveUp says on the console, the only way left, why the guest cannot go on. A
// guest that stops by itself without having been told to is an ERROR, never a
// verdict on the kernel.
func giveUp(err error) {
	fmt.Fprintln(os.Stderr, "kplay agent:", err)
	for {
		unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
		time.Sleep(time.Hour)
	}
}

func (l *loader) live() (err error) {
	l.marks = append(l.marks, event.Mark{Name: "kernel", NS: started})
	l.mark("loader start")
	if err := mountAll(); err != nil {
		return err
	}
	mods := loadModules()
	l.mark("transport modules")
	if os.Getenv(ProfileVar) != "" {
		l.marks = splitKernel(l.marks)
	}
	if l.line, l.lossy, err = openLine(os.Getenv(ChannelVar)); err != nil {
		return err
	}
	l.mark("line")
	if err := makeLanding(os.Getenv(LandingVar)); err != nil {
		return err
	}
	l.mark("landing")
	conn := event.NewConn(l.line, event.BootKey, l.lossy)
	if err := conn.Send(event.Event{Kind: event.Knock, Facts: &event.Facts{Marks: l.marks, Modules: mods}}); err != nil {
		return err
	}
	order, err := conn.Recv()
	if err != nil {
		return fmt.Errorf("wait for the host's go: %w", err)
	}
	conn.Close()
	return l.becomeAgent(order)
}

func (l *loader) mark(name string) {
	l.marks = append(l.marks, event.Mark{Name: name, NS: sinceBoot()})
}

// becomeAgent goes on as the agent: of the program that was landed, or of this
// one.
func (l *loader) becomeAgent(order event.Event) error {
	if order.Kind != event.Go || order.Size < order.Program {
		return fmt.Errorf("wait for the host's go: got %q", order.Kind)
	}
	// Without it the first to ask for random bytes would wait more than a second.
	addEntropy(order.Entropy)
	if err := os.Truncate(landing, order.Size); err != nil {
		return fmt.Errorf("take what was landed: %w", err)
	}
	if order.Program == 0 {
		return runAgent(l.line, l.lossy, landing, 0)
	}
	// Symbolic links to the userland's commands lead to it, too.
	if err := os.Rename(landing, initPath); err != nil {
		return fmt.Errorf("take what was landed: %w", err)
	}
	if err := unix.Dup2(int(l.line), lineFD); err != nil { // not closed on exec
		return fmt.Errorf("hand on the line: %w", err)
	}
	os.Setenv(RoleVar, RoleAgent)
	os.Setenv(lossyVar, strconv.FormatBool(l.lossy))
	os.Setenv(programVar, strconv.FormatInt(order.Program, 10))
	return fmt.Errorf("become the landed program: %w", unix.Exec(initPath, []string{initPath}, os.Environ()))
}

// What a loader hands to the agent it becomes.
const (
	lineFD     = 9
	lossyVar   = "KPLAY_LOSSY"
	programVar = "KPLAY_PROGRAM" // how many bytes of initPath are the program
)

// agentOfLoader is the life of an agent that a loader became by exec.
func agentOfLoader() error {
	program, err := strconv.ParseInt(os.Getenv(programVar), 10, 64)
	if err != nil {
		return fmt.Errorf("take over from the loader: %w", err)
	}
	unix.CloseOnExec(lineFD)
	return runAgent(lineFD, os.Getenv(lossyVar) == "true", initPath, program)
}

// ignoreSignals keeps the agent alive: a case may signal every process it can
// see. Not signal.Ignore: children would inherit it.
func ignoreSignals() { signal.Notify(make(chan os.Signal, 1)) }
