package harness

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/kernel"
)

// witnessWait is how long a machine may take, after the first line of a panic,
// to end or to show that it is alive: a guest can print whatever it likes.
const witnessWait = 1500 * time.Millisecond

// A link is a booted machine and what the host hears of it.
type link struct {
	number  int // of the boot, from 1
	machine *vm.Machine
	console *console
	conn    *event.Conn
	hello   event.Event
	knocked time.Time // when the agent had its line
	greeted time.Time // when it was ready for cases
	stretch float64   // how many times slower than this host the guest is

	events chan event.Event // closed when nothing more will come; then lost says why
	lost   error
	taint  uint64        // of the kernel, as last heard
	early  []event.Event // kernel records that came while no case ran
	log    func(event.Event)
}

// greeting is what a handshake yields.
type greeting struct {
	conn             *event.Conn
	hello            event.Event
	knocked, greeted time.Time
	stretch          float64
	err              error
}

// connect boots a machine and shakes hands with its agent.
func connect(ctx context.Context, spec vm.Spec, limit time.Duration) (*link, error) {
	c := newConsole()
	spec.Console = c
	m, err := vm.Start(ctx, spec)
	if err != nil {
		return nil, err
	}
	greetings := make(chan greeting, len(m.Lines))
	for _, line := range m.Lines {
		go func() { greetings <- greet(line) }()
	}
	l := &link{machine: m, console: c, events: make(chan event.Event, 64), log: func(event.Event) {}}
	if err := l.await(ctx, greetings, limit, spec.Accel); err != nil {
		m.Kill()
		<-m.Done()
		return nil, err
	}
	return l, nil
}

func greet(line vm.Line) (g greeting) {
	g.conn = event.NewConn(line, nil, line.Lossy)
	knock, err := g.conn.Recv()
	if err != nil || knock.Kind != event.Knock {
		return greeting{err: fmt.Errorf("wait for the agent: got %q: %w", knock.Kind, err)}
	}
	g.knocked = time.Now()
	secret := make([]byte, event.KeySize+32)
	rand.Read(secret)
	key, entropy := secret[:event.KeySize], secret[event.KeySize:]
	welcome := event.Event{Kind: event.Welcome, Key: key, WallNS: time.Now().UnixNano(), Entropy: entropy}
	if err := g.conn.Send(welcome); err != nil {
		return greeting{err: err}
	}
	g.conn.Rekey(key)
	g.hello, g.err = g.conn.Recv()
	g.greeted = time.Now()
	if g.err == nil && g.hello.Kind != event.Hello {
		g.err = fmt.Errorf("wait for the agent's hello: got %q", g.hello.Kind)
	}
	g.stretch = max(1, float64(g.greeted.Sub(g.knocked))/float64(ownPace()))
	return g
}

// ownPace is how long the guest's measure of its speed takes on this host; the
// best of a few, for others use the host too.
var ownPace = sync.OnceValue(func() time.Duration {
	best := time.Duration(1 << 62)
	for range 5 {
		begin := time.Now()
		guest.Calibrate()
		best = min(best, time.Since(begin))
	}
	return best
})

// await waits for the agent, or for a sign that it will not come.
func (l *link) await(ctx context.Context, greetings <-chan greeting, limit time.Duration, accel vm.Accel) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	var patience <-chan time.Time
	var last error
	for {
		select {
		case g := <-greetings:
			if g.err != nil {
				last = g.err // the machine's end will tell more
				continue
			}
			l.conn, l.hello, l.knocked, l.greeted, l.stretch = g.conn, g.hello, g.knocked, g.greeted, g.stretch
			l.taint = g.hello.Taint
			return nil
		case <-l.console.fatal:
			patience = time.After(witnessWait)
		case <-patience:
			return l.bootFailure(nil)
		case <-l.machine.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return l.bootFailure(last)
		case <-deadline.C:
			text := afterFirmware(l.console.since(0))
			return &KernelError{
				Reason:  fmt.Sprintf("the kernel did not come up within %v under %s", limit, accel),
				Console: string(text), Silent: len(bytes.TrimSpace(text)) == 0,
			}
		}
	}
}

// bootFailure says why a machine ended before its agent was ready.
func (l *link) bootFailure(last error) error {
	text := afterFirmware(l.console.since(0))
	worst := crash.Worst(crash.Scan(text))
	ending := l.machine.Ending()
	switch {
	case worst != nil && worst.Fatal && withoutInitramfs(text):
		return kernel.UserError("the kernel did not take the initramfs: build it with CONFIG_BLK_DEV_INITRD=y")
	case worst != nil && worst.Fatal:
		return &KernelError{Reason: "the kernel died while booting: " + worst.Summary(), Console: string(text)}
	case ending.Stderr != "":
		return &vm.HostError{Deed: "run QEMU", Err: errors.New(lastLine(ending.Stderr))}
	}
	if _, said, ok := strings.Cut(string(text), "kplay agent: "); ok {
		said, _, _ = strings.Cut(said, "\n")
		return &KernelError{Reason: "the guest could not be made ready: " + strings.TrimSpace(said), Console: string(text)}
	}
	reason := "the machine ended while booting, without a word from the kernel"
	if ending.Cause != "" {
		reason += " (" + ending.Cause + ")"
	}
	if last != nil && !errors.Is(last, io.EOF) {
		reason += ": " + last.Error()
	}
	return &KernelError{Reason: reason, Console: string(text), Silent: len(bytes.TrimSpace(text)) == 0}
}

// clearScreen is what the firmware writes to the console last.
const clearScreen = "\x1b[2J"

// afterFirmware is what the kernel wrote to a console.
func afterFirmware(text []byte) []byte {
	if i := bytes.LastIndex(text, []byte(clearScreen)); i >= 0 {
		return text[i+len(clearScreen):]
	}
	return text
}

// withoutInitramfs says whether a kernel that panicked had looked for an init
// anywhere but in the initramfs. One that found /init there but could not run it
// says so (init/main.c, kernel_init).
func withoutInitramfs(text []byte) bool {
	return bytes.Contains(text, []byte("Unable to mount root fs")) ||
		bytes.Contains(text, []byte("No working init found")) && !bytes.Contains(text, []byte("Failed to execute"))
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndex(s, "\n")+1:]
}

// listen passes on what the guest says until it says no more.
func (l *link) listen() {
	for {
		e, err := l.conn.Recv()
		if err != nil {
			l.lost = err
			close(l.events)
			return
		}
		l.log(e)
		l.events <- e
	}
}

// stop asks the guest to end, and ends it.
func (l *link) stop() {
	if l.conn.Send(event.Event{Kind: event.Stop}) == nil {
		l.until(event.Bye, witnessWait)
	}
	l.kill()
}

// until takes events until one of the kind comes, the guest falls silent, or
// the time is up. It returns the kernel's records among them.
func (l *link) until(kind event.Kind, limit time.Duration) (records []event.Event, came bool) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-l.events:
			if !ok || e.Kind == kind {
				return records, ok
			}
			if e.Kind == event.Kmsg {
				records = append(records, e)
			}
		case <-timer.C:
			return records, false
		}
	}
}

// kill ends the machine, and takes what the guest still had said.
func (l *link) kill() {
	l.machine.Kill()
	<-l.machine.Done()
	l.conn.Close()
	for range l.events {
	}
}
