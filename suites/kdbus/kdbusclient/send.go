package kdbusclient

import (
	"errors"

	"golang.org/x/sys/unix"
)

// Deadline is the time of CLOCK_MONOTONIC so many nanoseconds from now.
func Deadline(ns uint64) uint64 {
	var ts unix.Timespec
	// The clock is always there: the error cannot be.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return uint64(ts.Nano()) + ns
}

// Send sends a message and does not wait.
func (c *Conn) Send(m Msg, items ...Item) error {
	_, err := c.SendWith(0, nil, m, items...)
	return err
}

// Call sends a message and waits for the reply, which it receives. cancel, where
// it is not negative, is a descriptor that ends the waiting when it is readable.
func (c *Conn) Call(m Msg, cancel int, items ...Item) (*Message, error) {
	var extra []Item
	if cancel >= 0 {
		extra = append(extra, CancelFD(cancel))
	}
	m.Flags |= ExpectReply
	for {
		where, err := c.SendWith(SyncReply, extra, m, items...)
		switch {
		case errors.Is(err, unix.EINTR):
			continue // it goes on waiting, for the cookie is the same
		case err != nil:
			return nil, err
		}
		return c.message(where)
	}
}

// SendWith sends a message with flags and items of the command. It returns where
// the reply is.
func (c *Conn) SendWith(flags uint64, extra []Item, m Msg, items ...Item) (MsgInfo, error) {
	msg := Encode(m, items...)
	cmd := Encode(SendCmd{Cmd: Cmd{Flags: flags}, MsgAddress: uint64(msg.Address())}, extra...)
	err := Ioctl(c.FD, Send, cmd)
	msg.KeepAlive()
	return Fixed[SendCmd](cmd).Reply, err
}

// Recv takes the first message out of the queue and frees its memory. It does not
// wait: EAGAIN says that there is none. With an error the message, if it is not
// nil, tells only what was lost.
func (c *Conn) Recv(flags uint64, priority int64) (*Message, error) {
	m, err := c.Fetch(flags, priority)
	if err == nil && flags&RecvDrop == 0 {
		err = c.Free(m.Info.Offset)
	}
	return m, err
}

// Fetch is Recv without freeing.
func (c *Conn) Fetch(flags uint64, priority int64) (*Message, error) {
	cmd := Encode(RecvCmd{Cmd: Cmd{Flags: flags}, Priority: priority})
	err := Ioctl(c.FD, Recv, cmd)
	r := Fixed[RecvCmd](cmd)
	told := Message{Info: r.Msg, Dropped: r.DroppedMsgs, ReturnFlags: r.ReturnFlags}
	if err != nil || flags&RecvDrop != 0 {
		return &told, err
	}
	m, err := c.message(r.Msg)
	if err != nil {
		return &told, err
	}
	m.Dropped, m.ReturnFlags = told.Dropped, told.ReturnFlags
	return m, nil
}

// message copies a message out of the pool.
func (c *Conn) message(where MsgInfo) (*Message, error) {
	b, err := c.Pool.Copy(where.Offset, where.MsgSize)
	if err != nil {
		return nil, err
	}
	m, err := DecodeMessage(b)
	if err != nil {
		return nil, err
	}
	m.Info = where
	return m, nil
}

// FreeMessage gives a message's slice back.
func (c *Conn) FreeMessage(m *Message) error { return c.Free(m.Info.Offset) }
