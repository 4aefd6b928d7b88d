package harness

import (
	"bytes"
	"io"
	"sync"

	"github.com/kernel-playground/kplay/harness/crash"
)

// consoleKept is how much of a console is kept in memory, in bytes. The whole
// goes to the run's directory.
const consoleKept = 1 << 20

// A console takes what a machine's kernel writes to its serial console.
type console struct {
	fatal chan string // gets the first line that reads like a panic

	mu      sync.Mutex
	open    func() (io.WriteCloser, error) // makes file; nil once it has, or if none is wanted
	file    io.WriteCloser                 // may be nil
	kept    []byte                         // the last consoleKept bytes
	dropped int64                          // bytes before kept
	line    []byte                         // the unfinished last line
	told    bool
}

func newConsole() *console { return &console{fatal: make(chan string, 1)} }

// Write takes the next bytes. It never fails: a full disk must not stop the
// guest.
func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.record(b)
	c.kept = append(c.kept, b...)
	if over := len(c.kept) - 2*consoleKept; over > 0 {
		c.dropped += int64(len(c.kept) - consoleKept)
		c.kept = bytes.Clone(c.kept[len(c.kept)-consoleKept:])
	}
	c.watch(b)
	return len(b), nil
}

// watch looks for the first line of a panic, of which only the beginning need
// have come.
func (c *console) watch(b []byte) {
	const enough = 1024
	b = bytes.ReplaceAll(b, []byte(clearScreen), []byte("\n"))
	for !c.told {
		part, rest, complete := bytes.Cut(b, []byte("\n"))
		if room := enough - len(c.line); room > 0 {
			c.line = append(c.line, part[:min(room, len(part))]...)
		}
		if !complete {
			return
		}
		if crash.Fatal(string(c.line)) {
			c.told = true
			c.fatal <- string(c.line)
		}
		c.line, b = c.line[:0], rest
	}
}

// mark is the place where the console stands now.
func (c *console) mark() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dropped + int64(len(c.kept))
}

// since is what was written after a mark, as far as it is kept.
func (c *console) since(mark int64) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.kept[max(0, mark-c.dropped):])
}

// rearm has the console look for a panic again, after one that was none.
func (c *console) rearm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = false
}

// keep has the console written to the file that open makes, from its beginning.
// No file is made for a console on which nothing is written.
func (c *console) keep(open func() (io.WriteCloser, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = open
	c.record(c.kept)
}

// record writes to the file. c.mu is held.
func (c *console) record(b []byte) {
	if c.open != nil && len(b) > 0 {
		if f, err := c.open(); err == nil {
			c.file = f
		}
		c.open = nil
	}
	if c.file != nil {
		c.file.Write(b)
	}
}

func (c *console) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		c.file.Close()
		c.file = nil
	}
}
