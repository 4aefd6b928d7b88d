package harness_test

import (
	"slices"
	"testing"
	"time"

	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/harness/kerneltest"
	"github.com/kernel-playground/kplay/results"
	"github.com/kernel-playground/kplay/suites"
)

// session opens one under TCG, which has its template when it returns.
func session(b *testing.B, isolate harness.Isolation, s suites.Suite) (*harness.Session, harness.Plan) {
	build, cache := kerneltest.Build(b)
	p := harness.Plan{Build: build, Cache: cache, Accel: "tcg", Isolate: isolate, Parallel: 2, Suites: []suites.Suite{s}}
	open, err := harness.Open(b.Context(), p)
	assert.NilError(b, err)
	b.Cleanup(func() { open.Close(nil) })
	one, err := open.Spare(b.Context())
	assert.NilError(b, err)
	one.End()
	return open, p
}

// BenchmarkClone sets a clone's first answer, and that of one loaded before,
// against a bare boot. The three take turns.
func BenchmarkClone(b *testing.B) {
	s, p := session(b, harness.ByBatch, many(200, 0))
	bare := kerneltest.Bare(b, p.Build)
	var boot kerneltest.Cost
	var clone, spare cost
	var pss []int64
	for b.Loop() {
		boot = boot.Plus(kerneltest.Spend(b, bare))
		clone.add(func() time.Duration {
			one, err := s.Spare(b.Context())
			assert.NilError(b, err)
			assert.NilError(b, one.Begin(b.Context()))
			return one.End()
		})
		idle, err := s.Spare(b.Context())
		assert.NilError(b, err)
		loaded, err := s.Spare(b.Context())
		assert.NilError(b, err)
		n, err := harness.PSS(idle.PID())
		assert.NilError(b, err)
		pss = append(pss, n)
		before := idle.End()
		spare.add(func() time.Duration {
			assert.NilError(b, loaded.Begin(b.Context()))
			return loaded.End() - before // what another took to load
		})
	}
	b.ReportMetric(boot.Wall.Seconds()/float64(b.N), "boot-s")
	b.ReportMetric(clone.wall.Seconds()/float64(b.N), "clone-s")
	b.ReportMetric(float64(boot.Wall)/float64(clone.wall), "boots/clone-wall")
	b.ReportMetric(float64(boot.CPU)/float64(clone.cpu), "boots/clone-cpu")
	b.ReportMetric(float64(boot.Wall)/float64(spare.wall), "boots/spare-wall")
	b.ReportMetric(float64(boot.CPU)/float64(spare.cpu), "boots/spare-cpu")
	b.ReportMetric(float64(slices.Max(pss))/(1<<20), "idle-pss-MiB")
}

type cost struct{ wall, cpu time.Duration }

// add does what takes the processor time it returns.
func (c *cost) add(f func() time.Duration) {
	begin := time.Now()
	c.cpu += f()
	c.wall += time.Since(begin)
}

// BenchmarkCases runs 200 cases in three ways, in units of bare boots of
// the same kernel, measured before and after.
func BenchmarkCases(b *testing.B) {
	k, _ := kerneltest.Build(b)
	bare := kerneltest.Bare(b, k)
	for _, c := range []struct {
		name    string
		isolate harness.Isolation
		suite   suites.Suite
		crashes int
	}{
		{"each-in-a-clone", harness.ByCase, many(200, 0), 0},
		{"in-batches", harness.ByBatch, many(200, 0), 0},
		{"40-panic", harness.ByBatch, panicking(), 40},
	} {
		b.Run(c.name, func(b *testing.B) {
			_, p := session(b, c.isolate, c.suite)
			var boots kerneltest.Cost
			var cases cost
			for b.Loop() {
				boots = boots.Plus(kerneltest.Spend(b, bare))
				cases.add(func() time.Duration { check(b, execute(b, p), c.crashes); return 0 })
				boots = boots.Plus(kerneltest.Spend(b, bare))
			}
			b.ReportMetric(2*float64(cases.wall)/float64(boots.Wall), "boots")
			b.ReportMetric(cases.wall.Seconds()/float64(b.N), "s/200")
		})
	}
}

func check(b *testing.B, run *results.Run, crashes int) {
	n := run.Counts()
	assert.Equal(b, n[results.Crash], crashes)
	assert.Equal(b, n[results.Pass], 200-crashes)
}

// BenchmarkPanic is the time from before a case panics the kernel to its
// verdict, the panic itself and the text of it included.
func BenchmarkPanic(b *testing.B) {
	_, p := session(b, harness.ByBatch, panicking())
	p.Parallel = 1
	w := &stopwatch{}
	p.Watch = w
	for b.Loop() {
		execute(b, p)
	}
	slices.Sort(w.took)
	b.ReportMetric(w.took[len(w.took)/2].Seconds(), "median-s")
	b.ReportMetric(w.took[len(w.took)-1].Seconds(), "max-s")
}

// A stopwatch times the cases that crash, from their beginning.
type stopwatch struct {
	harness.Deaf
	begin time.Time
	took  []time.Duration
}

// Started notes when.
func (s *stopwatch) Started(string) { s.begin = time.Now() }

// Ended keeps how long it took.
func (s *stopwatch) Ended(r results.Result) {
	if r.Verdict == results.Crash {
		s.took = append(s.took, time.Since(s.begin))
	}
}
