package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"strings"
	"sync"
	"testing"

	"gotest.tools/v3/assert"
)

var testKey = bytes.Repeat([]byte{7}, KeySize)

type readWriter struct {
	io.Reader
	io.Writer
}

func stream(t *testing.T, key []byte, events ...Event) []byte {
	t.Helper()
	var b bytes.Buffer
	c := NewConn(readWriter{nil, &b}, key, false)
	for _, e := range events {
		assert.NilError(t, c.Send(e))
	}
	return b.Bytes()
}

func TestForeignBytesAreSkipped(t *testing.T) {
	want := []Event{{Kind: Start, Case: "s/a"}, {Kind: Finish, Case: "s/a", Status: "pass"}}
	all := stream(t, testKey, want...)
	forged := stream(t, nil, Event{Kind: Finish, Case: "s/b", Status: "pass"})
	// A torn copy and a header with an enormous length must not stall the reader.
	torn := all[:headerSize+3]
	long := append([]byte{}, forged[:headerSize]...)
	long[10] = 0xff
	for _, noise := range [][]byte{forged, torn, long, []byte("--- FAIL: TestFake\n"), magic[:], bytes.Repeat(magic[:1], 100)} {
		in := append(append(append([]byte{}, noise...), all...), noise...)
		c := NewConn(readWriter{bytes.NewReader(in), io.Discard}, testKey, false)
		for _, w := range want {
			got, err := c.Recv()
			assert.NilError(t, err)
			assert.DeepEqual(t, got, w)
		}
		_, err := c.Recv()
		assert.Assert(t, err != nil)
		assert.Assert(t, c.Skipped() >= int64(len(noise)))
	}
}

func TestReplayedFramesAreNotEventsAgain(t *testing.T) {
	all := stream(t, testKey, Event{Kind: Start}, Event{Kind: Finish})
	c := NewConn(readWriter{bytes.NewReader(append(all, all...)), io.Discard}, testKey, false)
	for range 2 {
		_, err := c.Recv()
		assert.NilError(t, err)
	}
	_, err := c.Recv()
	assert.Equal(t, err, io.EOF)
}

func TestLossOnReliableLineIsAnError(t *testing.T) {
	a := stream(t, testKey, Event{Kind: Start})
	all := stream(t, testKey, Event{Kind: Start}, Event{Kind: Finish})
	c := NewConn(readWriter{bytes.NewReader(all[len(a):]), io.Discard}, testKey, false)
	_, err := c.Recv()
	assert.Assert(t, errors.Is(err, ErrLost))
}

func TestOversizedEventIsRefused(t *testing.T) {
	c := NewConn(readWriter{nil, io.Discard}, testKey, false)
	err := c.Send(Event{Kind: Output, Text: strings.Repeat("x", MaxPayload)})
	assert.Assert(t, errors.Is(err, errPayload))
}

// noisy spoils what passes through it: it drops bytes and inserts foreign ones.
type noisy struct {
	io.ReadWriter
	mu  sync.Mutex
	rng *rand.Rand
}

func (n *noisy) Write(p []byte) (int, error) {
	n.mu.Lock()
	out := append([]byte{}, p...)
	switch i := n.rng.Intn(len(out)); n.rng.Intn(40) {
	case 0:
		out = append(out[:i:i], out[i+1:]...)
	case 1:
		out = append(out[:i:i], append([]byte("\xf0KP\x1e garbage"), out[i:]...)...)
	case 2:
		out = out[:i]
	}
	n.mu.Unlock()
	if _, err := n.ReadWriter.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func TestLossyLineDeliversEverythingInOrder(t *testing.T) {
	const events = 200
	left, right := net.Pipe()
	defer left.Close()
	defer right.Close()
	a := NewConn(&noisy{ReadWriter: pipe(left), rng: rand.New(rand.NewSource(1))}, testKey, true)
	b := NewConn(&noisy{ReadWriter: pipe(right), rng: rand.New(rand.NewSource(2))}, testKey, true)
	defer a.Close()
	defer b.Close()
	go func() {
		for {
			if _, err := a.Recv(); err != nil {
				return
			}
		}
	}()
	go func() {
		for i := range events {
			if a.Send(Event{Kind: Output, Text: fmt.Sprint(i)}) != nil {
				return
			}
		}
	}()
	for i := range events {
		e, err := b.Recv()
		assert.NilError(t, err)
		assert.Equal(t, e.Text, fmt.Sprint(i))
	}
}

// pipe gives a net.Pipe end, whose Write waits for a Read, a buffer.
func pipe(c net.Conn) io.ReadWriter {
	r, w := io.Pipe()
	ch := make(chan []byte, 1<<16)
	go func() {
		for b := range ch {
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}()
	go func() {
		_, err := io.Copy(w, c)
		w.CloseWithError(err)
	}()
	return readWriter{r, writerFunc(func(p []byte) (int, error) {
		ch <- append([]byte{}, p...)
		return len(p), nil
	})}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func FuzzScanner(f *testing.F) {
	good, _ := appendFrame(nil, testKey, frame{seq: 1, payload: []byte(`{"kind":"start"}`)})
	f.Add(good)
	f.Add(append(good[:20:20], good...))
	f.Fuzz(func(t *testing.T, noise []byte) {
		s := newScanner(bytes.NewReader(append(bytes.Clone(noise), good...)), testKey)
		for {
			fr, err := s.next()
			if err != nil {
				t.Fatalf("the good frame behind the noise was not found: %v", err)
			}
			if fr.seq == 1 {
				return
			}
		}
	})
}
