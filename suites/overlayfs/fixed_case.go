package overlayfs

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// below is what lies under the fixed tree, for what that hides and merges.
var below = []node{
	file("gone", "hidden by a whiteout"),
	dir("hides", file("old", "hidden by an opaque directory")),
	dir("merges", file("bottom", "b"), file("gone", "g")),
	file("only", "below"),
}

// shown is what an overlay of a fixed tree and what lies below shows.
func shown(tree []node) (all []node) {
	hides := dir("hides", file("old", "hidden by an opaque directory"))
	for _, n := range tree {
		switch n.name {
		case "gone", "merges":
		case "hides":
			hides = dir("hides", n.children...)
		default:
			all = append(all, n)
		}
	}
	return append(all, file(fixedLink, "two names"), hides, dir("merges", file("top", "t"), file("bottom", "b")), file("only", "below"))
}

// change replaces the node at a path of one or two names; nil removes it.
func change(nodes []node, path []string, by func(node) *node) (out []node) {
	for _, n := range nodes {
		if n.name == path[0] && len(path) > 1 {
			n.children = change(n.children, path[1:], by)
		} else if n.name == path[0] {
			if m := by(n); m != nil {
				out = append(out, *m)
			}
			continue
		}
		out = append(out, n)
	}
	return out
}

// fixedCases have a lower layer that was made in one go and cannot be written to,
// as images of containers and live systems are.
func fixedCases() []suites.Case {
	return slices.Concat(fixedOn("squashfs", fixedTree), fixedOn("erofs", plainTree))
}

func fixedOn(disk string, tree func() []node) []suites.Case {
	fixedShown := func() []node { return shown(tree()) }
	return withDisks(disk, "", []suites.Case{
		{
			Name: disk + "-shown",
			Doc:  "An image of " + disk + " with whiteouts and opaque directories is a layer as any other (overlayfs.rst, whiteouts and opaque directories).",
			Run:  func(t *suites.T) { newOverlay(t, lowerOn(disk), lower(below...)).shows(fixedShown()...) },
		},
		{
			Name: disk + "-read-only",
			Doc:  "Two lower layers, one of them an image, are mounted without an upper one (overlayfs.rst, multiple lower layers).",
			Run: func(t *suites.T) {
				o := newOverlay(t, readOnly, lowerOn(disk), lower(below...))
				o.shows(fixedShown()...)
				o.refused("chmod", unix.Chmod(o.at("d/a"), 0o600), unix.EROFS)
			},
		},
		{
			Name: disk + "-copy-up",
			Doc:  "Every kind of object is copied up from " + disk + " with all it has (overlayfs.rst, upper and lower).",
			Run: func(t *suites.T) {
				// squashfs has no UUID: without xino numbers are not kept (fs/overlayfs/super.c, ovl_lower_uuid_ok).
				o := newOverlay(t, allOn("ext4", ""), option("xino=on"), lowerOn(disk), lower(below...))
				tr, err := readTree(o.merged)
				o.do("read the overlay", err)
				for path, f := range tr {
					if f.isDir() {
						continue
					}
					o.do("copy up "+path, unix.Lchown(o.at(path), int(f.Uid), int(f.Gid)))
				}
				// chown(2) takes the set-user-ID and set-group-ID bits away.
				o.chmod("d/set-user-id", 0o6755)
				o.shows(fixedShown()...)
				o.compare("upper layer", o.upper+"/d", tree()[0].children)
			},
		},
		{
			Name: disk + "-write",
			Doc:  "A large file of an image is copied up whole, to be written to in its middle (overlayfs.rst, upper and lower).",
			Run: func(t *suites.T) {
				o := newOverlay(t, lowerOn(disk), lower(below...))
				o.do("write", withFd(unix.O_WRONLY, func(fd int) error {
					_, err := unix.Pwrite(fd, []byte("here"), 700_001)
					return err
				})(o.at("big")))
				o.shows(change(fixedShown(), []string{"big"}, func(n node) *node {
					n.text = n.text[:700_001] + "here" + n.text[700_005:]
					return &n
				})...)
			},
		},
		{
			Name: disk + "-remove",
			Doc:  "What an image of " + disk + " holds is removed and renamed, and is as it was in the image (overlayfs.rst, whiteouts and opaque directories).",
			Run: func(t *suites.T) {
				o := newOverlay(t, option("redirect_dir=on"), lowerOn(disk), lower(below...))
				o.unlink("d/fifo")
				o.unlink("big")
				o.rename("deep/1", "moved")
				o.unlink("merges/bottom")
				want := change(fixedShown(), []string{"d", "fifo"}, func(node) *node { return nil })
				want = change(want, []string{"big"}, func(node) *node { return nil })
				want = change(want, []string{"merges", "bottom"}, func(node) *node { return nil })
				want = change(want, []string{"deep"}, func(n node) *node { n.children = nil; return &n })
				o.shows(append(want, dir("moved", tree()[1].children[0].children...))...)
			},
		},
		{
			Name: disk + "-hard-links",
			Doc:  "With index, the names of a file of an image stay one file when it is copied up (overlayfs.rst, index).",
			Run: func(t *suites.T) {
				o := newOverlay(t, option("index=on"), option("xino=on"), lowerOn(disk), lower(below...))
				o.write("link1", "changed")
				want := change(fixedShown(), []string{"link1"}, func(n node) *node { n.text = "changed"; return &n })
				o.shows(change(want, []string{fixedLink}, func(n node) *node { n.text = "changed"; return &n })...)
				if a, b := o.identity("link1"), o.identity(fixedLink); a != b {
					t.Errorf("the two names are %v and %v, want one file", a, b)
				}
			},
		},
	})
}
