package tinymod

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"gotest.tools/v3/assert"
)

// warn is a module with one of everything.
var warn = Module{
	Name:  "tiny",
	Code:  []byte{0x0f, 0x0b, 0xe8, 0, 0, 0, 0, 0xc3},
	Calls: []Call{{At: 3, Function: "msleep"}},
	Traps: []Trap{{At: 0, Line: 7, Warn: true}},
}

var (
	moduleLayout = layout{size: 896, members: map[string]int{"name": 24, "init": 336}}
	bugLayout    = layout{size: 12, members: map[string]int{"bug_addr_disp": 0, "file_disp": 4, "line": 8, "flags": 10}}
)

func TestObjectIsELF(t *testing.T) {
	object, err := warn.object(moduleLayout, bugLayout)
	assert.NilError(t, err)
	f, err := elf.NewFile(bytes.NewReader(object))
	assert.NilError(t, err)
	assert.Equal(t, f.Type, elf.ET_REL)

	this, err := f.Section(".gnu.linkonce.this_module").Data()
	assert.NilError(t, err)
	assert.Equal(t, string(this[24:28]), "tiny")
	bugs, err := f.Section("__bug_table").Data()
	assert.NilError(t, err)
	assert.DeepEqual(t, bugs, []byte{0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 9})
	symbols, err := f.Symbols()
	assert.NilError(t, err)
	assert.Equal(t, symbols[2].Name, "msleep")
	assert.Equal(t, symbols[2].Section, elf.SHN_UNDEF)
}

func TestObjectNeedsKnownLayout(t *testing.T) {
	_, err := warn.object(layout{size: 64}, bugLayout)
	assert.ErrorContains(t, err, "struct module")
	_, err = warn.object(moduleLayout, layout{})
	assert.ErrorContains(t, err, "struct bug_entry has no bug_addr_disp")
}

// le is little-endian words.
func le(words ...uint32) (b []byte) {
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// sampleBTF describes an int, a bit field beside it, and struct module.
func sampleBTF() []byte {
	strs := []byte("\x00module\x00name\x00flag\x00init\x00")
	const module, name, flag, init = 1, 8, 13, 18
	types := le(0, 1<<24, 4, 0)                                                 // INT
	types = append(types, le(module, 1<<31|4<<24|3, 64)...)                     // STRUCT with bit fields
	types = append(types, le(name, 1, 24*8, flag, 1, 1<<24|9, init, 1, 256)...) // its members
	header := append(le(0x0001eb9f, 24, 0, uint32(len(types)), uint32(len(types)), uint32(len(strs))), types...)
	return append(header, strs...)
}

func TestFindStructs(t *testing.T) {
	found, err := findStructs(sampleBTF(), "module")
	assert.NilError(t, err)
	assert.Equal(t, found["module"].size, 64)
	assert.DeepEqual(t, found["module"].members, map[string]int{"name": 24, "init": 32})

	_, err = findStructs(sampleBTF(), "module", "bug_entry")
	assert.ErrorContains(t, err, "no struct bug_entry")
	_, err = findStructs([]byte("not BTF"), "module")
	assert.ErrorIs(t, err, errBTF)
}

func FuzzFindStructs(f *testing.F) {
	f.Add(sampleBTF())
	f.Fuzz(func(_ *testing.T, btf []byte) { findStructs(btf, "module") })
}
