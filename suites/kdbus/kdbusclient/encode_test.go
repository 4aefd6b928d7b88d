package kdbusclient

import (
	"encoding/hex"
	"strings"
	"testing"
	"unsafe"

	"gotest.tools/v3/assert"
)

// The layouts as a C compiler has them.
func TestSizes(t *testing.T) {
	for _, c := range []struct {
		name      string
		got, want uintptr
	}{
		{"cmd", unsafe.Sizeof(Cmd{}), 24},
		{"hello", unsafe.Sizeof(HelloCmd{}), 96},
		{"free", unsafe.Sizeof(FreeCmd{}), 32},
		{"info", unsafe.Sizeof(InfoCmd{}), 56},
		{"list", unsafe.Sizeof(ListCmd{}), 40},
		{"send", unsafe.Sizeof(SendCmd{}), 56},
		{"recv", unsafe.Sizeof(RecvCmd{}), 64},
		{"match", unsafe.Sizeof(MatchCmd{}), 32},
		{"msg_info", unsafe.Sizeof(MsgInfo{}), 24},
		{"msg", unsafe.Sizeof(Msg{}), 64},
		{"record", unsafe.Sizeof(Header{}), 24},
		{"id change", unsafe.Sizeof(IDChange{}), 16},
		{"name change", unsafe.Sizeof(NameChange{}), 32},
		{"creds", unsafe.Sizeof(Creds{}), 64},
		{"pids", unsafe.Sizeof(PIDs{}), 24},
		{"audit", unsafe.Sizeof(Audit{}), 8},
		{"timestamp", unsafe.Sizeof(Timestamp{}), 24},
		{"vec", unsafe.Sizeof(Vec{}), 16},
		{"bloom", unsafe.Sizeof(BloomParameter{}), 16},
		{"memfd", unsafe.Sizeof(Memfd{}), 24},
		{"policy access", unsafe.Sizeof(PolicyAccess{}), 24},
		{"caps", unsafe.Sizeof(Caps{}), 36},
		{"hello id", unsafe.Offsetof(HelloCmd{}.ID), 48},
		{"hello id128", unsafe.Offsetof(HelloCmd{}.ID128), 80},
		{"recv msg", unsafe.Offsetof(RecvCmd{}.Msg), 40},
		{"msg cookie", unsafe.Offsetof(Msg{}.Cookie), 48},
	} {
		assert.Equal(t, c.got, c.want, c.name)
	}
}

// The number of an operation says the size of its argument.
func TestOpsTellTheirSize(t *testing.T) {
	for _, o := range Ops {
		assert.Equal(t, uint64(o.Op>>16&0x3fff), o.Fixed, o.Name)
		assert.Equal(t, uint32(o.Op>>8&0xff), uint32(0x95), o.Name)
		assert.Equal(t, o.Op.String(), o.Name)
	}
	assert.Equal(t, Op(1).String(), "unknown operation")
}

func TestMetadataFollowsItsFlag(t *testing.T) {
	assert.Equal(t, ItemDescription, ItemTimestamp+13)
	assert.Equal(t, AttachDescription, uint64(1)<<13)
	assert.Equal(t, ItemDstID, uint64(0x10))
	assert.Equal(t, ItemReplyDead, uint64(0x8006))
	assert.Equal(t, NameAcquired, uint64(0x40))
}

// Vectors computed from the C layouts.
var vectors = []struct {
	name string
	got  *Command
	want string
}{
	{"BUS_MAKE", Encode(Cmd{Flags: AccessWorld}, BusSpec{Name: "0-test", Bloom: BloomParameter{64, 1}, Attach: AttachAll}.Items()...), `
		6700000000000000 0200000000000000 0000000000000000 2000000000000000
		0700000000000000 4000000000000000 0100000000000000 1800000000000000
		0c00000000000000 ff3f000000000000 1700000000000000 0b00000000000000
		302d7465737400 00`},
	{"HELLO", Options{Flags: AcceptFD, AttachSend: AttachAll, AttachRecv: AttachAll, Items: []Item{Text(ItemDescription, "go-client")}}.Command().Padded(), `
		8000000000000000 0100000000000000 0000000000000000 ff3f000000000000
		ff3f000000000000 0000000000000000 0000000000000000 0000000100000000
		0000000000000000 0000000000000000 0000000000000000 0000000000000000
		1a00000000000000 0d10000000000000 676f2d636c69656e 7400000000000000`},
	{"NAME_ACQUIRE", Encode(Cmd{Flags: NameQueue}, Name("com.example")), `
		3400000000000000 0400000000000000 0000000000000000 1c00000000000000
		0f00000000000000 636f6d2e6578616d 706c650000000000`},
	{"message", Encode(Msg{Flags: ExpectReply, Priority: -1, PayloadType: PayloadDBus, Cookie: 7, Timeout: 1e9},
		To("com.example"), PayloadAt(0x1122334455667788, 5)), `
		8000000000000000 0100000000000000 ffffffffffffffff 0000000000000000
		0000000000000000 7375424473754244 0700000000000000 00ca9a3b00000000
		1c00000000000000 0a00000000000000 636f6d2e6578616d 706c650000000000
		2000000000000000 0200000000000000 0500000000000000 8877665544332211`},
	{"SEND", Encode(SendCmd{Cmd: Cmd{Flags: SyncReply}, MsgAddress: 0xcafef00d000}), `
		3800000000000000 0100000000000000 0000000000000000 00d000efaf0c0000
		0000000000000000 0000000000000000 0000000000000000`},
	{"MATCH_ADD", Encode(MatchCmd{Cmd{Flags: MatchReplace}, 42}, OfID(ItemID, MatchAnyID)), `
		3800000000000000 0100000000000000 0000000000000000 2a00000000000000
		1800000000000000 0e00000000000000 ffffffffffffffff`},
}

func TestEncode(t *testing.T) {
	for _, v := range vectors {
		want, err := hex.DecodeString(strings.Join(strings.Fields(v.want), ""))
		assert.NilError(t, err)
		assert.DeepEqual(t, v.got.Bytes(), want)
		assert.Equal(t, v.got.Address()%8, uintptr(0), v.name)
	}
}
