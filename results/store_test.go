package results

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness/event"
)

func sample() *Run {
	return &Run{Upstream: "v6.1.192", Build: Build{Release: "6.1.0-56-amd64"}, Boots: []Boot{}, Cases: []Result{}}
}

func create(t testing.TB, dir string, run *Run) *Writer {
	t.Helper()
	w, err := Create(dir, run)
	assert.NilError(t, err)
	t.Cleanup(func() { assert.NilError(t, w.Close()) })
	return w
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	dir, err := DefaultDir()
	assert.NilError(t, err)
	assert.Equal(t, dir, "/state/kplay/results")
	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("HOME", "/home/a")
	dir, err = DefaultDir()
	assert.NilError(t, err)
	assert.Equal(t, dir, "/home/a/.local/state/kplay/results")
}

func TestFinishedRunComesBack(t *testing.T) {
	dir, run := t.TempDir(), sample()
	w := create(t, dir, run)
	assert.Equal(t, w.Dir(), filepath.Join(dir, "v6.1.192", "6.1.0-56-amd64", run.ID))
	run.Cases = append(run.Cases, Result{Suite: "s", Case: "c", Verdict: Pass, Boot: 1})
	run.State = Finished
	assert.NilError(t, w.Save(run))
	got, err := Load(dir, Latest)
	assert.NilError(t, err)
	run.Started = run.Started.Round(0)
	assert.Equal(t, mustJSON(t, got), mustJSON(t, run))
	assert.Equal(t, got.Dir, w.Dir())
	assert.Assert(t, got.Good())
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	assert.NilError(t, err)
	return string(data)
}

func TestRunIsRunningUntilItsWriterIsGone(t *testing.T) {
	dir, run := t.TempDir(), sample()
	w := create(t, dir, run)
	got, err := Load(dir, run.ID)
	assert.NilError(t, err)
	assert.Equal(t, got.State, Running)
	assert.NilError(t, w.Close())
	got, err = Load(dir, run.ID)
	assert.NilError(t, err)
	assert.Equal(t, got.State, Unfinished)
	assert.Assert(t, !got.Good())
}

// Cases that run.json lacks come from the events file, whose last line a killed
// writer may have left half written.
func TestKilledRunKeepsItsCases(t *testing.T) {
	dir, run := t.TempDir(), sample()
	w := create(t, dir, run)
	for i := range 3 {
		run.Cases = append(run.Cases, Result{Suite: "s", Case: fmt.Sprint(i), Verdict: Pass})
		assert.NilError(t, w.Event(1, event.Event{Kind: event.Start}))
		assert.NilError(t, w.Save(run))
	}
	_, err := w.events.WriteString(`{"boot":1,"resu`)
	assert.NilError(t, err)
	assert.NilError(t, w.Close())
	got, err := Load(dir, run.ID)
	assert.NilError(t, err)
	assert.Equal(t, len(got.Cases), 3)
	assert.Equal(t, got.Cases[2].FullName(), "s/2")
}

const victimDir = "KPLAY_TEST_VICTIM_DIR"

// TestMain makes this binary the victim of TestKilledWriter when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		fmt.Println(recordForever(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// recordForever writes runs until it is killed, and says when it has begun.
func recordForever(dir string) error {
	for {
		run := sample()
		w, err := Create(dir, run)
		if err != nil {
			return err
		}
		for i := range 20 {
			run.Boots = append(run.Boots, Boot{Number: i + 1})
			run.Cases = append(run.Cases, Result{Suite: "s", Case: fmt.Sprint(i), Verdict: Pass})
			if err := w.Save(run); err != nil {
				return err
			}
			fmt.Println(len(run.Cases))
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
}

// Whenever a writer is killed, all it leaves can be read.
func TestKilledWriter(t *testing.T) {
	for i := range 20 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), victimDir+"="+dir)
		out, err := cmd.StdoutPipe()
		assert.NilError(t, err)
		assert.NilError(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; n <= 2*i && lines.Scan(); n++ {
		}
		assert.NilError(t, cmd.Process.Kill())
		assert.ErrorContains(t, cmd.Wait(), "killed")
		runs, broken, err := List(dir)
		assert.NilError(t, err)
		assert.Equal(t, len(broken), 0, "%v", broken)
		assert.Assert(t, len(runs) > 0)
		for _, run := range runs {
			assert.Equal(t, run.State, Unfinished)
		}
	}
}

