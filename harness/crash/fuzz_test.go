package crash

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"gotest.tools/v3/assert"
)

// seed adds every log in testdata, as it is and in each other form.
func seed(f *testing.F) {
	f.Helper()
	for _, name := range logs(f) {
		f.Add(read(f, name))
	}
	for _, write := range forms {
		f.Add([]byte(reform(read(f, "testdata/format-kasan-uaf-6.8.log"), write)))
	}
	silent, err := filepath.Glob("testdata/silent/*.log")
	assert.NilError(f, err)
	for _, name := range silent {
		f.Add(read(f, name))
	}
	f.Add([]byte("Panic#1 Part2\n<6>[ 1.2] x\nPanic#1 Part1\nx\n"))
	f.Add([]byte(`{"ureport_version": 2, "reason": "x", "problem": {"raw_oops": "BUG: \u0041\n"}}`))
}

// Lines lie in the log, in its order unless it is put in order, and hold no end
// of a line.
func FuzzNormalise(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, log []byte) {
		for _, l := range Normalise(log) {
			assert.Assert(t, l.Start >= 0 && l.Start <= l.End && l.End <= int64(len(log)))
			assert.Assert(t, !strings.Contains(l.Text, "\n"))
		}
		assert.Assert(t, !strings.Contains(message(string(log[:min(len(log), 2000)])), "\r"))
	})
}

// What records say is bounded and fit to be stored, whatever the log says.
func FuzzScan(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, log []byte) {
		records := Scan(log)
		assert.Assert(t, len(records) <= MaxRecords)
		for i, r := range records {
			assert.Assert(t, r.Class != "" && r.Title != "" && r.Signature != "" && r.Severity != "")
			assert.Assert(t, len(r.Raw) <= 3*MaxRaw && len(r.Frames) <= maxFrames)
			assert.Assert(t, utf8.ValidString(r.Title) && utf8.ValidString(r.Raw) && !strings.Contains(r.Summary(), "\n"))
			assert.Assert(t, r.Start >= 0 && r.Start <= r.End && r.End <= int64(len(log)))
			Attribute(r, table, nil)
			likeness, why := Match(r, records[i/2])
			assert.Assert(t, likeness != "" && why != "")
		}
	})
}
