package event

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrLost is returned by Recv on a reliable line when events are missing: the
// stream cannot be trusted any further.
var ErrLost = errors.New("events were lost on the channel")

// resendAfter is how long an unacknowledged frame waits before it is sent
// again, on a line that can lose bytes.
const resendAfter = 300 * time.Millisecond

// window bounds the frames that wait for an acknowledgement. It is larger than
// the bursts the agent sends, so that Send seldom waits.
const window = 256

// A Conn sends and receives events in order over a byte stream, under a key
// that only the two ends know. Bytes on the stream that are not frames under
// the key are skipped and counted. One goroutine may call Recv; Send may be
// called from any.
//
// On a line that other parties can write to or read from (a UART), frames are
// acknowledged and sent again until they arrive; the peer must then be inside
// Recv for Send to make progress once the window is full.
type Conn struct {
	w     io.Writer
	scan  *scanner
	key   []byte
	lossy bool

	mu      sync.Mutex
	space   *sync.Cond // signalled when waiting shrinks or the Conn is closed
	next    uint64     // number of the next event to send
	waiting []sent     // not acknowledged yet, oldest first; lossy lines only
	closed  chan struct{}
	dead    bool
	buf     []byte

	expect uint64 // number of the next event to receive
	naked  uint64 // the last number a missing frame was reported for, plus one
}

type sent struct {
	seq   uint64
	bytes []byte
	at    time.Time
}

// NewConn makes a Conn over rw. lossy says that the line can lose, tear or gain
// bytes. A nil key is BootKey.
func NewConn(rw io.ReadWriter, key []byte, lossy bool) *Conn {
	if key == nil {
		key = BootKey
	}
	c := &Conn{w: rw, key: key, lossy: lossy, scan: newScanner(rw, key), closed: make(chan struct{})}
	c.space = sync.NewCond(&c.mu)
	if lossy {
		go c.resendLoop()
	}
	return c
}

// Rekey makes the Conn start anew under key: sequence numbers begin at 0 and
// nothing that waited is sent again. No Send or Recv may be under way. Frames
// under the old key that are still in the stream are skipped.
func (c *Conn) Rekey(key []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key, c.scan.key = key, key
	c.next, c.expect, c.naked, c.waiting = 0, 0, 0, nil
}

// Skipped is the number of bytes received that belonged to no frame.
func (c *Conn) Skipped() int64 { return c.scan.skipped }

// Close stops sending again and wakes a Send that waits. It does not close the
// stream.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead {
		c.dead = true
		close(c.closed)
		c.space.Broadcast()
	}
}

// Send writes one event.
func (c *Conn) Send(e Event) error {
	payload, err := encode(e)
	if err != nil {
		return fmt.Errorf("encode event %s: %w", e.Kind, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) >= window && !c.dead {
		c.space.Wait()
	}
	if c.dead {
		return fmt.Errorf("send event %s: %w", e.Kind, io.ErrClosedPipe)
	}
	c.buf, err = appendFrame(c.buf[:0], c.key, frame{seq: c.next, payload: payload})
	if err != nil {
		return fmt.Errorf("send event %s: %w", e.Kind, err)
	}
	if c.lossy {
		c.waiting = append(c.waiting, sent{c.next, append([]byte(nil), c.buf...), time.Now()})
	}
	c.next++
	if _, err := c.w.Write(c.buf); err != nil {
		return fmt.Errorf("send event %s: %w", e.Kind, err)
	}
	return nil
}

// Recv returns the next event. io.EOF means that the stream ended.
func (c *Conn) Recv() (Event, error) {
	for {
		f, err := c.scan.next()
		if err != nil {
			return Event{}, err
		}
		if f.flags&flagAck != 0 {
			c.acknowledged(f.seq, f.flags&flagLost != 0)
			continue
		}
		if ok, err := c.accept(f.seq); err != nil || !ok {
			if err != nil {
				return Event{}, err
			}
			continue
		}
		return decode(f.payload)
	}
}

// accept says whether the event numbered seq is the one that is due.
func (c *Conn) accept(seq uint64) (bool, error) {
	if seq > c.expect && !c.lossy {
		return false, fmt.Errorf("%w: number %d came when %d was due", ErrLost, seq, c.expect)
	}
	due := seq == c.expect
	if due {
		c.expect++
	}
	if !c.lossy {
		return due, nil
	}
	flags := uint32(flagAck)
	if seq > c.expect {
		if c.naked == c.expect+1 {
			return false, nil // said so already; the sender's clock covers a lost report
		}
		c.naked = c.expect + 1
		flags |= flagLost
	}
	return due, c.writeAck(flags)
}

func (c *Conn) writeAck(flags uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := appendFrame(nil, c.key, frame{flags: flags, seq: c.expect})
	if err != nil {
		return err
	}
	if _, err := c.w.Write(b); err != nil {
		return fmt.Errorf("acknowledge event: %w", err)
	}
	return nil
}

// acknowledged forgets the events before seq, which have arrived, and sends the
// others again if the peer misses one.
func (c *Conn) acknowledged(seq uint64, lost bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.waiting) > 0 && c.waiting[0].seq < seq {
		c.waiting = c.waiting[1:]
	}
	c.space.Broadcast()
	if lost {
		c.resend(time.Now())
	}
}

// resend writes every waiting frame again. c.mu is held.
func (c *Conn) resend(now time.Time) {
	for i := range c.waiting {
		c.waiting[i].at = now
		if _, err := c.w.Write(c.waiting[i].bytes); err != nil {
			return
		}
	}
}

func (c *Conn) resendLoop() {
	tick := time.NewTicker(resendAfter / 2)
	defer tick.Stop()
	for {
		select {
		case <-c.closed:
			return
		case now := <-tick.C:
			c.mu.Lock()
			if len(c.waiting) > 0 && now.Sub(c.waiting[0].at) > resendAfter {
				c.resend(now)
			}
			c.mu.Unlock()
		}
	}
}
