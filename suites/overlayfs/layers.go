package overlayfs

import (
	"fmt"
	"os"

	"github.com/kernel-playground/kplay/suites"
)

// layerCases stack several layers: the first that has a name decides what it is,
// and directories go on until a whiteout, an opaque directory or another type.
var layerCases = []suites.Case{
	{
		Name: "layers-topmost-wins",
		Doc:  "Of a name in several lower layers the topmost, the first given, is seen (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "1")), lower(file("a", "2"), file("b", "2")), lower(file("a", "3"), file("b", "3"), file("c", "3")))
			o.shows(file("a", "1"), file("b", "2"), file("c", "3"))
			o.upperHolds()
		},
	},
	{
		Name: "layers-copy-up-from-each",
		Doc:  "A file is copied up from whatever layer it is in, with the attributes it has there (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			var parts []part
			var want []node
			for i := range 5 {
				n := file(fmt.Sprint("f", i), fmt.Sprint("layer ", i)).owned(i, i)
				parts = append(parts, lower(n))
				want = append(want, n.perm(0o600).old())
			}
			o := newOverlay(t, parts...)
			for _, n := range want {
				o.chmod(n.name, 0o600)
			}
			o.shows(want...)
			o.upperHolds(want...)
		},
	},
	{
		Name: "layers-remove-from-each",
		Doc:  "A name removed stays removed, whatever layer it was in (overlayfs.rst, multiple lower layers).",
		Run: func(t *suites.T) {
			var parts []part
			for i := range 5 {
				parts = append(parts, lower(dir("d", file(fmt.Sprint("f", i), ""), file("all", ""))))
			}
			o := newOverlay(t, parts...)
			for i := range 5 {
				o.unlink(fmt.Sprint("d/f", i))
			}
			o.unlink("d/all")
			o.shows(dir("d"))
		},
	},
	{
		Name: "layers-opaque-at-each",
		Doc:  "An opaque directory hides all layers below it and none above, at whatever height it is (overlayfs.rst, multiple lower layers).",
		Run:  func(t *suites.T) { atEachHeight(t, func(n node) node { return n.opaque() }, true) },
	},
	{
		Name: "layers-whiteout-at-each",
		Doc:  "A whiteout hides all layers below it and none above, at whatever height it is (overlayfs.rst, multiple lower layers).",
		Run:  func(t *suites.T) { atEachHeight(t, func(node) node { return whiteout("d") }, false) },
	},
	{
		Name: "layers-many",
		Doc:  "A directory merges the files of sixty layers (overlayfs.rst, multiple lower layers).",
		Run:  manyLayers,
	},
	{
		Name: "layers-upper-becomes-lower",
		Doc:  "What an upper layer says holds when it is a lower layer of another overlay (overlayfs.rst, multiple lower layers).",
		Run:  rotate,
	},
	{
		Name: "layers-shared-lower",
		Doc:  "Overlays that share a lower layer do not see each other's changes (overlayfs.rst, sharing and copying layers).",
		Run:  sharedLower,
	},
	{
		Name: "layers-changed-offline",
		Doc:  "What is changed in the upper layer between two mounts shows in the second (overlayfs.rst, changes to underlying filesystems).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "lower"), file("b", "lower")))
			o.write("a", "changed")
			o.unmount()
			o.do("change the upper layer", os.WriteFile(o.inUpper("a"), []byte("offline"), 0o644))
			o.do("add to the upper layer", whiteout("b").make(o.upper))
			o.do("mount the overlay again", o.mount())
			o.shows(file("a", "offline"))
		},
	},
}

// heights is how many layers atEachHeight stacks.
const heights = 4

// atEachHeight puts a directory, made special by mark, at each height of a
// stack, each layer of which has a file of its own in it.
func atEachHeight(t *suites.T, mark func(node) node, keepsOwn bool) {
	for at := range heights {
		var parts []part
		var want []node
		for i := range heights {
			own := file(fmt.Sprint("f", i), "")
			d := dir("d", own)
			if i == at {
				d = mark(d)
			}
			if i < at || i == at && keepsOwn {
				want = append(want, own)
			}
			parts = append(parts, lower(d))
		}
		o := newOverlay(t, parts...)
		if at == 0 && !keepsOwn {
			o.shows()
			continue
		}
		o.shows(dir("d", want...))
	}
}

// manyLowers is how many layers are stacked where their number is the matter:
// as many as have room in the page of options mount(2) takes.
const manyLowers = 60

func manyLayers(t *suites.T) {
	var parts []part
	var want []node
	for i := range manyLowers {
		n := file(fmt.Sprintf("f%02d", i), fmt.Sprint(i))
		parts, want = append(parts, lower(dir("d", n))), append(want, n)
	}
	o := newOverlay(t, parts...)
	o.shows(dir("d", want...))
}

// rotate makes a lower layer of an upper that has seen every kind of change.
func rotate(t *suites.T) {
	o := newOverlay(t, lower(file("changed", "lower"), file("gone", ""), dir("emptied", file("x", "")),
		dir("remade", file("x", "")), file("from", "moved"), file("kept", "kept")))
	o.write("changed", "first")
	o.unlink("gone")
	o.unlink("emptied/x")
	o.do("remove a directory", os.RemoveAll(o.at("remade")))
	o.mkdir("remade")
	o.rename("from", "to")
	now := []node{file("changed", "first"), dir("emptied"), dir("remade"), file("to", "moved"), file("kept", "kept")}
	o.shows(now...)
	o.unmount()
	second := layers(t)
	second.lowers = append([]string{o.upper}, o.lowers...)
	second.remember()
	second.do("mount the second overlay", second.mount())
	second.shows(now...)
	second.write("remade/y", "second")
	second.unlink("changed")
	second.shows(dir("emptied"), dir("remade", file("y", "second")), file("to", "moved"), file("kept", "kept"))
}

func sharedLower(t *suites.T) {
	one := newOverlay(t, lower(file("a", "lower"), file("b", "lower")))
	two := newOverlay(t, lowersOf(one))
	one.write("a", "one")
	two.write("a", "two")
	two.unlink("b")
	one.shows(file("a", "one"), file("b", "lower"))
	two.shows(file("a", "two"))
}
