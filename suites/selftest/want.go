package selftest

import (
	"io"
	"os"
	"strings"

	"github.com/kernel-playground/kplay/suites"
)

// wantText is what the disk "text" holds.
const wantText = "what the host made"

var disks = []suites.Disk{
	{
		Name: "text", Tool: "cp", Package: "coreutils", Args: []string{"/dev/stdin", "FILE"},
		Content: func(w io.Writer) error { _, err := io.WriteString(w, wantText); return err },
	},
	{Name: "nowhere", Tool: "mkfs.nowhere", Package: "nowhere-progs", Args: []string{"FILE"}},
}

// wants are the cases that ask for what the host has to make or to bring.
var wants = []ending{
	{suites.Case{
		Name:  "disk",
		Doc:   "A case gets a disk that the host made, and each time another copy of it.",
		Disks: []string{"text"},
		Run: func(t *suites.T) {
			for range 2 {
				path := t.Disk("text")
				if b, err := os.ReadFile(path); err != nil || string(b) != wantText {
					t.Errorf("the disk holds %q (%v), want %q", b, err, wantText)
				}
				if err := os.WriteFile(path, []byte("spoilt"), 0o600); err != nil {
					t.Error(err)
				}
			}
		},
	}, Expectation{"PASS", ""}},
	{suites.Case{
		Name:  "disk-not-made",
		Doc:   "A case whose disk the host cannot make is skipped, and says what to install.",
		Disks: []string{"nowhere"},
		Run: func(t *suites.T) {
			t.Disk("nowhere")
			t.Error("there is a disk that nothing can make")
		},
	}, Expectation{"SKIP", "install nowhere-progs"}},
	{suites.Case{
		Name: "disk-not-listed",
		Doc:  "A case that asks for a disk it does not list fails.",
		Run:  func(t *suites.T) { t.Disk("unheard-of") },
	}, Expectation{"FAIL", "open a disk"}},
	{suites.Case{
		Name:  "load",
		Doc:   "A module that a case lists in Loads is loaded, with what it needs, when the case asks for it.",
		Loads: []string{"vfat"},
		Run: func(t *suites.T) {
			has := func() bool {
				b, err := os.ReadFile("/proc/filesystems")
				return err == nil && strings.Contains(string(b), "\tvfat\n")
			}
			if has() {
				t.Skip("vfat is a part of this kernel")
			}
			if t.Load("vfat", "no_such_module"); !has() {
				t.Error("vfat is not loaded")
			}
		},
	}, Expectation{"PASS", ""}},
}
