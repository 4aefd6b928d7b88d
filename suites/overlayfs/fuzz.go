package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A fuzz does acts at random on an overlay and on a plain tree, which stays its
// model: whatever the acts were, both have to show the same.
type fuzz struct {
	name    string // it may end in a layout
	doc     string
	options []string
	moves   bool   // lower directories can be renamed
	links   bool   // lower hard links stay one file
	seed    uint64 // of the first of its cases, if nothing else is said
}

var fuzzes = []fuzz{
	{"fuzz-plain", "without features that change the layers' form", []string{"redirect_dir=off", "index=off", "metacopy=off"}, false, false, 1},
	{"fuzz-redirect", "with redirects and an index", []string{"redirect_dir=on", "index=on", "metacopy=off"}, true, true, 4},
	{"fuzz-metacopy", "with redirects, an index and copy-up of metadata only", []string{"redirect_dir=on", "index=on", "metacopy=on"}, true, true, 7},
	{"fuzz-layers", "with redirects and copy-up of metadata only", []string{"redirect_dir=on", "index=off", "metacopy=on"}, true, false, 10},
	{"fuzz-export", "with file handles", []string{"redirect_dir=on", "index=on", "nfs_export=on"}, true, true, 13},
	{"fuzz-otherfs@xino", "with lower layers on a file system of their own", []string{"redirect_dir=on", "index=on", "metacopy=off"}, true, true, 15},
}

const (
	fuzzCount  = 2                // cases of each fuzz, with a seed of their own each
	fuzzLong   = 12               // with the long ones
	fuzzActs   = 90               // of a case, if nothing else is said
	fuzzLook   = 5                // acts between two looks at the trees
	fuzzStride = 45               // acts between two looks at all there is, with cold eyes
	fuzzTime   = 60 * time.Second // with what it takes to find few acts
)

// fuzzCases are cases 1 to fuzzLong of each fuzz; case i has the i-th seed from
// the one that was given on.
func fuzzCases() (cases []suites.Case) {
	for _, f := range fuzzes {
		for i := range uint64(fuzzLong) {
			cases = append(cases, suites.Case{
				Name:    f.caseName(i + 1),
				Doc:     "After any acts an overlay " + f.doc + " shows what a plain file system does (overlayfs.rst, introduction).",
				Timeout: fuzzTime,
				Long:    i >= fuzzCount,
				Params:  suites.Params{suites.Seed: fmt.Sprint(f.seed), suites.Ops: fmt.Sprint(fuzzActs)},
				Run:     func(t *suites.T) { f.run(t, i) },
			})
		}
	}
	return cases
}

func (f fuzz) caseName(number uint64) string {
	name, layout, in := strings.Cut(f.name, "@")
	if name = fmt.Sprint(name, "-", number); in {
		name += "@" + layout
	}
	return name
}

func (f fuzz) run(t *suites.T, i uint64) {
	seed, ops := t.Number(suites.Seed)+i, t.Number(suites.Ops)
	acts := f.invent(t, seed, ops)
	wrong, at := f.replay(t, acts, fuzzLook)
	if len(wrong) == 0 {
		return
	}
	acts, wrong = f.shrink(t, acts[:at], wrong)
	t.Errorf("seed %d: the overlay and a plain tree differ: %s", seed, wrong[0])
	t.Logf("on the same kernel, the same again: kplay run KERNEL --case overlayfs/%s --seed %d --ops %d", f.caseName(1), seed, ops)
	for _, line := range wrong[1:] {
		t.Log(line)
	}
	t.Logf("the fewest acts found that lead there, with the mount options %s:", strings.Join(f.options, ","))
	for i, a := range acts {
		t.Logf("%3d. %s", i+1, a)
	}
}

// The layers a fuzz begins with. What is in several has the same name. Others
// than root may change what is in some directories, and what is made in others
// gets a group or access control lists from them.
var (
	fuzzUpper = []node{dir("m", file("u", "upper"), file("both", "upper's")).perm(0o777), dir("pure", file("x", "x")).perm(0o777), whiteout("gone"),
		dir("op", file("new", "new")).opaque(), dir("group", whiteout("g")).owned(0, 9).perm(0o2777)}
	fuzzLower = []node{dir("m", file("l", "lower"), file("both", "lower's"), dir("s", file("deep", long(5000)).xattr("trusted.a", "1"))),
		file("f", "file").perm(0o640).owned(7, 8).xattr("trusted.a", "1"), symlink("ln", "m/l"), file("gone", ""), file("hard", "hard"),
		file("able", "able").perm(0o755).xattr(capability, netRaw()), file("sparse", "data"), dir("op", file("old", "old")),
		dir("group", file("g", ""), file("id", "set-ID").perm(0o6777)).owned(0, 9).perm(0o2777)}
	fuzzBottom = []node{dir("m", file("bottom", "bottom"), file(".hidden", "")), dir("d", file("one", "1"), dir("e", file(".two", "2"))),
		file("f", "hidden"), fifo("pipe"), dir("empty")}
	// fuzzListed is of the topmost lower layer where the file system has lists.
	fuzzListed = dir("list", file("given", "given").perm(0o676).xattr(accessACL, acl(0o606, nobody, 4))).perm(0o777).xattr(defaultACL, acl(0o770, nobody, 7))
)

