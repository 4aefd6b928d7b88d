package overlayfs

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A place is where a name is when a case begins, and what is left of it in the
// upper layer when it is gone.
type place struct {
	name           string
	inLower, inUp  bool // whether the layer has the name
	gone, copiedUp bool // what is done to it through the overlay first
}

// Where the source of a rename can be, and its target.
var (
	sources = []place{
		{name: "lower", inLower: true},
		{name: "upper", inUp: true},
		{name: "copied-up", inLower: true, copiedUp: true},
	}
	targets = append([]place{
		{name: "absent"},
		{name: "removed", inLower: true, gone: true},
	}, sources...)
)

// shows reports whether the overlay has the name.
func (p place) shows() bool { return (p.inLower || p.inUp) && !p.gone }

// put adds n to the layers p says it is in.
func (p place) put(n node, low, up []node) ([]node, []node) {
	if p.inLower {
		low = append(low, n)
	}
	if p.inUp {
		up = append(up, n)
	}
	return low, up
}

// prepare does to a name in the overlay what p says.
func (p place) prepare(o *overlay, name string) {
	o.t.Helper()
	if p.gone {
		o.do("remove "+name, os.RemoveAll(o.at(name)))
	}
	if p.copiedUp {
		o.do("copy up "+name, unix.Lchown(o.at(name), -1, -1))
	}
}

// trace is what a name that left leaves in the upper layer.
func (p place) trace(name string) []node {
	if p.inLower {
		return []node{whiteout(name)}
	}
	return nil
}

// movables are the types rename(2) treats alike, as they are at a name.
var movables = []struct {
	name string
	node func(name, text string) node
}{
	{"file", file},
	{"symlink", symlink},
	{"fifo", func(name, _ string) node { return fifo(name) }},
}

// renameCases are all renames of what is no directory, to another directory:
// type by source by target.
func renameCases() (cases []suites.Case) {
	for _, m := range movables {
		for _, from := range sources {
			for _, to := range targets {
				cases = append(cases, suites.Case{
					Name: fmt.Sprintf("rename-%s-%s-to-%s", from.name, m.name, to.name),
					Doc: fmt.Sprintf("A %s %s is renamed to a name that is %s: it is there whole, and nowhere else (rename(2); overlayfs.rst, non-directories).",
						from.name, m.name, to.name),
					Run: func(t *suites.T) { renameTo(t, m.node, from, to) },
				})
			}
		}
	}
	return cases
}

func renameTo(t *suites.T, kind func(name, text string) node, from, to place) {
	moved := func(name string) node { return kind(name, "moved").owned(7, 8).old() }
	var low, up, lowTo, upTo []node
	low, up = from.put(moved("a"), low, up)
	lowTo, upTo = to.put(file("b", "target"), lowTo, upTo)
	o := newOverlay(t, lower(append(low, dir("d", lowTo...))...), upper(append(up, dir("d", upTo...))...))
	from.prepare(o, "a")
	to.prepare(o, "d/b")
	o.rename("a", "d/b")
	o.shows(dir("d", moved("b")))
	o.upperHolds(append(from.trace("a"), dir("d", moved("b")))...)
}

// exchangeCases swap two names: source by source.
func exchangeCases() (cases []suites.Case) {
	for i, a := range sources {
		for _, b := range sources[i:] {
			cases = append(cases, suites.Case{
				Name: fmt.Sprintf("exchange-%s-with-%s", a.name, b.name),
				Doc:  "RENAME_EXCHANGE swaps two files whatever layers they are in (rename(2)).",
				Run:  func(t *suites.T) { exchange(t, a, b) },
			})
		}
	}
	return cases
}

func exchange(t *suites.T, a, b place) {
	one := func(name string) node { return file(name, "one").owned(1, 2).old() }
	two := func(name string) node { return symlink(name, "two").old() }
	var low, up []node
	low, up = a.put(one("a"), low, up)
	low, up = b.put(two("b"), low, up)
	o := newOverlay(t, lower(low...), upper(up...))
	a.prepare(o, "a")
	b.prepare(o, "b")
	o.do("exchange", o.renameat2("a", "b", unix.RENAME_EXCHANGE))
	o.shows(two("a"), one("b"))
	o.upperHolds(two("a"), one("b"))
}

// noreplaceCases rename with RENAME_NOREPLACE to each kind of target.
func noreplaceCases() (cases []suites.Case) {
	for _, to := range targets {
		doc := "RENAME_NOREPLACE renames to a name that is free, whatever hides there (rename(2))."
		if to.shows() {
			doc = "RENAME_NOREPLACE is refused where the name is taken, in whatever layer, and changes nothing (rename(2))."
		}
		cases = append(cases, suites.Case{
			Name: "noreplace-to-" + to.name,
			Doc:  doc,
			Run:  func(t *suites.T) { noreplace(t, to) },
		})
	}
	return cases
}

func noreplace(t *suites.T, to place) {
	low, up := to.put(file("b", "target"), []node{file("a", "moved")}, nil)
	o := newOverlay(t, lower(low...), upper(up...))
	to.prepare(o, "b")
	err := o.renameat2("a", "b", unix.RENAME_NOREPLACE)
	if to.shows() {
		o.refused("rename to a taken name", err, unix.EEXIST)
		o.shows(file("a", "moved"), file("b", "target"))
		return
	}
	o.do("rename to a free name", err)
	o.shows(file("b", "moved").old())
	o.upperHolds(whiteout("a"), file("b", "moved").old())
}
