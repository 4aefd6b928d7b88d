package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// rounds is how often each of a race's runners does its part.
const rounds = 12

// A race is several things done at once, again and again, of which each may
// succeed or fail with an error that the others explain. What the overlay shows
// afterwards must not depend on what the caches hold.
type race struct {
	name    string
	doc     string
	options []string
	layer   []node
	setup   func(o *overlay)
	runners []func(o *overlay, round int) error
	allowed []unix.Errno
	after   func(o *overlay)
}

// lostRace is what a call may say of a name that another call has just taken
// away, or put a whiteout in the place of (EEXIST of a copy-up in 6.1).
var lostRace = []unix.Errno{unix.ENOENT, unix.ESTALE, unix.EEXIST}

var races = []race{
	{
		name: "copy-up-of-one-file", doc: "A file copied up by several at once is copied up once, and has what the last of each wrote",
		layer: []node{file("a", "0000")},
		runners: []func(*overlay, int) error{
			writeByte(0), writeByte(1), writeByte(2), writeByte(3),
		},
		after: func(o *overlay) { o.shows(file("a", "wwww")) },
	},
	{
		name: "copy-up-of-two-names", doc: "With index=on, a file copied up by two names at once is one file",
		options: []string{"index=on"}, layer: []node{file("a", "lower")},
		setup: func(o *overlay) { o.do("link", unix.Link(o.inLower("a"), o.inLower("b"))) },
		runners: []func(*overlay, int) error{
			func(o *overlay, _ int) error { return unix.Chmod(o.at("a"), 0o600) },
			func(o *overlay, _ int) error { return unix.Chown(o.at("b"), 1, 2) },
		},
		// One name may be looked up while the other is on its way to the index (seen
		// on 6.1); it is not when it is tried again.
		allowed: []unix.Errno{unix.ESTALE},
		after: func(o *overlay) {
			o.areOne("a", "b", 2)
			o.shows(file("a", "lower").perm(0o600).owned(1, 2), file("b", "lower").perm(0o600).owned(1, 2))
		},
	},
	{
		name: "copy-up-and-unlink", doc: "A file removed while it is copied up is gone",
		layer: manyRacers(),
		runners: []func(*overlay, int) error{
			func(o *overlay, i int) error { return unix.Chmod(o.at(racer(i)), 0o600) },
			func(o *overlay, i int) error { return unix.Unlink(o.at(racer(i))) },
		},
		allowed: lostRace,
		after:   func(o *overlay) { o.shows() },
	},
	{
		name: "copy-up-and-rename", doc: "A file renamed while it is copied up is at its new name alone, whole",
		layer: manyRacers(),
		runners: []func(*overlay, int) error{
			func(o *overlay, i int) error { return opened(unix.O_RDWR)(o.at(racer(i))) },
			func(o *overlay, i int) error { return unix.Rename(o.at(racer(i)), o.at("new"+racer(i))) },
		},
		allowed: lostRace,
		after: func(o *overlay) {
			var want []node
			for i := range rounds {
				want = append(want, file("new"+racer(i), "lower"))
			}
			o.shows(want...)
		},
	},
	{
		name: "create-and-unlink", doc: "A name made and removed by two at once is there whole or not at all",
		layer: []node{file("a", "lower"), file("kept", "")},
		runners: []func(*overlay, int) error{
			func(o *overlay, _ int) error { return os.WriteFile(o.at("a"), []byte("new"), 0o644) },
			func(o *overlay, _ int) error { return unix.Unlink(o.at("a")) },
		},
		allowed: lostRace,
		after: func(o *overlay) {
			o.do("write at the end", os.WriteFile(o.at("a"), []byte("end"), 0o644))
			o.shows(file("a", "end"), file("kept", ""))
		},
	},
	{
		name: "mkdir-and-rmdir", doc: "A directory made and removed by two at once over a whiteout never shows what was below",
		layer: []node{dir("d", file("low", "")), file("kept", "")},
		setup: func(*overlay) {},
		runners: []func(*overlay, int) error{
			func(o *overlay, _ int) error { return unix.Mkdir(o.at("d"), 0o755) },
			func(o *overlay, _ int) error { return unix.Rmdir(o.at("d")) },
			func(o *overlay, _ int) error { return unix.Unlink(o.at("d/low")) },
		},
		allowed: []unix.Errno{unix.ENOENT, unix.EEXIST, unix.ENOTEMPTY, unix.ESTALE},
		after: func(o *overlay) {
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("d")
			o.shows(dir("d"), file("kept", ""))
		},
	},
	{
		name: "renames-that-cross", doc: "Two renames that cross each other lose no file",
		layer: []node{dir("p", file("x", "1")), dir("q", file("y", "2"))},
		runners: []func(*overlay, int) error{
			func(o *overlay, _ int) error { return o.swap("p/x", "q/y") },
			func(o *overlay, _ int) error { return o.swap("q/y", "p/x") },
		},
		after: func(o *overlay) { o.shows(dir("p", file("x", "1")), dir("q", file("y", "2"))) },
	},
	{
		name: "list-and-change", doc: "A directory listed while names come and go lists each of the others once",
		layer: []node{dir("d", file("a", ""), file("b", ""), file("c", ""))},
		runners: []func(*overlay, int) error{
			func(o *overlay, i int) error { return unix.Mkdir(o.at(fmt.Sprint("d/n", i)), 0o755) },
			func(o *overlay, i int) error { return unix.Rmdir(o.at(fmt.Sprint("d/n", i))) },
			func(o *overlay, _ int) error { return o.listsAll("d", "a", "b", "c") },
			func(o *overlay, _ int) error { return o.listsAll("d", "a", "b", "c") },
		},
		allowed: []unix.Errno{unix.ENOENT},
		after:   func(o *overlay) { o.do("look up a", unix.Access(o.at("d/a"), unix.F_OK)) },
	},
	{
		name: "drop-caches-and-write", doc: "Dropping caches while files are copied up and read loses no write",
		layer: manyRacers(),
		runners: []func(*overlay, int) error{
			func(o *overlay, i int) error { return os.WriteFile(o.at(racer(i)), []byte("changed"), 0o644) },
			func(*overlay, int) error { return os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0) },
			func(o *overlay, i int) error { _, err := os.ReadFile(o.at(racer(i))); return err },
		},
		after: func(o *overlay) {
			var want []node
			for i := range rounds {
				want = append(want, file(racer(i), "changed"))
			}
			o.shows(want...)
		},
	},
}

