package results

import (
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"gotest.tools/v3/assert"
)

func finished(t *testing.T, dir, upstream, id string) *Run {
	t.Helper()
	run := sample()
	run.Upstream, run.ID, run.State = upstream, id, Finished
	create(t, dir, run)
	return run
}

func TestListOrder(t *testing.T) {
	dir := t.TempDir()
	finished(t, dir, "v6.2-rc2", "20260102T000000Z-aa")
	finished(t, dir, "v6.2-rc10", "20260101T000000Z-aa")
	finished(t, dir, "v6.2-rc10", "20260103T000000Z-aa")
	finished(t, dir, Unknown, "20260104T000000Z-aa")
	finished(t, dir, "v6.2", "20251201T000000Z-aa")
	bad := finished(t, dir, "v6.3", "20260105T000000Z-aa")
	assert.NilError(t, os.WriteFile(filepath.Join(bad.Dir, runFile), []byte("{"), 0o644))
	runs, broken, err := List(dir)
	assert.NilError(t, err)
	var got []string
	for _, r := range runs {
		got = append(got, r.Upstream+" "+r.ID[:8])
	}
	assert.DeepEqual(t, got, []string{"v6.2 20251201", "v6.2-rc10 20260103", "v6.2-rc10 20260101", "v6.2-rc2 20260102", "unknown 20260104"})
	assert.Equal(t, len(broken), 1)
	assert.ErrorContains(t, broken[0], bad.ID)
}

func TestListOfNothing(t *testing.T) {
	runs, broken, err := List(filepath.Join(t.TempDir(), "none"))
	assert.NilError(t, err)
	assert.Equal(t, len(runs)+len(broken), 0)
}

func TestLoadByPrefix(t *testing.T) {
	dir := t.TempDir()
	_, err := Load(dir, Latest)
	assert.ErrorContains(t, err, "there are no runs")
	finished(t, dir, "v6.2", "20260101T000000Z-aa")
	finished(t, dir, "v6.1", "20260101T000000Z-aabb")
	finished(t, dir, "v6.1", "20260202T000000Z-cc")
	for id, want := range map[string]string{
		"20260202":              "20260202T000000Z-cc",
		"20260101T000000Z-aa":   "20260101T000000Z-aa",
		"20260101T000000Z-aab":  "20260101T000000Z-aabb",
		"20260101T000000Z-aabb": "20260101T000000Z-aabb",
		Latest:                  "20260202T000000Z-cc",
	} {
		run, err := Load(dir, id)
		assert.NilError(t, err)
		assert.Equal(t, run.ID, want)
	}
	for id, want := range map[string]string{"2026": "3 runs begin so", "x": "none of the 3 runs", "": "none of the 3 runs"} {
		_, err := Load(dir, id)
		assert.ErrorContains(t, err, want)
	}
}

func TestLoadRefusesANewerSchema(t *testing.T) {
	dir := t.TempDir()
	run := finished(t, dir, "v6.2", "1")
	assert.NilError(t, os.WriteFile(filepath.Join(run.Dir, runFile), []byte(`{"schema": 99}`), 0o644))
	_, err := Load(dir, "1")
	assert.ErrorContains(t, err, "schema 99")
}

func TestCompareUpstream(t *testing.T) {
	want := []string{"", "unknown", "v3.16-rc4", "v3.16", "v6.1-rc1", "v6.1", "v6.1.2", "v6.1.10", "v6.2-rc2", "v6.2-rc10", "v6.2", "v6.10"}
	got := []string{"v6.10", "v6.2", "v3.16", "v6.1.10", "", "v6.2-rc10", "v3.16-rc4", "v6.1-rc1", "v6.1", "unknown", "v6.1.2", "v6.2-rc2"}
	sort.Slice(got, func(i, j int) bool { return CompareUpstream(got[i], got[j]) < 0 })
	assert.DeepEqual(t, got, want)
	assert.Equal(t, CompareUpstream("v6.1", "v6.1"), 0)
}

func TestNewRunsHaveNewIDs(t *testing.T) {
	a, b := sample(), sample()
	a.Started = time.Date(2026, 11, 24, 5, 30, 1, 0, time.UTC)
	b.Started = a.Started
	dir := t.TempDir()
	create(t, dir, a)
	create(t, dir, b)
	assert.Assert(t, a.ID != b.ID)
	assert.Equal(t, a.ID[:17], "20261124T053001Z-")
}
