package kdbusclient

import (
	"testing"

	"gotest.tools/v3/assert"
)

func TestItemsComeBack(t *testing.T) {
	sent := []Item{Name("com.example"), FDs(3, -1, 5), OfName(ItemNameChange, 1, 2, "a.b"), Words(ItemAuxGroups, 7, 8),
		PayloadMemfd(9, 4096, 100), Raw(ItemReplyDead, nil)}
	c := Encode(Cmd{}, sent...)
	got := c.Items(24)
	assert.Equal(t, len(got), len(sent))
	assert.Equal(t, got[0].String(), "com.example")
	assert.DeepEqual(t, got[1].Descriptors(), []int{3, -1, 5})
	change, name, err := got[2].Change()
	assert.NilError(t, err)
	assert.DeepEqual(t, change, NameChange{Old: IDChange{ID: 1}, New: IDChange{ID: 2}})
	assert.Equal(t, name, "a.b")
	assert.DeepEqual(t, got[3].Longs(), []uint64{7, 8})
	memfd, err := As[Memfd](got[4])
	assert.NilError(t, err)
	assert.Equal(t, memfd.FD, int32(9))
	assert.Equal(t, memfd.Start, uint64(4096))
	assert.Equal(t, len(got[5].Data), 0)
}

// aMessage is one as it lies in a pool: 64 bytes, a PAYLOAD_OFF item, 8 bytes.
func aMessage(v Vec) []byte {
	c := Encode(Msg{Cookie: 7}, Raw(ItemPayloadOff, bytesOf(v)))
	return append(c.Bytes(), "payload!"...)
}

func TestDecodeMessage(t *testing.T) {
	for _, c := range []struct {
		vec  Vec
		want string
		fail bool
	}{
		{Vec{8, 96}, "payload!", false},
		{Vec{3, 100}, "oad", false},
		{Vec{5, 1<<64 - 1}, "\x00\x00\x00\x00\x00", false},
		{Vec{5, 95}, "\x00\x00\x00\x00\x00", false},
		{Vec{9, 96}, "", true},
		{Vec{1 << 40, 1<<64 - 1}, "", true},
	} {
		m, err := DecodeMessage(aMessage(c.vec))
		assert.NilError(t, err)
		assert.Equal(t, m.Cookie, uint64(7))
		data, err := m.Data()
		assert.Equal(t, err != nil, c.fail, "%v", c.vec)
		assert.Equal(t, string(data), c.want)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, b := range [][]byte{
		nil,
		make([]byte, 63),
		make([]byte, 64), // its size is 0
		Encode(Msg{}, Raw(0, nil)).Bytes()[:72],
	} {
		_, err := DecodeMessage(b)
		assert.Assert(t, err != nil, "%x", b)
	}
	_, err := Records(make([]byte, 24))
	assert.Assert(t, err != nil)
	_, err = Items(Words(1, 15, 1).Data)
	assert.Assert(t, err != nil)
}

func TestPoolIsBounded(t *testing.T) {
	p := &Pool{mem: make([]byte, 4096)}
	for _, c := range [][2]uint64{{0, 4097}, {4097, 0}, {4096, 1}, {8, 1<<64 - 8}, {1<<64 - 8, 16}} {
		_, err := p.Copy(c[0], c[1])
		assert.Assert(t, err != nil, "%v", c)
	}
	b, err := p.Copy(4096, 0)
	assert.NilError(t, err)
	assert.Equal(t, len(b), 0)
}

func FuzzDecodeItems(f *testing.F) {
	f.Add(Encode(Cmd{}, Name("a.b"), FDs(1)).Bytes()[24:])
	f.Fuzz(func(_ *testing.T, b []byte) {
		items, _ := Items(b)
		for _, i := range items {
			readAll(i)
		}
	})
}

// readAll reads an item as everything it could be.
func readAll(i Item) {
	_, _, _ = i.Change()
	_, _, _ = i.Owned()
	_, _ = As[Caps](i)
	_, _ = As[Creds](i)
	_, _, _ = i.Longs(), i.Descriptors(), i.String()
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(aMessage(Vec{8, 96}))
	f.Fuzz(func(_ *testing.T, b []byte) {
		m, err := DecodeMessage(b)
		if err != nil {
			return
		}
		_, _ = m.Data()
		m.Descriptors()
		for _, i := range m.Items {
			readAll(i)
		}
	})
}

func FuzzDecodeRecords(f *testing.F) {
	f.Add(append(Encode(Header{}, Words(ItemCreds, 1)).Bytes(), Encode(Header{}).Bytes()...))
	f.Fuzz(func(_ *testing.T, b []byte) {
		all, _ := Records(b)
		for _, r := range all {
			for _, i := range r.Items {
				readAll(i)
			}
		}
	})
}
