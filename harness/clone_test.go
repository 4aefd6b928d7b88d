package harness_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
	"gotest.tools/v3/poll"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/harness/template"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
)

// many has cases that do as good as nothing, of which every fifth-th panics the
// kernel.
func many(n, fifth int) suites.Suite {
	s := suites.Suite{Name: "many", Doc: "Many trivial cases."}
	for i := range n {
		c := suites.Case{Name: fmt.Sprintf("c%03d", i), Doc: "Passes.", Run: tell}
		if fifth > 0 && i%fifth == fifth-1 {
			c.Name, c.Doc, c.Run = fmt.Sprintf("c%03d-panics", i), "Panics the kernel.", crash
		}
		s.Cases = append(s.Cases, c)
	}
	return s
}

// tell says what should differ from one machine to another.
func tell(t *suites.T) {
	b := make([]byte, 16)
	rand.Read(b)
	name, _ := os.Hostname()
	t.Logf("random=%s clock=%d name=%s", hex.EncodeToString(b), time.Now().UnixNano(), name)
}

func crash(t *suites.T) {
	os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	select {}
}

// guestSuites are what the guests of these tests know.
func guestSuites() []suites.Suite { return []suites.Suite{many(200, 0), panicking()} }

func panicking() suites.Suite {
	s := many(200, 5)
	s.Name = "panicking"
	return s
}

// first cuts a suite down to its first n cases.
func first(n int, s suites.Suite) suites.Suite {
	s.Cases = s.Cases[:n]
	return s
}

// private is a cache of the test's own that has all but templates.
func private(t testing.TB, cache string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"vmlinux", "modules", "accel"} {
		if _, err := os.Stat(filepath.Join(cache, name)); err == nil {
			assert.NilError(t, os.Symlink(filepath.Join(cache, name), filepath.Join(dir, name)))
		}
	}
	return dir
}

func execute(t testing.TB, p harness.Plan) *results.Run {
	t.Helper()
	run, err := harness.Execute(t.Context(), p)
	assert.NilError(t, err)
	return run
}

// kinds counts a run's machines by kind.
func kinds(run *results.Run) map[string]int {
	n := make(map[string]int)
	for _, b := range run.Boots {
		n[b.Kind]++
	}
	return n
}

func TestAKernelIsBootedOnce(t *testing.T) {
	b, cache := kerneltest.Build(t)
	p := harness.Plan{Build: b, Cache: private(t, cache), Accel: "tcg", Suites: []suites.Suite{first(3, many(200, 0))}}
	run := execute(t, p)
	assert.Equal(t, kinds(run)[results.KindBoot], 1)
	run = execute(t, p)
	assert.DeepEqual(t, kinds(run), map[string]int{results.KindClone: p.Workers(3)})

	// Another program, or other modules, make another template of the same boot.
	p.Suites = append(p.Suites, suites.Suite{Name: "other", Modules: []string{"overlay"}})
	run = execute(t, p)
	assert.DeepEqual(t, kinds(run), map[string]int{results.KindThaw: 1, results.KindClone: p.Workers(3)})

	// What is damaged is made anew, with a word.
	store := template.Store{Dir: template.Dir(p.Cache)}
	all, err := store.List()
	assert.NilError(t, err)
	assert.Equal(t, len(all), 3)
	for _, i := range all {
		assert.NilError(t, os.Truncate(filepath.Join(store.Dir, i.Key, "ram"), 1<<20))
	}
	var said notices
	p.Watch = &said
	run = execute(t, p)
	assert.Equal(t, kinds(run)[results.KindBoot], 1)
	assert.Assert(t, strings.Contains(strings.Join(said.lines, "\n"), "a template is thrown away: its memory is damaged"), "%q", said.lines)
	assert.Assert(t, run.Good())
}

