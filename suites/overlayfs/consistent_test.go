package overlayfs

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"gotest.tools/v3/assert"

	"github.com/kernel-playground/kplay/suites"
)

// inode is a regular file with a number and a link count.
func inode(ino, nlink uint64, text string) found {
	return found{Stat_t: unix.Stat_t{Mode: unix.S_IFREG | 0o644, Ino: ino, Nlink: nlink, Size: int64(len(text))}, text: text}
}

func TestCheckOne(t *testing.T) {
	root := found{Stat_t: unix.Stat_t{Mode: unix.S_IFDIR | 0o755, Ino: 1, Nlink: 2}}
	for _, test := range []struct {
		name string
		tr   tree
		want string // in a complaint; empty if there is none
	}{
		{"two files", tree{".": root, "a": inode(2, 1, "a"), "b": inode(3, 1, "b")}, ""},
		{"one file of two names", tree{".": root, "a": inode(2, 2, "a"), "b": inode(2, 2, "a")}, ""},
		{"more names than links", tree{".": root, "a": inode(2, 1, "a"), "b": inode(2, 1, "a")}, "a link count of 1"},
		{"one number of two files", tree{".": root, "a": inode(2, 2, "a"), "b": inode(2, 2, "b")}, "another file"},
		{"a directory not counted", tree{".": root, "d": root}, "want 1 or 2 more than its 1 directories"},
		{"size", tree{".": root, "a": {Stat_t: unix.Stat_t{Mode: unix.S_IFREG, Ino: 2, Nlink: 1, Size: 4}}}, "its size is 4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var lines []string
			checkOne(test.tr, nil, func(path, format string, args ...any) {
				lines = append(lines, path+": "+fmt.Sprintf(format, args...))
			})
			all := strings.Join(lines, "\n")
			assert.Assert(t, strings.Contains(all, test.want) && (test.want != "" || all == ""), "%q", all)
		})
	}
}

func TestUnlike(t *testing.T) {
	real := inode(7, 1, "text")
	real.xattrs = map[string]string{origin: "x", "trusted.a": "1"}
	shown := inode(2, 1, "text")
	shown.xattrs = map[string]string{"trusted.a": "1"}
	assert.Assert(t, len(unlike(shown, real, false)) == 0)
	shown.Nlink = 2
	assert.Assert(t, len(unlike(shown, real, true)) == 0)
	assert.Assert(t, len(unlike(shown, real, false)) == 1)
	shown.Blocks, shown.xattrs = 8, nil
	assert.Assert(t, len(unlike(shown, real, true)) == 2)
}

func TestMay(t *testing.T) {
	f := found{Stat_t: unix.Stat_t{Mode: 0o421, Uid: 5, Gid: 6}}
	for _, test := range []struct {
		who    person
		groups []int
		bit    uint32
	}{
		{person{5, 6}, nil, unix.R_OK},
		{person{9, 6}, nil, unix.W_OK},
		{person{9, 9}, []int{6}, unix.W_OK},
		{person{9, 9}, nil, unix.X_OK},
	} {
		for _, bit := range []uint32{unix.R_OK, unix.W_OK, unix.X_OK} {
			assert.Equal(t, test.who.may(bit, f, test.groups), bit == test.bit, "%v %d", test, bit)
		}
	}
}

func TestMerge(t *testing.T) {
	got := merge([]node{dir("d", file("a", "top")), whiteout("w"), file("x", "top")},
		[]node{dir("d", file("a", "below"), file("b", "below")), file("w", ""), dir("x", file("y", ""))})
	var names []string
	for _, n := range got {
		names = append(names, n.name)
	}
	assert.DeepEqual(t, names, []string{"d", "x"})
	assert.Equal(t, len(got[0].children), 2)
}

func TestInLayouts(t *testing.T) {
	two := []suites.Case{{Name: "a", Doc: "A."}, {Name: "b", Doc: "B."}}
	var names []string
	for _, c := range in("nested xino", two) {
		names = append(names, c.Name)
	}
	assert.DeepEqual(t, names, []string{"a", "b", "a@xino", "b@xino", "a@nested", "b@nested"})
	assert.Equal(t, len(in("", two)), 2)
	assert.Equal(t, layoutOf("a@xino").name, "xino")
	assert.Equal(t, layoutOf("a").name, "")
}
