package event

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// An event is written as its fields that are not zero, each as a tag and a
// value: a number as a varint, a text as its length and its bytes. The tag is the
// field's place in the lists below, and is never given to another field. It is
// not JSON, for which the first event of a clone paid 30 ms: under emulation all
// code that runs the first time is translated first.
const (
	tagText   = 0x00
	tagBlob   = 0x20
	tagSigned = 0x40
	tagCount  = 0x60
	tagAlone  = 0x80
	tagFacts  = 0x81

	tagPlace = 0x1f
)

func (e *Event) texts() []*string {
	return []*string{(*string)(&e.Kind), &e.Case, &e.Status, &e.Reason, &e.Text, &e.Dirty, &e.Name, &e.Params}
}

func (e *Event) blobs() []*[]byte { return []*[]byte{&e.Key, &e.Entropy} }

func (e *Event) signed() []*int64 {
	return []*int64{&e.Dropped, &e.GuestNS, &e.Level, &e.Facility, &e.Size, &e.Program, &e.WallNS}
}

func (e *Event) counts() []*uint64 { return []*uint64{&e.Taint, &e.Seq} }

func encode(e Event) ([]byte, error) {
	var b []byte
	for i, s := range e.texts() {
		if *s != "" {
			b = binary.AppendUvarint(append(b, tagText|byte(i)), uint64(len(*s)))
			b = append(b, *s...)
		}
	}
	for i, s := range e.blobs() {
		if len(*s) > 0 {
			b = binary.AppendUvarint(append(b, tagBlob|byte(i)), uint64(len(*s)))
			b = append(b, *s...)
		}
	}
	for i, n := range e.signed() {
		if *n != 0 {
			b = binary.AppendVarint(append(b, tagSigned|byte(i)), *n)
		}
	}
	for i, n := range e.counts() {
		if *n != 0 {
			b = binary.AppendUvarint(append(b, tagCount|byte(i)), *n)
		}
	}
	if e.Alone {
		b = append(b, tagAlone)
	}
	if e.Facts == nil {
		return b, nil
	}
	facts, err := json.Marshal(e.Facts)
	b = binary.AppendUvarint(append(b, tagFacts), uint64(len(facts)))
	return append(b, facts...), err
}

// errEvent is what is wrong with bytes that are no event.
var errEvent = errors.New("not an event")

func decode(b []byte) (e Event, err error) {
	for len(b) > 0 {
		tag := b[0]
		if b, err = e.field(tag, b[1:]); err != nil {
			return Event{}, fmt.Errorf("decode event: field %#x: %w", tag, err)
		}
	}
	return e, nil
}

// field reads the value of the tag and returns what comes after it.
func (e *Event) field(tag byte, b []byte) ([]byte, error) {
	place := int(tag & tagPlace)
	switch {
	case tag == tagAlone:
		e.Alone = true
		return b, nil
	case tag == tagFacts:
		text, rest, err := cutText(b)
		if err != nil {
			return nil, err
		}
		e.Facts = new(Facts)
		return rest, json.Unmarshal(text, e.Facts)
	case tag&^tagPlace == tagText && place < len(e.texts()):
		text, rest, err := cutText(b)
		*e.texts()[place] = string(text)
		return rest, err
	case tag&^tagPlace == tagBlob && place < len(e.blobs()):
		text, rest, err := cutText(b)
		*e.blobs()[place] = bytes.Clone(text)
		return rest, err
	case tag&^tagPlace == tagSigned && place < len(e.signed()):
		n, size := binary.Varint(b)
		*e.signed()[place] = n
		return cut(b, size)
	case tag&^tagPlace == tagCount && place < len(e.counts()):
		n, size := binary.Uvarint(b)
		*e.counts()[place] = n
		return cut(b, size)
	}
	return nil, errEvent
}

func cutText(b []byte) (text, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	b, err = cut(b, size)
	if err != nil || n > uint64(len(b)) {
		return nil, nil, errEvent
	}
	return b[:n], b[n:], nil
}

// cut drops the size bytes of a number; size is not positive if there is none.
func cut(b []byte, size int) ([]byte, error) {
	if size <= 0 {
		return nil, errEvent
	}
	return b[size:], nil
}
