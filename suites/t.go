package suites

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// A Status is how a case's own code ended. What the kernel said meanwhile, and
// so the verdict, is for the host to judge.
type Status string

// The three ways a case can end by itself.
const (
	Pass Status = "pass"
	Fail Status = "fail"
	Skip Status = "skip"
)

// An Outcome is what a case that ran to its end has to say.
type Outcome struct {
	Status   Status
	Reason   string        // the first error, or why it was skipped
	Duration time.Duration // by the guest's clock, which may run fast or slow
}

// T is what a case is given: the methods of testing.T that make sense in a
// guest, under the same names. All but Log, Logf, Error, Errorf and Fail must
// be called from the goroutine that runs the case.
type T struct {
	name   string
	full   string // with the suite's
	dir    string
	params Params
	out    func(string)

	mu       sync.Mutex
	failed   bool
	skipped  bool
	reason   string
	cleanups []func()
	temps    int
}

// Execute runs c, a case of s, in this process and reports how it ended. dir is
// an empty directory for the case to work in, and said the parameters it was
// given. Each line the case logs goes to out. Cleanup functions run before
// Execute returns, also after a Go panic.
func (s Suite) Execute(c Case, dir string, said Params, out func(line string)) Outcome {
	t := &T{name: c.Name, full: s.FullName(c), dir: dir, params: maps.Clone(c.Params), out: out}
	maps.Copy(t.params, c.Taken(said))
	begin := time.Now()
	done, returned := make(chan struct{}), false
	// A goroutine of its own, so that FailNow can end it by Goexit.
	go func() {
		defer close(done)
		defer t.runCleanups()
		defer t.recoverPanic()
		c.Run(t)
		returned = true
	}()
	<-done
	o := Outcome{Status: Pass, Reason: t.reason, Duration: time.Since(begin)}
	switch {
	case t.failed:
		o.Status = Fail
	case t.skipped:
		o.Status = Skip
	case !returned:
		o.Status, o.Reason = Fail, "the case's goroutine ended before its function returned"
	}
	return o
}

func (t *T) recoverPanic() {
	if p := recover(); p != nil {
		t.Errorf("Go panic: %v", p)
		t.Log(string(debug.Stack()))
	}
}

// runCleanups runs the functions in reverse order; one that ends its goroutine
// or panics does not keep the others from running.
func (t *T) runCleanups() {
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer t.recoverPanic()
			f()
		}()
		<-done
	}
}

// Name is the case's name, without its suite.
func (t *T) Name() string { return t.name }

// Dir is the case's working directory: an empty tmpfs, gone when the case ends.
func (t *T) Dir() string { return t.dir }

// TempDir makes a new directory under Dir.
func (t *T) TempDir() string {
	t.mu.Lock()
	t.temps++
	dir := filepath.Join(t.dir, fmt.Sprintf("tmp%03d", t.temps))
	t.mu.Unlock()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("make a temporary directory: %v", err)
	}
	return dir
}

// Cleanup has f called when the case has ended, last added first.
func (t *T) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// Log writes a line to the case's output.
func (t *T) Log(args ...any) { t.log(fmt.Sprintln(args...)) }

// Logf writes a formatted line to the case's output.
func (t *T) Logf(format string, args ...any) { t.log(fmt.Sprintf(format, args...)) }

// Fail marks the case as failed and lets it go on.
func (t *T) Fail() { t.fail("failed without a reason") }

// FailNow marks the case as failed and ends it.
func (t *T) FailNow() {
	t.Fail()
	runtime.Goexit()
}

// Error is Log followed by Fail.
func (t *T) Error(args ...any) { t.errorLine(fmt.Sprintln(args...)) }

// Errorf is Logf followed by Fail.
func (t *T) Errorf(format string, args ...any) { t.errorLine(fmt.Sprintf(format, args...)) }

// Fatal is Log followed by FailNow.
func (t *T) Fatal(args ...any) {
	t.errorLine(fmt.Sprintln(args...))
	runtime.Goexit()
}

// Fatalf is Logf followed by FailNow.
func (t *T) Fatalf(format string, args ...any) {
	t.errorLine(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// Skip ends the case as skipped; the text must name what is missing.
func (t *T) Skip(args ...any) { t.skip(fmt.Sprintln(args...)) }

// Skipf ends the case as skipped; the text must name what is missing.
func (t *T) Skipf(format string, args ...any) { t.skip(fmt.Sprintf(format, args...)) }

// Failed reports whether the case has failed so far.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// Skipped reports whether the case was skipped.
func (t *T) Skipped() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.skipped
}

// Helper marks the calling function as a helper: its caller's line is the one
// shown with an error.
func (t *T) Helper() {
	var pc [1]uintptr
	if runtime.Callers(2, pc[:]) == 0 {
		return
	}
	if _, known := helperCalls.LoadOrStore(pc[0], true); known {
		return
	}
	frame, _ := runtime.CallersFrames(pc[:]).Next()
	helpers.Store(frame.Function, true)
}

// helpers holds the names of the functions that called Helper, and helperCalls
// where they did: to find a name takes long, and they are the same for every case
// of a process.
var helpers, helperCalls sync.Map

func (t *T) log(s string) { t.out(caller() + strings.TrimSuffix(s, "\n")) }

func (t *T) errorLine(s string) {
	s = strings.TrimSuffix(s, "\n")
	t.out(caller() + s)
	t.fail(s)
}

func (t *T) fail(reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = true
	if t.reason == "" || t.skipped {
		t.reason = firstLine(reason)
	}
}

func (t *T) skip(s string) {
	s = strings.TrimSuffix(s, "\n")
	t.out(caller() + s)
	t.skipFor(s)
}

func (t *T) skipFor(reason string) {
	t.mu.Lock()
	t.skipped = true
	if !t.failed {
		t.reason = firstLine(reason)
	}
	t.mu.Unlock()
	runtime.Goexit()
}

// caller is the "file.go:12: " of the first frame that is neither in this file
// nor in a function that called Helper.
func caller() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		f, more := frames.Next()
		if _, helper := helpers.Load(f.Function); !helper && filepath.Base(f.File) != "t.go" {
			return fmt.Sprintf("%s:%d: ", filepath.Base(f.File), f.Line)
		}
		if !more {
			return ""
		}
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
