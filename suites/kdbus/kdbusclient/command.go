package kdbusclient

import (
	"encoding/binary"
	"runtime"
	"unsafe"
)

// itemHeader is the size and the type in front of an item's payload.
const itemHeader = 16

// align rounds up to where the next item begins.
func align(n uint64) uint64 { return (n + 7) &^ 7 }

// A Command is the argument of an operation, or a message: a fixed part and items,
// at an address divisible by 8, where it stays.
type Command struct {
	words []uint64
	size  uint64   // as its first word, unless that was changed
	keep  [][]byte // what it has addresses of
}

// Encode lays out a command. Its size, the first word of fixed, is set, without
// the padding of the last item.
//
//go:noinline
func Encode[T any](fixed T, items ...Item) *Command {
	base := uint64(unsafe.Sizeof(fixed))
	size := base
	for _, i := range items {
		size = align(size) + itemHeader + uint64(len(i.Data))
	}
	c := &Command{words: make([]uint64, align(size)/8), size: size}
	*Fixed[T](c) = fixed
	at := base
	for _, i := range items {
		at = align(at) + i.put(c.Bytes()[align(at):])
		if i.keep != nil {
			c.keep = append(c.keep, i.keep)
		}
	}
	c.words[0] = size
	return c
}

// put writes an item and returns its size.
func (i Item) put(to []byte) uint64 {
	size := itemHeader + uint64(len(i.Data))
	binary.NativeEndian.PutUint64(to, size)
	binary.NativeEndian.PutUint64(to[8:], i.Type)
	copy(to[itemHeader:], i.Data)
	return size
}

// Fixed is the part of the command before its items.
func Fixed[T any](c *Command) *T { return (*T)(unsafe.Pointer(&c.words[0])) }

// Bytes are the command with the padding of the last item; changing them changes
// it.
func (c *Command) Bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(&c.words[0])), len(c.words)*8)
}

// Padded counts the padding of the last item into the command's size, which is as
// good.
func (c *Command) Padded() *Command {
	c.size = align(c.size)
	c.words[0] = c.size
	return c
}

// Address is where the command is, as long as it is kept alive.
func (c *Command) Address() uintptr { return uintptr(unsafe.Pointer(&c.words[0])) }

// Items are the command's items as they are now, after the kernel changed them
// perhaps.
func (c *Command) Items(fixed uint64) []Item {
	items, err := Items(c.Bytes()[fixed:c.size])
	if err != nil {
		return nil
	}
	return items
}

// KeepAlive keeps the command and all it points to until here.
func (c *Command) KeepAlive() { runtime.KeepAlive(c) }

// bytesOf copies the memory of v.
func bytesOf[T any](v T) []byte {
	b := make([]byte, unsafe.Sizeof(v))
	copy(b, unsafe.Slice((*byte)(unsafe.Pointer(&v)), len(b)))
	return b
}