func TestFullDiskIsNamed(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	assert.NilError(t, err)
	w := &Writer{dir: t.TempDir(), events: full}
	assert.ErrorContains(t, w.Event(1, event.Event{}), "no space left on device")
	assert.NilError(t, os.Symlink("/dev/full", filepath.Join(w.dir, runFile+".tmp")))
	assert.ErrorContains(t, w.Save(sample()), "no space left on device")
}

func TestNoTemporaryDirectoryStays(t *testing.T) {
	dir, run := t.TempDir(), sample()
	parent := filepath.Join(dir, run.Upstream, run.Build.Release)
	old := filepath.Join(parent, pending+"old")
	assert.NilError(t, os.MkdirAll(old, 0o755))
	long := time.Now().Add(-2 * time.Hour)
	assert.NilError(t, os.Chtimes(old, long, long))
	create(t, dir, run)
	entries, err := os.ReadDir(parent)
	assert.NilError(t, err)
	assert.Equal(t, len(entries), 1)
	assert.Equal(t, entries[0].Name(), run.ID)
}

func TestHostileNamesStayInTheDirectory(t *testing.T) {
	for _, name := range []string{"../../x", "..", ".", "", "a/b", "\x00\n", strings.Repeat("x", 4000), "é"} {
		dir, run := t.TempDir(), sample()
		run.Upstream, run.Build.NVR = name, name
		run.ID = "20261124T053001Z-1"
		w := create(t, dir, run)
		rel, err := filepath.Rel(dir, w.Dir())
		assert.NilError(t, err)
		assert.Equal(t, strings.Count(rel, "/"), 2, rel)
		assert.Assert(t, filepath.IsLocal(rel), rel)
		_, err = Load(dir, run.ID)
		assert.NilError(t, err)
	}
}

func TestSecretsAreNotRecorded(t *testing.T) {
	w := create(t, t.TempDir(), sample())
	assert.NilError(t, w.Event(1, event.Event{Kind: event.Welcome, Key: []byte("key"), Entropy: []byte("dice")}))
	data, err := os.ReadFile(filepath.Join(w.Dir(), eventsFile))
	assert.NilError(t, err)
	assert.Assert(t, !strings.Contains(string(data), "entropy"))
	assert.Assert(t, !strings.Contains(string(data), `"key"`))
}

func TestConsole(t *testing.T) {
	w := create(t, t.TempDir(), sample())
	c, err := w.Console(2)
	assert.NilError(t, err)
	_, err = c.Write([]byte("hello\x00"))
	assert.NilError(t, err)
	assert.NilError(t, c.Close())
	data, err := os.ReadFile(filepath.Join(w.Dir(), "console-2.log"))
	assert.NilError(t, err)
	assert.Equal(t, string(data), "hello\x00")
}

func TestCreateTellsWhatIsInTheWay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	assert.NilError(t, os.WriteFile(file, nil, 0o644))
	_, err := Create(file, sample())
	assert.ErrorContains(t, err, file)
}

func TestTwoRunsOfOneID(t *testing.T) {
	dir, a, b := t.TempDir(), sample(), sample()
	a.ID, b.ID = "1", "1"
	create(t, dir, a)
	_, err := Create(dir, b)
	assert.Assert(t, errors.Is(err, fs.ErrExist), "%v", err)
	left, err := filepath.Glob(filepath.Join(dir, "*", "*", pending+"*"))
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0)
}

// BenchmarkSave is a save after the last of 5000 cases.
func BenchmarkSave(b *testing.B) {
	for _, state := range []State{Running, Finished} {
		b.Run(string(state), func(b *testing.B) {
			run := sample()
			for i := range 5000 {
				run.Cases = append(run.Cases, Result{Suite: "suite", Case: fmt.Sprintf("case-%d", i), Verdict: Pass, Boot: 1})
			}
			w := create(b, b.TempDir(), run)
			run.State = state
			for b.Loop() {
				run.Cases = append(run.Cases, Result{Suite: "suite", Case: "last", Verdict: Pass})
				if err := w.Save(run); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
