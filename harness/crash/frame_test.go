package crash

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestFrameLine(t *testing.T) {
	cases := []struct {
		line string
		want Frame
		ok   bool
	}{
		{" f+0x1c/0x30", Frame{Func: "f", Off: 0x1c, Size: 0x30, Reliable: true}, true},
		{" ? f+0x1c/0x30 [overlay]", Frame{Func: "f", Off: 0x1c, Size: 0x30, Module: "overlay"}, true},
		{" f.isra.0+0x1c/0x30 [overlay(OE)]", Frame{Func: "f.isra.0", Off: 0x1c, Size: 0x30, Module: "overlay", Reliable: true}, true},
		{" f+0x1c/0x30 [overlay 0123abcd]", Frame{Func: "f", Off: 0x1c, Size: 0x30, Module: "overlay", Reliable: true}, true},
		{" [<ffffffff81234567>] f+0x1c/0x30", Frame{Func: "f", Off: 0x1c, Size: 0x30, Reliable: true}, true},
		{" [<ffffffff81234567>] ? f+0x1c/0x30", Frame{Func: "f", Off: 0x1c, Size: 0x30}, true},
		{" f+0x1c/0x30 fs/a.c:12", Frame{Func: "f", Off: 0x1c, Size: 0x30, Reliable: true, File: "fs/a.c:12"}, true},
		{" f fs/a.c:12 [inline]", Frame{Func: "f", Reliable: true, Inline: true, File: "fs/a.c:12"}, true},
		{" [<     inline     >] f fs/a.c:12", Frame{Func: "f", Reliable: true, Inline: true, File: "fs/a.c:12"}, true},
		{" f from g+0x1c/0x30", Frame{Func: "f", Reliable: true}, true},
		{"[<80123456>] (f) from [<80123460>] (g+0x1c/0x30)", Frame{Func: "f", Reliable: true}, true},
		{"caller is f+0x1c/0x30", Frame{}, false},
		{"f+0x1c/0x30 is not a frame", Frame{}, false},
		{" RSP: 0018:ffffc900", Frame{}, false},
		{"read from a/b+0x1", Frame{}, false},
	}
	for _, c := range cases {
		got, ok := frameLine(c.line)
		assert.Equal(t, ok, c.ok, c.line)
		if ok {
			assert.DeepEqual(t, got, c.want)
		}
	}
}

func TestLocator(t *testing.T) {
	for line, want := range map[string]string{
		"RIP: 0010:f+0x1/0x2 [overlay]":                      "f",
		"RIP: 0010:[<ffffffff81>]  [<ffffffff81>] f+0x1/0x2": "f",
		"RIP: e030:f+0x1/0x2":                                "f",
		"IP: [<ffffffff81>] f+0x1/0x2":                       "f",
		"EIP: f+0x1/0x2":                                     "f",
		"EIP is at f+0x1/0x2":                                "f",
		"pc : f+0x1/0x2 [overlay]":                           "f",
		"PC is at f+0x1/0x2":                                 "f",
		"NIP [c000000000123456] f+0x1/0x2":                   "f",
		"RIP: 0033:0x432789":                                 "",
		"RIP: 0010:0x0":                                      "",
		"RIP: ":                                              "",
	} {
		f, _ := locator(line)
		assert.Equal(t, f.Func, want, line)
	}
}
