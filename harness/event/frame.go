package event

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// KeySize is the length of a channel's key, in bytes.
const KeySize = 32

// MaxPayload is the largest payload of a frame, in bytes.
const MaxPayload = 256 << 10

// A frame is a header, a payload, and a MAC over both:
//
//	offset size
//	     0    4  magic
//	     4    4  flags (bit 0: acknowledgement, bit 1: something is missing)
//	     8    4  payload length, little endian
//	    12    8  sequence number
//	    20    8  HMAC-SHA256 of bytes 0 to 19, cut to 8 bytes
//	    28    n  payload: an Event, as codec.go has it
//	  28+n   16  HMAC-SHA256 of bytes 0 to 27+n, cut to 16 bytes
//
// The header has a MAC of its own so that forged or torn bytes cannot make the
// reader wait for a payload that never comes.
const (
	headerSize = 28
	headerMAC  = 20
	macSize    = 16
)

var magic = [4]byte{0xf0, 'K', 'P', 0x1e}

const (
	flagAck  = 1 << 0
	flagLost = 1 << 1
)

// The keys of the time before a machine has one of its own. They keep nobody
// out: no case runs yet. They tell the two stages apart, so that a frame of the
// first that is sent again is none of the second.
var (
	BootKey  = bytes.Repeat([]byte{0}, KeySize)
	ReadyKey = bytes.Repeat([]byte{1}, KeySize)
)

type frame struct {
	flags   uint32
	seq     uint64
	payload []byte
}

// errPayload is returned by the encoder for an event that does not fit a frame.
var errPayload = errors.New("event is larger than a frame")

func appendFrame(dst []byte, key []byte, f frame) ([]byte, error) {
	if len(f.payload) > MaxPayload {
		return dst, fmt.Errorf("%w: %d bytes", errPayload, len(f.payload))
	}
	start := len(dst)
	dst = append(dst, magic[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, f.flags)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.payload)))
	dst = binary.LittleEndian.AppendUint64(dst, f.seq)
	dst = append(dst, sum(key, dst[start:])[:8]...)
	dst = append(dst, f.payload...)
	return append(dst, sum(key, dst[start:])[:macSize]...), nil
}

func sum(key, data []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(data)
	return m.Sum(nil)
}

// A scanner finds frames in a byte stream and skips whatever is between them.
type scanner struct {
	r       *bufio.Reader
	key     []byte
	skipped int64 // bytes that belonged to no frame
}

func newScanner(r io.Reader, key []byte) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, headerSize+MaxPayload+macSize), key: key}
}

// next returns the next good frame.
func (s *scanner) next() (frame, error) {
	for {
		head, err := s.r.Peek(headerSize)
		if i := bytes.IndexByte(head, magic[0]); i != 0 {
			if err != nil && i < 0 {
				return frame{}, err
			}
			s.skip(i, len(head))
			continue
		}
		if err != nil {
			return frame{}, err
		}
		f, size, ok, err := s.frameAt(head)
		if err != nil {
			return frame{}, err
		}
		if !ok {
			s.skip(1, 1)
			continue
		}
		s.r.Discard(size)
		return f, nil
	}
}

// skip drops n bytes, or all of them if n is negative.
func (s *scanner) skip(n, all int) {
	if n < 0 {
		n = all
	}
	s.r.Discard(n)
	s.skipped += int64(n)
}

// frameAt checks the frame that begins with head and returns it with its size.
func (s *scanner) frameAt(head []byte) (f frame, size int, ok bool, err error) {
	length := binary.LittleEndian.Uint32(head[8:])
	if !bytes.Equal(head[:4], magic[:]) || length > MaxPayload {
		return f, 0, false, nil
	}
	if !hmac.Equal(sum(s.key, head[:headerMAC])[:8], head[headerMAC:headerSize]) {
		return f, 0, false, nil
	}
	body := headerSize + int(length)
	all, err := s.r.Peek(body + macSize)
	if err != nil {
		return f, 0, false, err
	}
	if !hmac.Equal(sum(s.key, all[:body])[:macSize], all[body:]) {
		return f, 0, false, nil
	}
	f = frame{
		flags:   binary.LittleEndian.Uint32(all[4:]),
		seq:     binary.LittleEndian.Uint64(all[12:]),
		payload: bytes.Clone(all[headerSize:body]),
	}
	return f, body + macSize, true, nil
}