// merge is what a layer shows over others.
func merge(top, below []node) (merged []node) {
	seen := make(map[string]bool)
	for _, n := range top {
		seen[n.name] = true
		for _, b := range below {
			if b.name == n.name && n.xattrs[opaque] == "" && n.mode&b.mode&unix.S_IFMT == unix.S_IFDIR {
				n.children = merge(n.children, b.children)
			}
		}
		if n.mode != unix.S_IFCHR {
			merged = append(merged, n)
		}
	}
	for _, b := range below {
		if !seen[b.name] {
			merged = append(merged, b)
		}
	}
	return merged
}

// fuzzLowers is what the topmost lower layer begins with.
func fuzzLowers(t *suites.T) []node {
	if !hasACL(t) {
		return fuzzLower
	}
	return append(fuzzLower[:len(fuzzLower):len(fuzzLower)], fuzzListed)
}

// plain makes the model: what the layers show at first, on no overlay.
func (f fuzz) plain(t *suites.T) string {
	t.Helper()
	at := t.TempDir()
	all := merge(fuzzUpper, merge(fuzzLowers(t), fuzzBottom))
	if err := errors.Join(dir("plain", all...).make(at), f.finish(at+"/plain")); err != nil {
		t.Fatalf("make the plain tree: %v", err)
	}
	return at + "/plain"
}

// finish makes what nodes do not describe: a hole at the end of a file, and a
// second name of another.
func (f fuzz) finish(layer string) error {
	err := os.Truncate(layer+"/sparse", 10_000)
	if f.links {
		err = errors.Join(err, os.Link(layer+"/hard", layer+"/m/hard"))
	}
	return errors.Join(err, unix.Chmod(layer, 0o777), setTimes(layer+"/sparse", stamp), setTimes(layer+"/m", stamp), setTimes(layer, stamp))
}

func (f fuzz) overlay(t *suites.T) *overlay {
	t.Helper()
	parts := []part{lower(fuzzLowers(t)...), lower(fuzzBottom...), upper(fuzzUpper...)}
	for _, text := range f.options {
		parts = append(parts, option(text))
	}
	o := layers(t, parts...)
	o.do("finish a lower layer", f.finish(o.lowers[0]))
	o.do("open the upper layer", unix.Chmod(o.upper, 0o777))
	o.remember()
	o.do("mount the overlay", o.mount())
	return o
}

// replay does the acts on a new overlay and on a new plain tree, until they are
// seen to differ, and says in what and after how many. It looks at the trees each
// time it has done as many acts as look says.
func (f fuzz) replay(t *suites.T, acts []act, look int) (wrong []string, at int) {
	t.Helper()
	o := f.overlay(t)
	over, model := &stage{root: o.merged}, &stage{root: f.plain(t)}
	defer func() {
		over.release()
		model.release()
		// The next replay must not meet what this one keeps busy.
		if o.mounted && unix.Unmount(o.merged, unix.MNT_DETACH) == nil {
			o.mounted = false
		}
	}()
	for i, a := range acts {
		if wrong = f.step(o, over, model, a); len(wrong) == 0 && (i+1)%look == 0 {
			_, wrong = f.differences(o, model.root, warm, false)
			wrong = append(wrong, f.heldDifferences(o, over, model)...)
		}
		if len(wrong) > 0 {
			return append([]string{"after " + a.String()}, wrong...), i + 1
		}
		if (i+1)%fuzzStride != 0 && i+1 != len(acts) {
			continue
		}
		over.release()
		model.release()
		wrong = f.lookCold(o, model.root)
		if len(wrong) > 0 {
			return wrong, i + 1
		}
	}
	return nil, len(acts)
}

// exports reports whether there are file handles.
func (f fuzz) exports() bool { return slices.Contains(f.options, "nfs_export=on") }

// counted reports whether link counts are those of a plain tree. Where there are
// file handles, one that was copied up counts the entry of the index once it is
// looked up anew (fs/overlayfs/inode.c, ovl_get_nlink, of a lower file with one
// link; 6.1, 6.12).
func (f fuzz) counted() bool { return f.links && !f.exports() }

