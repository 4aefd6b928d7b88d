package guest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
)

// outputLimit is how much of a case's output is passed on, in bytes; a case
// that prints without end must not drown what matters.
const outputLimit = 256 << 10

// An output passes on what a runner writes to its standard output and error.
type output struct {
	pipe *os.File
	send func(event.Event) error

	mu      sync.Mutex
	name    string // the case that is running
	sent    int64
	dropped int64
	tail    []byte // an unfinished line, kept to recognise a Go panic
	panic   string
	buf     [32 << 10]byte
}

func newOutput(send func(event.Event) error) (*output, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make a pipe for a runner's output: %w", err)
	}
	o := &output{pipe: r, send: send}
	go o.follow()
	return o, w, nil
}

// follow passes on output as it comes, until the pipe ends or is closed.
func (o *output) follow() {
	conn, err := o.pipe.SyscallConn()
	if err != nil {
		return
	}
	var end bool
	for !end {
		err := conn.Read(func(fd uintptr) bool {
			var idle bool
			idle, end = o.readAll(int(fd))
			return !idle
		})
		if err != nil {
			return
		}
	}
}

// drain passes on what is in the pipe now.
func (o *output) drain() {
	conn, err := o.pipe.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) { o.readAll(int(fd)) })
}

// readAll reads until there is nothing (idle) or the last writer has gone (end).
func (o *output) readAll(fd int) (idle, end bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		n, err := unix.Read(fd, o.buf[:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return true, false
		case n == 0:
			return false, true
		default:
			o.pass(o.buf[:n])
		}
	}
}

// pass sends a piece of output to the host. o.mu is held.
func (o *output) pass(b []byte) {
	o.watch(b)
	keep := int(max(0, min(outputLimit-o.sent, int64(len(b)))))
	o.dropped += int64(len(b) - keep)
	o.sent += int64(keep)
	if keep > 0 && o.name != "" {
		o.send(event.Event{Kind: event.Output, Case: o.name, Text: printable(b[:keep])})
	}
}

// watch looks for the line with which the Go runtime begins its last words.
func (o *output) watch(b []byte) {
	for o.panic == "" {
		line, rest, complete := bytes.Cut(b, []byte("\n"))
		if room := 512 - len(o.tail); room > 0 {
			o.tail = append(o.tail, line[:min(room, len(line))]...)
		}
		if !complete {
			return
		}
		for _, prefix := range []string{"panic: ", "fatal error: "} {
			if said, ok := strings.CutPrefix(string(o.tail), prefix); ok {
				o.panic = printable([]byte(said))
			}
		}
		o.tail, b = o.tail[:0], rest
	}
}

func (o *output) begin(name string) {
	o.drain()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.name, o.sent, o.dropped, o.panic, o.tail = name, 0, 0, "", o.tail[:0]
}

// end passes on the last output of a case and says how much was dropped.
func (o *output) end() int64 {
	o.drain()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.name = ""
	return o.dropped
}

func (o *output) goPanic() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.panic
}

func (o *output) close() { o.pipe.Close() }

// printable writes bytes that are not UTF-8 as \xNN, for JSON cannot carry them.
func printable(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&s, `\x%02x`, b[0])
		} else {
			s.Write(b[:n])
		}
		b = b[n:]
	}
	return s.String()
}
