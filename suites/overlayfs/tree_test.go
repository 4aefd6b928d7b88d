package overlayfs

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"
)

// sample is a tree of one directory with a file and a whiteout in it.
func sample() tree {
	at := unix.NsecToTimespec(stamp.UnixNano())
	return tree{
		".":   {Stat_t: unix.Stat_t{Mode: unix.S_IFDIR | 0o755}},
		"d":   {Stat_t: unix.Stat_t{Mode: unix.S_IFDIR | 0o755}, xattrs: map[string]string{opaque: "y"}},
		"d/a": {Stat_t: unix.Stat_t{Mode: unix.S_IFREG | 0o644, Uid: 1, Gid: 2, Mtim: at}, text: "text"},
		"d/w": {Stat_t: unix.Stat_t{Mode: unix.S_IFCHR}},
	}
}

func TestDifferences(t *testing.T) {
	a := file("a", "text").owned(1, 2)
	for _, test := range []struct {
		name string
		want []node
		n    int
	}{
		{"the same", []node{dir("d", a, whiteout("w"))}, 0},
		{"the same in all", []node{dir("d", a.old(), whiteout("w")).opaque()}, 0},
		{"one missing, one too many", []node{dir("d", a, whiteout("x"))}, 2},
		{"all too many", nil, 3},
		{"type", []node{dir("d", a, file("w", ""))}, 1},
		{"mode", []node{dir("d", a.perm(0o600), whiteout("w"))}, 1},
		{"owner", []node{dir("d", a.owned(1, 3), whiteout("w"))}, 1},
		{"time, by a nanosecond", []node{dir("d", a.changed(stamp.Add(1)), whiteout("w"))}, 1},
		{"content", []node{dir("d", file("a", "Text").owned(1, 2), whiteout("w"))}, 1},
		{"device", []node{dir("d", a, device("w", unix.S_IFCHR, 0, 1).perm(0))}, 1},
		{"attribute of another value", []node{dir("d", a, whiteout("w")).xattr(opaque, "x")}, 1},
		{"attribute not there", []node{dir("d", a.xattr("trusted.x", ""), whiteout("w"))}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			lines := sample().differences(test.want)
			assert.Equal(t, len(lines), test.n, "%q", lines)
		})
	}
}

func TestFactsTellAllButAccess(t *testing.T) {
	before := sample()["d/a"]
	for name, change := range map[string]func(*found){
		"content":             func(f *found) { f.text = "Text" },
		"mtime":               func(f *found) { f.Mtim.Nsec++ },
		"ctime":               func(f *found) { f.Ctim.Nsec++ },
		"mode":                func(f *found) { f.Mode |= unix.S_ISUID },
		"owner":               func(f *found) { f.Gid++ },
		"extended attributes": func(f *found) { f.xattrs = map[string]string{"trusted.x": ""} },
	} {
		after := before
		change(&after)
		var changed []string
		for i, fact := range after.facts() {
			if fact != before.facts()[i] {
				changed = append(changed, fact.name)
			}
		}
		assert.DeepEqual(t, changed, []string{name})
	}
	read := before
	read.Atim.Sec++
	assert.Assert(t, slices.Equal(read.facts(), before.facts()))
}

func TestSuiteIsWellFormed(t *testing.T) {
	assert.NilError(t, Suite().Check())
}