// lookCold is differences in every view, with all that must hold besides.
func (f fuzz) lookCold(o *overlay, model string) (wrong []string) {
	var hs handles
	var first tree
	say := func(path, format string, args ...any) {
		wrong = append(wrong, path+": "+fmt.Sprintf(format, args...))
	}
	o.everyView(func(v view) {
		if len(wrong) > 0 {
			return
		}
		hs.follow(o, first, say)
		got, lines := f.differences(o, model, v, true)
		if wrong = append(wrong, lines...); v != warm {
			for path, is := range got {
				if o.keepsNumbers() && is.Ino != first[path].Ino {
					say(path, "%s: it is inode %d, and was %d", v, is.Ino, first[path].Ino)
				}
			}
			return
		}
		first = got
		if f.exports() {
			var err error
			if first, hs, err = o.takeHandles(); err != nil {
				say(".", "%v", err)
			}
		}
	})
	return wrong
}

// step does an act on both and says in what the outcome differs.
func (f fuzz) step(o *overlay, over, model *stage, a act) []string {
	if actKinds[a.kind].mounts {
		over.release()
		model.release()
		if a.kind == "rotate" {
			o.rotate()
		} else {
			o.remount()
		}
		return nil
	}
	got := a.do(over)
	if errors.Is(got, unix.EXDEV) && !f.moves {
		return nil // what programs have to expect of a lower directory
	}
	if want := a.do(model); !sameError(got, want) {
		return []string{fmt.Sprintf("the outcome is %v, and %v on the plain tree", outcome(got), outcome(want))}
	}
	if a.kind == "link" && got == nil {
		o.noteLink(a.to)
	}
	return nil
}

func sameError(a, b error) bool {
	var x, y unix.Errno
	return (a == nil) == (b == nil) && errors.As(a, &x) == errors.As(b, &y) && x == y
}

// differences compares what both show, and if asked to looks at all that must
// hold besides. It gives what the overlay shows.
func (f fuzz) differences(o *overlay, model string, v view, all bool) (got tree, lines []string) {
	got, err := readTree(o.merged)
	if err != nil {
		return nil, []string{fmt.Sprintf("%s: %v", v, err)}
	}
	want, err := readTree(model)
	if err != nil {
		return nil, []string{"the plain tree: " + err.Error()}
	}
	say := func(path, format string, args ...any) {
		lines = append(lines, fmt.Sprintf("%s: %s: %s", v, path, fmt.Sprintf(format, args...)))
	}
	if slices.Contains(f.options, "metacopy=on") {
		// Data that follows the metadata counts as a change: a file opened for
		// writing has another time than before (ovl_copy_up_meta_inode_data).
		for path, w := range want {
			if g, ok := got[path]; ok && w.Mode&unix.S_IFMT == unix.S_IFREG {
				w.Mtim = g.Mtim
				want[path] = w
			}
		}
	}
	compareTrees(got, want, f.counted(), say)
	flags, wanted := protection(o.merged, got), protection(model, want)
	for path := range wanted {
		if flags[path] != wanted[path] && flags != nil {
			say(path, "its flags are %#x, and %#x on the plain tree", flags[path], wanted[path])
		}
	}
	if all {
		o.checkTree(v, got, say)
	} else {
		o.checkLists(got, say)
	}
	return got, lines
}

// compareTrees says where an overlay's tree is not as the plain one.
func compareTrees(got, want tree, links bool, say complaint) {
	for path, w := range want {
		g, ok := got[path]
		if !ok {
			say(path, "it is missing")
			continue
		}
		if path == "." {
			continue
		}
		// A number of its own, times of its own, and directories of another form.
		g.Ino, g.Ctim = w.Ino, w.Ctim
		if !old(g) && !old(w) {
			g.Mtim = w.Mtim
		}
		if g.isDir() || !links {
			g.Nlink = w.Nlink
		}
		if g.isDir() {
			g.Size = w.Size
		}
		g.xattrs, w.xattrs = public(g), public(w)
		if g.same(w) {
			continue
		}
		was, is := w.facts(), g.facts()
		for i := range was {
			if was[i] != is[i] {
				say(path, "%s is %s, and %s on the plain tree", is[i].name, is[i].value, was[i].value)
			}
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			say(path, "it is there, and not on the plain tree")
		}
	}
}

// old reports whether f was last changed at a time that an act set: all are
// before the guest's clock.
func old(f found) bool { return f.Mtim.Sec <= stamp.Unix()+fuzzRange }

// shrinkTries bounds how often shrink replays.
const shrinkTries = 40

// shrink leaves out acts, many and then single ones, as long as the trees still
// differ. In what they differ may change by it.
func (f fuzz) shrink(t *suites.T, acts []act, wrong []string) ([]act, []string) {
	tries := 0
	for n := max(1, len(acts)/2); ; n /= 2 {
		for from := 0; from < len(acts) && tries < shrinkTries; {
			fewer := append(append([]act(nil), acts[:from]...), acts[min(from+n, len(acts)):]...)
			tries++
			if w, at := f.replay(t, fewer, 1); len(w) > 0 {
				acts, wrong = fewer[:at], w
			} else {
				from += n
			}
		}
		if n <= 1 {
			return acts, wrong
		}
	}
}
