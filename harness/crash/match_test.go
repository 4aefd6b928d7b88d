package crash

import (
	"strings"
	"testing"

	"gotest.tools/v3/assert"
)

const oopsIn = `BUG: kernel NULL pointer dereference, address: 0000000000000010
Oops: 0000 [#1] SMP
CPU: 1 PID: 812 Comm: rm Not tainted 6.1.0 #1
RIP: 0010:FUNC+0x12/0x340 [overlay]
Call Trace:
 <TASK>
 CALLER+0x1/0x40 [overlay]
 vfs_rename+0x99/0x100
 </TASK>
---[ end trace 0 ]---
`

func oops(t *testing.T, function, caller string) Record {
	t.Helper()
	records := Scan([]byte(strings.NewReplacer("FUNC", function, "CALLER", caller).Replace(oopsIn)))
	assert.Equal(t, len(records), 1)
	return records[0]
}

func TestMatch(t *testing.T) {
	a := oops(t, "ovl_a", "ovl_rename")
	gpf := a
	gpf.Class, gpf.Signature = GPF, "1:other"
	warning := Record{Class: Warning, Func: "ovl_a", Module: "overlay"}
	cases := []struct {
		b    Record
		want Likeness
		why  string
	}{
		{oops(t, "ovl_a.cold", "ovl_rename.isra.0"), Same, "first 3 frames"},
		{gpf, Likely, "lead there in both"},
		{oops(t, "ovl_a", "ovl_unlink"), Likely, "vfs_rename"},
		{oops(t, "ovl_b", "ovl_unlink"), Related, "in overlay"},
		{warning, Different, "class warning"},
		{Record{Class: NullDeref, Corrupted: true, Reason: "it has no call trace"}, Undecidable, "no call trace"},
	}
	for _, c := range cases {
		got, why := Match(a, c.b)
		assert.Equal(t, got, c.want, why)
		assert.Assert(t, strings.Contains(why, c.why), why)
	}
}

var table = []Feature{
	{Name: "overlayfs", Modules: []string{"overlay"}, Symbols: []string{"ovl_"}, Sources: []string{"fs/overlayfs/"}, Files: []string{"fs/namei.c"}},
	{Name: "btrfs", Modules: []string{"btrfs"}, Symbols: []string{"btrfs_"}, Sources: []string{"fs/btrfs/"}},
}

func TestAttribute(t *testing.T) {
	var symbols Symbols
	assert.NilError(t, symbols.ReadSystemMap(strings.NewReader("ffffffff81000000 T vfs_rename\nffffffffc0000000 t close_ctree\t[btrfs]\n")))
	frame := func(name, module string) Frame { return Frame{Func: name, Module: module, Reliable: true} }
	cases := []struct {
		name string
		r    Record
		want Attribution
	}{
		{"module", Record{Func: "f", Module: "overlay"}, Attribution{"overlayfs", Direct, "module", "f"}},
		{"prefix", Record{Func: "ovl_rename"}, Attribution{"overlayfs", Direct, "prefix", "ovl_rename"}},
		{"another's module", Record{Func: "ovl_like", Module: "other"}, Attribution{"", Base, "", "ovl_like"}},
		{"symbol", Record{Func: "close_ctree"}, Attribution{"btrfs", Direct, "symbol", "close_ctree"}},
		{"source", Record{Func: "f", Where: "fs/overlayfs/dir.c:12"}, Attribution{"overlayfs", Direct, "source", "f"}},
		{"on stack", Record{Func: "kfree", Frames: []Frame{frame("ovl_x", "overlay")}}, Attribution{"overlayfs", OnStack, "module", "ovl_x"}},
		{"unreliable", Record{Func: "kfree", Frames: []Frame{{Func: "ovl_x", Module: "overlay"}}}, Attribution{"", Base, "", "kfree"}},
		{"linked in", Record{Func: "kfree", Modules: []string{"overlay"}}, Attribution{"", Base, "", "kfree"}},
		{"lock", Record{Func: "mnt_want_write", Locks: []Frame{frame("ovl_i", "overlay")}}, Attribution{"overlayfs", OnStack, "module", "ovl_i"}},
		{"patched", Record{Func: "vfs_rename", Frames: []Frame{{Func: "vfs_rename", File: "fs/namei.c:4000", Reliable: true}}}, Attribution{"overlayfs", PatchedBase, "source", "vfs_rename"}},
	}
	for _, c := range cases {
		assert.DeepEqual(t, Attribute(c.r, table, &symbols)[0], c.want)
	}
	both := Attribute(Record{Func: "x", Locks: []Frame{frame("ovl_i", "overlay"), frame("b", "btrfs")}}, table, nil)
	assert.Equal(t, len(both), 2)
}
