package overlayfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A rank is a type of file as rename(2) tells them apart, as it is in each layer
// and as the overlay shows it where both have it.
type rank struct {
	name    string
	low, up func(name string) node
	shown   func(name string) node
	isDir   bool
}

// ranks are the types of source and target; renameCases has the others. A
// directory that both layers have is merged: of it, each layer has a file of its
// own.
var ranks = []rank{
	{name: "file", low: func(n string) node { return file(n, "low") }, up: func(n string) node { return file(n, "up") },
		shown: func(n string) node { return file(n, "up") }},
	{name: "empty", isDir: true, low: func(n string) node { return dir(n) }, up: func(n string) node { return dir(n) },
		shown: func(n string) node { return dir(n) }},
	{name: "full", isDir: true, low: func(n string) node { return dir(n, file("l", "low")) }, up: func(n string) node { return dir(n, file("u", "up")) },
		shown: func(n string) node { return dir(n, file("l", "low"), file("u", "up")) }},
}

// both is the place of a name that each layer has.
var both = place{name: "both", inLower: true, inUp: true}

// A move is one rename: a name in directory in, of one rank at one place, to
// another name.
type move struct {
	in       string // the directory of this move alone
	from, to rank
	src, dst place
	far      bool // to another directory
}

func (m move) source() string { return m.in + "/s" }

func (m move) target() string {
	if m.far {
		return m.in + "/far/t"
	}
	return m.in + "/t"
}

// moves are pairs of source and target that differ in rank or place, every other
// one to another directory: a third of all there are, chosen so that any two
// values of two of the four meet.
func moves() (all []move) {
	srcs := append(slices.Clone(sources), both)
	dsts := append(slices.Clone(targets), both)
	for i := range len(ranks) * len(srcs) * len(ranks) * len(dsts) {
		f, s, t, d := i%len(ranks), i/len(ranks)%len(srcs), i/len(ranks)/len(srcs)%len(ranks), i/len(ranks)/len(srcs)/len(ranks)
		if (f+s+t+d)%3 != 0 {
			continue
		}
		all = append(all, move{fmt.Sprintf("m%03d", i), ranks[f], ranks[t], srcs[s], dsts[d], len(all)%2 == 1})
	}
	return all
}

// put is what one name of rank r at place p is in each layer, and as the overlay
// shows it.
func (r rank) put(name string, p place) (low, up, shown []node) {
	if p.inLower {
		low = []node{r.low(name)}
		shown = low
	}
	if p.inUp {
		up = []node{r.up(name)}
		shown = up
	}
	if p.inLower && p.inUp {
		shown = []node{r.shown(name)}
	}
	if p.gone {
		shown = nil
	}
	return low, up, shown
}

// layers are the directories of the move in each layer, and merged.
func (m move) layers() (low, up, shown node) {
	sl, su, ss := m.from.put("s", m.src)
	tl, tu, ts := m.to.put("t", m.dst)
	if m.far {
		return dir(m.in, append(sl, dir("far", tl...))...), dir(m.in, append(su, dir("far", tu...))...), dir(m.in, append(ss, dir("far", ts...))...)
	}
	return dir(m.in, append(sl, tl...)...), dir(m.in, append(su, tu...)...), dir(m.in, append(ss, ts...)...)
}

// lowerDir reports whether a name of rank r at place p is a directory with a
// part in the lower layer, which only a redirect can move.
func (r rank) lowerDir(p place) bool { return r.isDir && p.inLower && !p.gone }

// redirected reports whether the move is one that needs a redirect.
func (m move) redirected(flags uint) bool {
	return m.from.lowerDir(m.src) || flags == unix.RENAME_EXCHANGE && m.to.lowerDir(m.dst)
}

func (m move) String() string {
	return fmt.Sprintf("%s %s to %s %s (far: %v)", m.src.name, m.from.name, m.dst.name, m.to.name, m.far)
}

// matrixCases are the moves with each flag, with and without redirects, judged
// by what the same renames do on the file system below.
func matrixCases() (cases []suites.Case) {
	for _, f := range []struct {
		name  string
		flags uint
	}{{"plain", 0}, {"exchange", unix.RENAME_EXCHANGE}} {
		for _, redirect := range []string{"off", "on"} {
			cases = append(cases, suites.Case{
				Name: fmt.Sprintf("matrix-%s-redirect-%s", f.name, redirect),
				Doc: "A rename, by type and layer of source and target, does what it does on one file system, but for EXDEV where a lower directory needs a redirect that is off " +
					"(rename(2); overlayfs.rst, renaming directories).",
				Run: func(t *suites.T) { matrix(t, f.flags, redirect) },
			})
		}
	}
	return cases
}

func matrix(t *suites.T, flags uint, redirect string) {
	all := moves()
	if redirect == "on" {
		// What a redirect has no part in is judged without.
		all = slices.DeleteFunc(all, func(m move) bool { return !m.redirected(flags) })
	}
	var low, up, shown []node
	for _, m := range all {
		l, u, s := m.layers()
		low, up, shown = append(low, l), append(up, u), append(shown, s)
	}
	o := newOverlay(t, option("redirect_dir="+redirect), lower(low...), upper(up...))
	plain := o.layer("plain", shown)
	for _, m := range all {
		m.src.prepare(o, m.source())
		m.dst.prepare(o, m.target())
	}
	for _, m := range all {
		o.judge(m, flags, plain, redirect == "on")
	}
	want, err := readTree(plain)
	o.do("read the plain directory", err)
	for _, v := range []view{warm, cold} {
		if v == cold {
			o.remount()
		}
		got, err := readTree(o.merged)
		o.do(string(v)+": read the overlay", err)
		o.sameTrees(string(v), got, want)
	}
}

// judge makes the move in the overlay and on the plain file system. One that
// needs a redirect is EXDEV, unless something else is wrong with it.
func (o *overlay) judge(m move, flags uint, plain string, redirects bool) {
	o.t.Helper()
	got := o.renameat2(m.source(), m.target(), flags)
	needs := m.redirected(flags)
	if needs && !redirects && errors.Is(got, unix.EXDEV) {
		return
	}
	want := unix.Renameat2(unix.AT_FDCWD, filepath.Join(plain, m.source()), unix.AT_FDCWD, filepath.Join(plain, m.target()), flags)
	if needs && !redirects && want == nil {
		want = unix.EXDEV
	}
	if !sameError(got, want) {
		o.t.Errorf("%s: %v: %v, want %v", m.in, m, outcome(got), outcome(want))
	}
}

// sameTrees wants the overlay to hold what the plain file system does, by types,
// contents, permissions and owners.
func (o *overlay) sameTrees(where string, got, want tree) {
	o.t.Helper()
	for path, w := range want {
		g, ok := got[path]
		if !ok {
			o.t.Errorf("%s: %s is missing", where, path)
		} else if path != "." && (g.Mode != w.Mode || g.text != w.text || g.Uid != w.Uid || g.Gid != w.Gid) {
			o.t.Errorf("%s: %s is mode %#o, content %s, want %#o, %s", where, path, g.Mode, show(g.text), w.Mode, show(w.text))
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			o.t.Errorf("%s: %s is there, want nothing of that name", where, path)
		}
	}
}
