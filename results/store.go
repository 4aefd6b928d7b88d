package results

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
)

// The files of a run's directory, beside console-1.log and so on, one for each
// boot: a guest can print whatever would set boots apart in a common file.
const (
	runFile    = "run.json"
	eventsFile = "events.jsonl"
)

// saveEvery is how long run.json may lag behind while a run is going on. What
// it lacks is in the events file.
const saveEvery = 2 * time.Second

// pending begins the name of a directory that is not a run yet.
const pending = ".new-"

// DefaultDir is where runs are kept if nobody says otherwise: kplay/results in
// $XDG_STATE_HOME, or in ~/.local/state (XDG Base Directory Specification).
func DefaultDir() (string, error) {
	// The specification has relative paths ignored.
	if state := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "kplay", "results"), nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find the directory for results: %w", err)
	}
	return filepath.Join(home, ".local", "state", "kplay", "results"), nil
}

// A Writer records one run while it goes on. Its methods are not to be called
// at the same time, but for Event and the writers Console returns.
type Writer struct {
	dir    string
	events *os.File // locked as long as the run goes on
	logged int      // cases in the events file
	boots  int      // boots in run.json
	saved  time.Time
}

// Create makes the directory of a new run under dir, and with it dir itself,
// and saves the run there. It fills in Schema, Dir and, where empty, ID, State
// and Started. A process killed meanwhile leaves no run or a readable one.
func Create(dir string, run *Run) (*Writer, error) {
	fill(run)
	parent := filepath.Join(dir, fileName(run.Upstream), fileName(run.Build.label()))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, fmt.Errorf("make a directory for the results: %w", err)
	}
	sweep(parent)
	tmp, err := os.MkdirTemp(parent, pending)
	if err != nil {
		return nil, fmt.Errorf("make a directory for the results: %w", err)
	}
	final := filepath.Join(parent, fileName(run.ID))
	w, err := open(tmp, run)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(tmp))
	}
	if err := os.Rename(tmp, final); err != nil {
		return nil, errors.Join(fmt.Errorf("put the run in its place: %w", err), w.Close(), os.RemoveAll(tmp))
	}
	w.dir, run.Dir = final, final
	return w, nil
}

// fill sets what a new run need not say itself.
func fill(run *Run) {
	run.Schema = Schema
	if run.Started.IsZero() {
		run.Started = time.Now()
	}
	if run.State == "" {
		run.State = Running
	}
	if run.ID == "" {
		var b [3]byte
		rand.Read(b[:]) // never fails: crypto/rand ends the program first
		run.ID = run.Started.UTC().Format("20060102T150405Z") + fmt.Sprintf("-%x", b)
	}
}

func open(dir string, run *Run) (*Writer, error) {
	if err := os.Chmod(dir, 0o755); err != nil { // MkdirTemp's mode is 0700
		return nil, fmt.Errorf("make a directory for the results: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, eventsFile), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("make the events file: %w", err)
	}
	w := &Writer{dir: dir, events: f}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	if err := w.Save(run); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// sweep removes what processes killed in Create left behind. It may fail: the
// remains are in nobody's way.
func sweep(parent string) {
	left, _ := filepath.Glob(filepath.Join(parent, pending+"*"))
	for _, dir := range left {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > time.Hour {
			os.RemoveAll(dir)
		}
	}
}

// Dir is the run's directory.
func (w *Writer) Dir() string { return w.dir }

// Save records the run as it is now. It is cheap enough to be called after each
// case: while the run goes on, cases and boots may only be added to it, and
// run.json is written anew every two seconds, at a new boot, and when the run
// is no longer going on. Cases that run.json lacks are in the events file.
func (w *Writer) Save(run *Run) error {
	for ; w.logged < len(run.Cases); w.logged++ {
		r := &run.Cases[w.logged]
		if err := w.append(entry{Boot: r.Boot, Time: time.Now(), Result: r}); err != nil {
			return err
		}
	}
	if run.State == Running && len(run.Boots) == w.boots && time.Since(w.saved) < saveEvery {
		return nil
	}
	data, err := json.MarshalIndent(run, "", "\t")
	if err != nil {
		return fmt.Errorf("encode run %s: %w", run.ID, err)
	}
	if err := replace(filepath.Join(w.dir, runFile), append(data, '\n')); err != nil {
		return fmt.Errorf("save run %s: %w", run.ID, err)
	}
	w.boots, w.saved = len(run.Boots), time.Now()
	return nil
}

// replace writes the file so that a reader, or a power cut, finds the old
// content or the new.
func replace(name string, data []byte) error {
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), name)
}

// Console makes the file for what a boot writes to its console. The caller
// closes it.
func (w *Writer) Console(boot int) (io.WriteCloser, error) {
	f, err := os.OpenFile(ConsoleFile(w.dir, boot), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("make the console log: %w", err)
	}
	return f, nil
}

// ConsoleFile is the console log of a boot of the run in dir.
func ConsoleFile(dir string, boot int) string {
	return filepath.Join(dir, fmt.Sprintf("console-%d.log", boot))
}

// An entry is a line of the events file: an event, or the result of a case.
type entry struct {
	Boot   int          `json:"boot"`
	Time   time.Time    `json:"time"`
	Event  *event.Event `json:"event,omitempty"`
	Result *Result      `json:"result,omitempty"`
}

// Event appends an event of the boot to the events file; without the machine's
// key and random bytes, which are nobody's business afterwards.
func (w *Writer) Event(boot int, e event.Event) error {
	e.Key, e.Entropy = nil, nil
	return w.append(entry{Boot: boot, Time: time.Now(), Event: &e})
}

// append writes the line in one call, so that lines of several goroutines stay
// whole.
func (w *Writer) append(e entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	if _, err := w.events.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("record an event: %w", err)
	}
	return nil
}

// Close ends the writing. A run that was not saved as finished counts as
// unfinished from then on.
func (w *Writer) Close() error {
	if err := w.events.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("close the events file: %w", err)
	}
	return nil
}

// fileName makes a name of one directory out of a string that a package or a
// guest chose.
func fileName(s string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("._+~-", r):
			return r
		}
		return '_'
	}, s[:min(len(s), 128)])
	if name == "" {
		return Unknown
	}
	if name[0] == '.' {
		return "_" + name[1:]
	}
	return name
}
