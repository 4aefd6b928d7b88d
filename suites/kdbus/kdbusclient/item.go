package kdbusclient

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"
)

// An Item is one item of a command, a message or a record.
type Item struct {
	Type uint64
	Data []byte // its payload, without padding
	keep []byte // what Data has the address of
}

// Raw is an item of any type and payload.
func Raw(kind uint64, data []byte) Item { return Item{Type: kind, Data: data} }

// Text is an item whose payload is s and a NUL.
func Text(kind uint64, s string) Item { return Item{Type: kind, Data: append([]byte(s), 0)} }

// Name is a NAME item.
func Name(s string) Item { return Text(ItemName, s) }

// To is a DST_NAME item.
func To(name string) Item { return Text(ItemDstName, name) }

// Words is an item whose payload is 64-bit words.
func Words(kind uint64, words ...uint64) Item {
	var b []byte
	for _, w := range words {
		b = binary.NativeEndian.AppendUint64(b, w)
	}
	return Item{Type: kind, Data: b}
}

// Payload is a PAYLOAD_VEC item of b, which is read when the message is sent.
func Payload(b []byte) Item {
	if len(b) == 0 {
		return PayloadAt(0, 0)
	}
	i := PayloadAt(uintptr(unsafe.Pointer(&b[0])), uint64(len(b)))
	i.keep = b
	return i
}

// PayloadAt is a PAYLOAD_VEC item of size bytes at any address; at 0 it stands for
// that many zeros.
func PayloadAt(at uintptr, size uint64) Item {
	return Item{Type: ItemPayloadVec, Data: bytesOf(Vec{Size: size, Address: uint64(at)})}
}

// PayloadMemfd is a PAYLOAD_MEMFD item of a part of a sealed memfd.
func PayloadMemfd(fd int, start, size uint64) Item {
	return Item{Type: ItemPayloadMemfd, Data: bytesOf(Memfd{Start: start, Size: size, FD: int32(fd)})}
}

// FDs is an FDS item.
func FDs(fds ...int) Item {
	i := Item{Type: ItemFDs}
	for _, fd := range fds {
		i.Data = binary.NativeEndian.AppendUint32(i.Data, uint32(int32(fd)))
	}
	return i
}

// CancelFD is a CANCEL_FD item.
func CancelFD(fd int) Item {
	return Item{Type: ItemCancelFD, Data: binary.NativeEndian.AppendUint32(nil, uint32(int32(fd)))}
}

// Bloom is a BLOOM_PARAMETER item.
func Bloom(size, hashes uint64) Item {
	return Item{Type: ItemBloomParameter, Data: bytesOf(BloomParameter{size, hashes})}
}

// Filter is a BLOOM_FILTER item.
func Filter(generation uint64, bits []byte) Item {
	return Item{Type: ItemBloomFilter, Data: append(binary.NativeEndian.AppendUint64(nil, generation), bits...)}
}

// Mask is a BLOOM_MASK item: one block of the bus's filter size for each
// generation.
func Mask(blocks ...[]byte) Item { return Item{Type: ItemBloomMask, Data: bytes.Join(blocks, nil)} }

// Access is a POLICY_ACCESS item.
func Access(kind, access, id uint64) Item {
	return Item{Type: ItemPolicyAccess, Data: bytesOf(PolicyAccess{kind, access, id})}
}

// OfID is a rule about an ID: of type ItemID, ItemDstID, ItemIDAdd or ItemIDRemove.
func OfID(kind, id uint64) Item {
	if kind == ItemIDAdd || kind == ItemIDRemove {
		return Words(kind, id, 0)
	}
	return Words(kind, id)
}

// OfName is a rule about a change of a name; an empty name stands for any.
func OfName(kind, oldID, newID uint64, name string) Item {
	i := Words(kind, oldID, 0, newID, 0)
	if name != "" {
		i.Data = append(append(i.Data, name...), 0)
	}
	return i
}

// As reads an item's payload as a T; what is there beyond it is ignored.
func As[T any](i Item) (v T, err error) {
	n := int(unsafe.Sizeof(v))
	if len(i.Data) < n {
		return v, fmt.Errorf("item %#x has %d bytes, want %d", i.Type, len(i.Data), n)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), n), i.Data)
	return v, nil
}

// String reads an item's payload as a string that ends with its only NUL.
func (i Item) String() string { return textOf(i.Data) }

// textOf is what comes before the first NUL.
func textOf(b []byte) string {
	s, _, _ := bytes.Cut(b, []byte{0})
	return string(s)
}

// Change reads the payload of NAME_ADD, NAME_REMOVE or NAME_CHANGE.
func (i Item) Change() (NameChange, string, error) {
	c, err := As[NameChange](i)
	if err != nil {
		return c, "", err
	}
	return c, textOf(i.Data[unsafe.Sizeof(c):]), nil
}

// Owned reads the payload of OWNED_NAME: the flags, and the name.
func (i Item) Owned() (flags uint64, name string, err error) {
	if flags, err = As[uint64](i); err != nil {
		return 0, "", err
	}
	return flags, textOf(i.Data[8:]), nil
}

// Longs reads the payload as 64-bit words; bytes after the last are ignored.
func (i Item) Longs() (words []uint64) {
	for b := i.Data; len(b) >= 8; b = b[8:] {
		words = append(words, binary.NativeEndian.Uint64(b))
	}
	return words
}

// Descriptors reads the payload of FDS.
func (i Item) Descriptors() (fds []int) {
	for b := i.Data; len(b) >= 4; b = b[4:] {
		fds = append(fds, int(int32(binary.NativeEndian.Uint32(b))))
	}
	return fds
}
