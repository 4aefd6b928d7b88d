package harness

import (
	"sync"

	"github.com/kernel-playground/kplay/results"
)

// A Watcher is told what happens while it happens. Its methods are called from
// one goroutine at a time.
type Watcher interface {
	// Notice is given one line that is worth a person's while.
	Notice(line string)
	// Started says that a case begins, Output what it prints.
	Started(name string)
	Output(name, text string)
	// Ended is given the verdict.
	Ended(results.Result)
}

// Deaf is a Watcher that ignores everything.
type Deaf struct{}

// Notice does nothing.
func (Deaf) Notice(string) {}

// Started does nothing.
func (Deaf) Started(string) {}

// Output does nothing.
func (Deaf) Output(string, string) {}

// Ended does nothing.
func (Deaf) Ended(results.Result) {}

// inTurn tells a Watcher one thing at a time.
type inTurn struct {
	mu sync.Mutex
	Watcher
}

func (t *inTurn) Notice(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Watcher.Notice(line)
}

func (t *inTurn) Started(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Watcher.Started(name)
}

func (t *inTurn) Output(name, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Watcher.Output(name, text)
}

func (t *inTurn) Ended(r results.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Watcher.Ended(r)
}