func raceCases() (cases []suites.Case) {
	for _, r := range races {
		cases = append(cases, suites.Case{
			Name: "race-" + r.name,
			Doc:  r.doc + " (POSIX, atomicity of rename, link and unlink; overlayfs.rst, non-directories).",
			Run:  r.run,
		})
	}
	return cases
}

func (r race) run(t *suites.T) {
	var parts []part
	for _, text := range r.options {
		parts = append(parts, option(text))
	}
	o := layers(t, append(parts, lower(r.layer...))...)
	if r.setup != nil {
		r.setup(o)
	}
	o.remember()
	o.do("mount", o.mount())
	var all sync.WaitGroup
	for n, runner := range r.runners {
		all.Go(func() {
			for round := range rounds {
				err := runner(o, round)
				if err != nil && !r.allows(err) {
					t.Errorf("runner %d, round %d: %v", n, round, err)
				}
			}
		})
	}
	all.Wait()
	r.after(o)
}

func (r race) allows(err error) bool {
	for _, allowed := range r.allowed {
		if errors.Is(err, allowed) {
			return true
		}
	}
	return false
}

func racer(i int) string { return fmt.Sprintf("r%02d", i) }

func manyRacers() (nodes []node) {
	for i := range rounds {
		nodes = append(nodes, file(racer(i), "lower"))
	}
	return nodes
}

// writeByte writes a w at one place of file a.
func writeByte(at int64) func(*overlay, int) error {
	return func(o *overlay, _ int) error {
		return withFd(unix.O_WRONLY, func(fd int) error { _, err := unix.Pwrite(fd, []byte("w"), at); return err })(o.at("a"))
	}
}

// swap exchanges two files; each runner does it as often, so that all is in place
// at the end.
func (o *overlay) swap(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, o.at(a), unix.AT_FDCWD, o.at(b), unix.RENAME_EXCHANGE)
}

// listsAll is an error if not every name is listed exactly once.
func (o *overlay) listsAll(name string, want ...string) error {
	entries, err := os.ReadDir(o.at(name))
	if err != nil {
		return err
	}
	times := make(map[string]int)
	for _, e := range entries {
		times[e.Name()]++
	}
	for _, n := range want {
		if times[n] != 1 {
			return fmt.Errorf("%s lists %s %d times", name, n, times[n])
		}
	}
	return nil
}