func TestClonesDiffer(t *testing.T) {
	b, cache := kerneltest.Build(t)
	heard := &listener{at: make(map[string]time.Time), said: make(map[string]string)}
	run := execute(t, harness.Plan{
		Build: b, Cache: cache, Accel: "tcg", Isolate: harness.ByCase, Watch: heard, Suites: []suites.Suite{first(20, many(200, 0))},
	})
	assert.Assert(t, run.Good())
	seen := make(map[string]bool)
	var off []time.Duration
	for name, line := range heard.said {
		_, line, _ = strings.Cut(line, "random=")
		fields := strings.Fields(line)
		for _, f := range []string{fields[0], fields[2]} {
			assert.Assert(t, !seen[f], "%s in two clones", f)
			seen[f] = true
		}
		ns, err := strconv.ParseInt(strings.TrimPrefix(fields[1], "clock="), 10, 64)
		assert.NilError(t, err)
		off = append(off, heard.at[name].Sub(time.Unix(0, ns)))
	}
	assert.Equal(t, len(seen), 40)
	for _, d := range off {
		// The words of the guest take their time on a loaded host; that of the
		// template is further off than this.
		if d.Abs() > 5*time.Second {
			t.Errorf("a guest's clock is %v behind the host's", d)
		}
	}
	t.Logf("clocks behind the host's, with the way of the words: %v", off)
}

// A listener notes what cases print, and when.
type listener struct {
	harness.Deaf
	at   map[string]time.Time
	said map[string]string
}

// Output keeps the text.
func (l *listener) Output(name, text string) { l.at[name], l.said[name] = time.Now(), text }

func TestACrashCostsOneCase(t *testing.T) {
	b, cache := kerneltest.Build(t)
	for _, how := range []harness.Isolation{harness.ByBatch, harness.ByCase, harness.BySuite} {
		t.Run(string(how), func(t *testing.T) {
			run := execute(t, harness.Plan{
				Build: b, Cache: cache, Accel: "tcg", Isolate: how, Parallel: 2, Results: t.TempDir(), Suites: []suites.Suite{first(10, panicking())},
			})
			assert.Equal(t, len(run.Cases), 10)
			machines := make(map[int]int)
			for i, r := range run.Cases {
				want := results.Pass
				if i%5 == 4 {
					want = results.Crash
				}
				assert.Equal(t, r.Verdict, want, "%s: %s", r.Case, r.Reason)
				assert.Equal(t, r.Case, panicking().Cases[i].Name, "results are in the plan's order")
				machines[r.Boot]++
			}
			if how == harness.ByCase {
				assert.Equal(t, len(machines), 10)
			} else {
				assert.Assert(t, len(machines) <= 4, "%v", machines)
			}
		})
	}
}

// TestTwoWantTheSameTemplate has two sessions begin at once, as two kplays do:
// flock(2) tells files apart, not processes.
func TestTwoWantTheSameTemplate(t *testing.T) {
	b, cache := kerneltest.Build(t)
	p := harness.Plan{Build: b, Cache: private(t, cache), Accel: "tcg", Parallel: 1, Suites: []suites.Suite{first(2, many(200, 0))}}
	var both sync.WaitGroup
	var runs [2]*results.Run
	for i := range runs {
		both.Go(func() { runs[i], _ = harness.Execute(t.Context(), p) })
	}
	both.Wait()
	boots := 0
	for _, run := range runs {
		assert.Assert(t, run != nil && run.Good())
		boots += kinds(run)[results.KindBoot]
	}
	assert.Equal(t, boots, 1)
}

// TestQEMUIsKilled kills the machine of a case from outside: that case is an
// error of the harness's, and the next one gets its own verdict.
func TestQEMUIsKilled(t *testing.T) {
	b, cache := kerneltest.Build(t)
	s := many(3, 0)
	killer := &killer{}
	run := execute(t, harness.Plan{Build: b, Cache: cache, Accel: "tcg", Parallel: 1, Watch: killer, Suites: []suites.Suite{s}})
	assert.Equal(t, run.Cases[1].Verdict, results.Error, run.Cases[1].Reason)
	for _, i := range []int{0, 2} {
		assert.Equal(t, run.Cases[i].Verdict, results.Pass, run.Cases[i].Reason)
	}
}

