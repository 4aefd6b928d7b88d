package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/kernel"
)

// witnessWait is how long a machine may take, after the first line of a panic,
// to end or to show that it is alive: a guest can print whatever it likes.
const witnessWait = 1500 * time.Millisecond

// A newborn is a machine that is not ready for cases yet.
type newborn struct {
	machine *vm.Machine
	console *console
	accel   vm.Accel
}

// An answer is what a guest said when it was awaited, or why it did not.
type answer struct {
	line  vm.Line
	conn  *event.Conn
	event event.Event
	at    time.Time
	err   error
}

// receive waits for one event.
func receive(line vm.Line, conn *event.Conn) answer {
	e, err := conn.Recv()
	return answer{line: line, conn: conn, event: e, at: time.Now(), err: err}
}

// await waits for an answer without error, or for a sign that none will come.
func (n newborn) await(ctx context.Context, answers <-chan answer, limit time.Duration) (answer, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	var patience <-chan time.Time
	var last error
	for {
		select {
		case a := <-answers:
			if a.err == nil {
				return a, nil
			}
			last = a.err // the machine's end will tell more
		case <-n.console.fatal:
			patience = time.After(witnessWait)
		case <-patience:
			return answer{}, n.failure(nil)
		case <-n.machine.Done():
			if ctx.Err() != nil {
				return answer{}, ctx.Err()
			}
			return answer{}, n.failure(last)
		case <-deadline.C:
			text := afterFirmware(n.console.since(0))
			return answer{}, &KernelError{
				Reason:  fmt.Sprintf("the kernel did not come up within %v under %s", limit, n.accel),
				Console: string(text), Silent: len(bytes.TrimSpace(text)) == 0,
			}
		}
	}
}

// end kills the machine and waits until it is gone.
func (n newborn) end() {
	n.machine.Kill()
	<-n.machine.Done()
}

// failure says why a machine ended before it was ready.
func (n newborn) failure(last error) error {
	text := afterFirmware(n.console.since(0))
	worst := crash.Worst(crash.Scan(text))
	ending := n.machine.Ending()
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
