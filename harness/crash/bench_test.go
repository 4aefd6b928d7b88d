package crash

import (
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// BenchmarkQuiet is over logs that hold no report, BenchmarkReports over the
// logs in testdata, BenchmarkHostile over text that begins a report in every
// line.
func BenchmarkQuiet(b *testing.B) {
	benchmark(b, repeat(b, "testdata/silent/*.log", 8<<20))
}

func BenchmarkReports(b *testing.B) {
	benchmark(b, repeat(b, "testdata/*.log", 8<<20))
}

func BenchmarkHostile(b *testing.B) {
	hostile := map[string]string{
		"openings": "kernel BUG at x\n",
		"brackets": strings.Repeat("[ 1.", 300) + "\n",
		"dies":     strings.Repeat(": 0000 ", 150) + " [#\n",
		"frames":   "Call Trace:\n f+0x1/0x2\n",
	}
	for name, line := range hostile {
		b.Run(name, func(b *testing.B) { benchmark(b, []byte(strings.Repeat(line, 1<<20/len(line)))) })
	}
}

func benchmark(b *testing.B, log []byte) {
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		Scan(log)
	}
}

// repeat holds the files over and over, at least size bytes.
func repeat(b *testing.B, pattern string, size int) []byte {
	b.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		b.Fatal(err)
	}
	var text []byte
	for len(text) < size {
		for _, name := range names {
			log, err := os.ReadFile(name)
			if err != nil {
				b.Fatal(err)
			}
			text = append(text, log...)
		}
	}
	return text
}

// A stream is read in pieces, with the same result.
func TestScanReader(t *testing.T) {
	for _, name := range logs(t) {
		log := read(t, name)
		records, err := ScanReader(io.LimitReader(strings.NewReader(string(log)), 1<<40))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := render(t, records), render(t, Scan(log)); got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
	}
}

// A reader of endless, and a few times of one long, line.
type flood struct{ left int64 }

func (f *flood) Read(b []byte) (int, error) {
	const line = "[    1.000000] usb 1-1: nothing to see here, and a good deal of it\n"
	if f.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n+len(line) <= len(b) {
		n += copy(b[n:], line)
	}
	if n == 0 {
		n = copy(b, line)
	}
	f.left -= int64(n)
	return n, nil
}

// The memory a stream needs does not grow with its length.
func TestScanReaderIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	records, err := ScanReader(&flood{left: 64 << 20})
	runtime.ReadMemStats(&after)
	if err != nil || len(records) != 0 {
		t.Fatal(records, err)
	}
	// What is allocated is the pieces themselves, one after another; what is
	// held is one of them.
	if got := after.TotalAlloc - before.TotalAlloc; got > 80<<20 {
		t.Errorf("%d bytes allocated for 64 MiB of log", got)
	}
	if got := int64(after.HeapAlloc) - int64(before.HeapAlloc); got > 32<<20 {
		t.Errorf("%d bytes held after 64 MiB of log", got)
	}
}