type killer struct{ harness.Deaf }

// Started kills this process's machines at the second case.
func (killer) Started(name string) {
	if !strings.HasSuffix(name, "c001") {
		return
	}
	for _, pid := range children() {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// children are the QEMUs this process has started.
func children() (pids []int) {
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for _, f := range strings.Fields(string(b)) {
			comm, _ := os.ReadFile("/proc/" + f + "/comm")
			if pid, err := strconv.Atoi(f); err == nil && strings.HasPrefix(string(comm), "qemu") {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// TestFullCache has no room for a template: the run goes on without, and says so.
func TestFullCache(t *testing.T) {
	b, cache := kerneltest.Build(t)
	own := private(t, cache)
	full := template.Dir(own)
	assert.NilError(t, os.Mkdir(full, 0o755))
	if err := unix.Mount("tmpfs", full, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	defer unix.Unmount(full, 0)
	var said notices
	run := execute(t, harness.Plan{Build: b, Cache: own, Accel: "tcg", Watch: &said, Suites: []suites.Suite{first(2, many(200, 0))}})
	assert.Assert(t, run.Good())
	assert.Assert(t, strings.Contains(strings.Join(said.lines, "\n"), "no space left on device"), "%q", said.lines)
	left, err := os.ReadDir(full)
	assert.NilError(t, err)
	for _, e := range left {
		assert.Assert(t, strings.HasSuffix(e.Name(), ".lock"), "%s is left", e.Name())
	}
}

// TestNothingIsLeftBehind counts what a run could leave.
func TestNothingIsLeftBehind(t *testing.T) {
	b, cache := kerneltest.Build(t)
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	p := harness.Plan{Build: b, Cache: cache, Accel: "tcg", Isolate: harness.ByCase, Suites: []suites.Suite{first(5, panicking())}}
	execute(t, p) // what is made once is made now
	files := openFiles(t)
	for range 5 {
		execute(t, p)
	}
	assert.Equal(t, len(children()), 0)
	left, err := os.ReadDir(tmp)
	assert.NilError(t, err)
	assert.Equal(t, len(left), 0, "%v", left)
	poll.WaitOn(t, func(poll.LogT) poll.Result { // for the garbage collector to close nothing: all is closed by hand
		if n := openFiles(t); n > files {
			return poll.Continue("%d open files, there were %d", n, files)
		}
		return poll.Success()
	})
}

func openFiles(t *testing.T) int {
	fds, err := os.ReadDir("/proc/self/fd")
	assert.NilError(t, err)
	return len(fds)
}

// TestVmcore has a panicked guest's memory dumped where crash(8) can read of
// which kernel it is.
func TestVmcore(t *testing.T) {
	b, cache := kerneltest.Build(t)
	if _, missing, err := b.ResolveModules([]string{"pvpanic_mmio", "qemu_fw_cfg"}, nil); err != nil || len(missing) > 0 {
		t.Skipf("this kernel lacks %v (%v)", missing, err)
	}
	run := execute(t, harness.Plan{
		Build: b, Cache: cache, Accel: "tcg", Memory: 256, Vmcore: true, Results: t.TempDir(),
		Suites: []suites.Suite{some("panic-sysrq", "after-crash")},
	})
	assert.Equal(t, run.Cases[0].Verdict, results.Crash, run.Cases[0].Reason)
	assert.Equal(t, run.Cases[1].Verdict, results.Pass, run.Cases[1].Reason)
	boot := run.Boots[run.Cases[0].Boot-1]
	assert.Assert(t, boot.Vmcore != "")
	dump, err := os.ReadFile(filepath.Join(run.Dir, boot.Vmcore))
	assert.NilError(t, err)
	assert.Assert(t, strings.HasPrefix(string(dump), "makedumpfile"))
	assert.Assert(t, strings.Contains(string(dump), "OSRELEASE="+b.Release+"\n"), "there is no VMCOREINFO")
}
