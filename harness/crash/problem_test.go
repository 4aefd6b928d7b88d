package crash

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

func TestScanFiles(t *testing.T) {
	log := read(t, "testdata/6.1-onoops-gpf.log")
	half := strings.Index(string(log[len(log)/2:]), "\n") + len(log)/2 + 1
	cases := []struct {
		name  string
		files map[string][]byte
	}{
		{"kdump", map[string][]byte{"vmcore-dmesg.txt": log}},
		{"pstore", map[string][]byte{
			"dmesg-efi-1": append([]byte("Panic#1 Part1\n"), log[half:]...),
			"dmesg-efi-2": append([]byte("Panic#1 Part2\n"), log[:half]...),
		}},
		{"ABRT", map[string][]byte{"backtrace": []byte("nothing"), "dmesg": log}},
	}
	for _, c := range cases {
		records, ok := ScanFiles(c.files)
		assert.Assert(t, ok, c.name)
		assert.Equal(t, render(t, records), render(t, Scan(log)), c.name)
	}
	_, ok := ScanFiles(map[string][]byte{"other": log})
	assert.Assert(t, !ok)
}

func TestABRTKnowsMore(t *testing.T) {
	records, ok := ScanFiles(map[string][]byte{
		"backtrace":     []byte("WARNING: CPU: 0 PID: 1 at fs/a.c:1 f+0x1/0x2\n"),
		"kernel":        []byte("6.1.0\n"),
		"tainted_short": []byte("P  OE\n"),
		"uuid":          []byte("0123\n"),
		"proc_modules":  []byte("overlay 16384 1 - Live 0x0\nfuse 1 0 - Live 0x0\n"),
	})
	assert.Assert(t, ok && len(records) == 1)
	assert.Equal(t, records[0].Release, "6.1.0")
	assert.Equal(t, records[0].Tainted, "POE")
	assert.Equal(t, records[0].ABRT, "0123")
	assert.DeepEqual(t, records[0].Modules, []string{"overlay", "fuse"})
}

func TestWantedFile(t *testing.T) {
	for name, want := range map[string]bool{"backtrace": true, "dmesg-ramoops-0": true, "vmcore": false, "kernel": true, "vmcore-dmesg.txt": true} {
		assert.Equal(t, WantedFile(name), want, name)
	}
}
