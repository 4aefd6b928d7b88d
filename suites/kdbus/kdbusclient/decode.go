package kdbusclient

import (
	"encoding/binary"
	"fmt"
	"unsafe"
)

// Items takes a list of items apart. The payloads share b's memory.
func Items(b []byte) (items []Item, err error) {
	for at := uint64(0); at < uint64(len(b)); {
		rest := b[at:]
		if len(rest) < itemHeader {
			return nil, fmt.Errorf("item at %d: only %d bytes are left", at, len(rest))
		}
		size := binary.NativeEndian.Uint64(rest)
		if size < itemHeader || size > uint64(len(rest)) {
			return nil, fmt.Errorf("item at %d: its size %d does not fit into %d bytes", at, size, len(rest))
		}
		items = append(items, Item{Type: binary.NativeEndian.Uint64(rest[8:]), Data: rest[itemHeader:size]})
		at += align(size)
	}
	return items, nil
}

// Find returns the first item of a type.
func Find(items []Item, kind uint64) (Item, bool) {
	for _, i := range items {
		if i.Type == kind {
			return i, true
		}
	}
	return Item{}, false
}

// Count is how many items there are of a type.
func Count(items []Item, kind uint64) (n int) {
	for _, i := range items {
		if i.Type == kind {
			n++
		}
	}
	return n
}

// A Record is one of LIST, or what CONN_INFO and BUS_CREATOR_INFO tell.
type Record struct {
	Header
	Items []Item
}

// Records takes an array of records apart.
func Records(b []byte) (all []Record, err error) {
	for len(b) > 0 {
		h, err := readAs[Header](b)
		if err != nil {
			return nil, err
		}
		if h.Size < uint64(unsafe.Sizeof(h)) || h.Size > uint64(len(b)) {
			return nil, fmt.Errorf("record %d: its size %d does not fit into %d bytes", len(all), h.Size, len(b))
		}
		items, err := Items(b[unsafe.Sizeof(h):h.Size])
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", len(all), err)
		}
		all = append(all, Record{h, items})
		b = b[min(align(h.Size), uint64(len(b))):]
	}
	return all, nil
}

func readAs[T any](b []byte) (T, error) { return As[T](Item{Data: b}) }

// A Message is one that was received, copied out of the pool.
type Message struct {
	Msg
	Items []Item
	Slice []byte  // all of it: header, items, payload
	Info  MsgInfo // where it is in the pool, until freed

	Dropped     uint64 // how many were lost before it
	ReturnFlags uint64 // of RECV
}

// msgSize is the size of a message without items.
const msgSize = uint64(unsafe.Sizeof(Msg{}))

// DecodeMessage takes a message apart.
func DecodeMessage(b []byte) (*Message, error) {
	h, err := readAs[Msg](b)
	if err != nil {
		return nil, err
	}
	if h.Size < msgSize || h.Size > uint64(len(b)) {
		return nil, fmt.Errorf("message: its size %d does not fit into a slice of %d bytes", h.Size, len(b))
	}
	items, err := Items(b[msgSize:h.Size])
	if err != nil {
		return nil, fmt.Errorf("message: %w", err)
	}
	return &Message{Msg: h, Items: items, Slice: b}, nil
}

// CookieReply is the cookie of the call that a reply or a notification answers.
func (m *Message) CookieReply() uint64 { return m.Timeout }

// Base is where the payload begins in the slice.
func (m *Message) Base() uint64 { return align(m.Size) }

// Bytes are what a PAYLOAD_OFF item stands for. An offset outside of the payload
// stands for zeros.
func (m *Message) Bytes(i Item) ([]byte, error) {
	v, err := As[Vec](i)
	if err != nil {
		return nil, err
	}
	end := uint64(len(m.Slice))
	switch {
	case v.Size > MaxPayload:
		return nil, fmt.Errorf("payload of %d bytes is more than a message can have", v.Size)
	case v.Address < m.Base() || v.Address >= end:
		return make([]byte, v.Size), nil
	case v.Size > end-v.Address:
		return nil, fmt.Errorf("payload of %d bytes at %d is not within a slice of %d", v.Size, v.Address, end)
	}
	return m.Slice[v.Address : v.Address+v.Size], nil
}

// Data is the payload of all PAYLOAD_OFF items, in a row.
func (m *Message) Data() (all []byte, err error) {
	for _, i := range m.Items {
		if i.Type != ItemPayloadOff {
			continue
		}
		b, err := m.Bytes(i)
		if err != nil {
			return nil, err
		}
		if len(all)+len(b) > MaxPayload {
			return nil, fmt.Errorf("payload is more than %d bytes", MaxPayload)
		}
		all = append(all, b...)
	}
	return all, nil
}

// Descriptors are those the message came with, -1 where one could not be had: the
// array's and then those of memfds.
func (m *Message) Descriptors() (fds []int) {
	for _, i := range m.Items {
		if i.Type == ItemFDs {
			fds = append(fds, i.Descriptors()...)
		}
	}
	for _, i := range m.Items {
		if memfd, err := As[Memfd](i); i.Type == ItemPayloadMemfd && err == nil {
			fds = append(fds, int(memfd.FD))
		}
	}
	return fds
}
