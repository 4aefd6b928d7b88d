package tinymod

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// A layout is the size of a C structure and the offsets of its members, in
// bytes. Bit fields are left out.
type layout struct {
	size    int
	members map[string]int
}

// Kinds of BTF types, and how much follows the 12 bytes that all have: fixed
// bytes, and bytes for each of vlen elements (Documentation/bpf/btf.rst).
const (
	btfMagic   = 0xeb9f
	kindStruct = 4
)

var trailers = map[uint32]struct{ fixed, each int }{
	1:  {4, 0},  // INT
	3:  {12, 0}, // ARRAY
	4:  {0, 12}, // STRUCT
	5:  {0, 12}, // UNION
	6:  {0, 8},  // ENUM
	13: {0, 8},  // FUNC_PROTO
	14: {4, 0},  // VAR
	15: {0, 12}, // DATASEC
	17: {4, 0},  // DECL_TAG
	19: {0, 12}, // ENUM64
}

const lastKind = 19

var errBTF = errors.New("not a type description")

// findStructs returns the layouts of the named structures.
func findStructs(btf []byte, names ...string) (map[string]layout, error) {
	types, strs, err := sections(btf)
	if err != nil {
		return nil, err
	}
	wanted := make(map[string]bool)
	for _, n := range names {
		wanted[n] = true
	}
	found := make(map[string]layout)
	for len(types) >= 12 && len(found) < len(wanted) {
		name, info := le32(types), le32(types[4:])
		kind, vlen := info>>24&0x1f, int(info&0xffff)
		size := 12 + trailers[kind].fixed + trailers[kind].each*vlen
		if kind > lastKind || size > len(types) {
			return nil, fmt.Errorf("%w: kind %d", errBTF, kind)
		}
		if kind == kindStruct {
			if n := text(strs, name); wanted[n] {
				found[n] = structLayout(types[:size], strs)
			}
		}
		types = types[size:]
	}
	for _, n := range names {
		if _, ok := found[n]; !ok {
			return nil, fmt.Errorf("there is no struct %s", n)
		}
	}
	return found, nil
}

// sections returns the types and the strings.
func sections(btf []byte) (types, strs []byte, err error) {
	if len(btf) < 24 || binary.LittleEndian.Uint16(btf) != btfMagic {
		return nil, nil, errBTF
	}
	body := uint64(le32(btf[4:]))
	cut := func(at int) []byte {
		from := body + uint64(le32(btf[at:]))
		to := from + uint64(le32(btf[at+4:]))
		if to > uint64(len(btf)) {
			err = errBTF
			return nil
		}
		return btf[from:to]
	}
	return cut(8), cut(16), err
}

func structLayout(t, strs []byte) layout {
	l := layout{size: int(le32(t[8:])), members: make(map[string]int)}
	bitFields := le32(t[4:])>>31 == 1
	for m := t[12:]; len(m) >= 12; m = m[12:] {
		bits := le32(m[8:])
		if bitFields && bits>>24 != 0 {
			continue
		}
		l.members[text(strs, le32(m))] = int(bits&0xffffff) / 8
	}
	return l
}

func text(strs []byte, at uint32) string {
	if int(at) >= len(strs) {
		return ""
	}
	s, _, _ := bytes.Cut(strs[at:], []byte{0})
	return string(s)
}

func le32(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }
