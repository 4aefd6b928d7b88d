package kdbusclient

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// DefaultPool is the size of a pool where Options do not say, in bytes.
const DefaultPool = 16 << 20

// Options say how a connection is to be.
type Options struct {
	Flags                  uint64
	AttachSend, AttachRecv uint64
	PoolSize               uint64 // bytes; 0 means DefaultPool
	Items                  []Item
}

// Command is the HELLO command.
func (o Options) Command() *Command {
	size := o.PoolSize
	if size == 0 {
		size = DefaultPool
	}
	return Encode(HelloCmd{
		Cmd: Cmd{Flags: o.Flags}, AttachSend: o.AttachSend, AttachRecv: o.AttachRecv, PoolSize: size,
	}, o.Items...)
}

// A Conn is a connection to a bus.
type Conn struct {
	FD       int
	ID       uint64
	BusFlags uint64
	ID128    [16]byte
	Bloom    BloomParameter // of the bus
	Pool     *Pool
}

// Dial opens an endpoint and connects to it.
func Dial(path string, o Options) (*Conn, error) {
	fd, err := Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the endpoint: %w", err)
	}
	c, err := Connect(fd, o)
	if err != nil {
		unix.Close(fd)
	}
	return c, err
}

// Connect makes a connection of a fresh descriptor of an endpoint, and frees what
// HELLO told.
func Connect(fd int, o Options) (*Conn, error) {
	cmd := o.Command()
	if err := Ioctl(fd, Hello, cmd); err != nil {
		return nil, err
	}
	h := Fixed[HelloCmd](cmd)
	c := &Conn{FD: fd, ID: h.ID, BusFlags: h.BusFlags, ID128: h.ID128}
	var err error
	if c.Pool, err = MapPool(fd, h.PoolSize); err != nil {
		return nil, fmt.Errorf("map the pool: %w", err)
	}
	b, err := c.take(h.Offset, h.ItemsSize, o.Flags&PolicyHolder == 0)
	if err != nil {
		return nil, err
	}
	items, err := Items(b)
	if err != nil {
		return nil, err
	}
	if i, ok := Find(items, ItemBloomParameter); ok {
		c.Bloom, err = As[BloomParameter](i)
	}
	return c, err
}

// take copies a slice and gives it back.
func (c *Conn) take(offset, size uint64, free bool) ([]byte, error) {
	b, err := c.Pool.Copy(offset, size)
	if err != nil {
		return nil, err
	}
	if free {
		if err := c.Free(offset); err != nil {
			return nil, fmt.Errorf("free the slice at %d: %w", offset, err)
		}
	}
	return b, nil
}

// Close closes the connection's descriptor and unmaps its pool.
func (c *Conn) Close() error {
	return errors.Join(c.Pool.Unmap(), unix.Close(c.FD))
}

// Byebye ends the connection if nothing is queued.
func (c *Conn) Byebye() error { return Ioctl(c.FD, Byebye, Encode(Cmd{})) }

// Free gives a slice back.
func (c *Conn) Free(offset uint64) error { return Ioctl(c.FD, Free, Encode(FreeCmd{Offset: offset})) }

// Update changes the attach flags, or the policy of a policy holder.
func (c *Conn) Update(items ...Item) error { return Ioctl(c.FD, Update, Encode(Cmd{}, items...)) }

// List tells of connections and names. Policy holders cannot give the slice back.
func (c *Conn) List(flags uint64) ([]Record, error) {
	cmd := Encode(ListCmd{Cmd: Cmd{Flags: flags}})
	if err := Ioctl(c.FD, List, cmd); err != nil {
		return nil, err
	}
	l := Fixed[ListCmd](cmd)
	b, err := c.take(l.Offset, l.ListSize, true)
	if err != nil {
		return nil, err
	}
	return Records(b)
}

// Info tells of a connection by its ID.
func (c *Conn) Info(id, attach uint64) (Record, error) {
	return c.info(ConnInfo, InfoCmd{ID: id, Attach: attach})
}

// InfoOf tells of the connection that owns a name.
func (c *Conn) InfoOf(name string, attach uint64) (Record, error) {
	return c.info(ConnInfo, InfoCmd{Attach: attach}, Name(name))
}

// Creator tells of the bus and who made it.
func (c *Conn) Creator(attach uint64) (Record, error) {
	return c.info(BusCreatorInfo, InfoCmd{Attach: attach})
}

func (c *Conn) info(op Op, fixed InfoCmd, items ...Item) (Record, error) {
	cmd := Encode(fixed, items...)
	if err := Ioctl(c.FD, op, cmd); err != nil {
		return Record{}, err
	}
	i := Fixed[InfoCmd](cmd)
	b, err := c.take(i.Offset, i.InfoSize, true)
	if err != nil {
		return Record{}, err
	}
	all, err := Records(b)
	if err != nil {
		return Record{}, err
	}
	if len(all) != 1 || all[0].Size != i.InfoSize {
		return Record{}, fmt.Errorf("%v told %d records in %d bytes, want one", op, len(all), i.InfoSize)
	}
	return all[0], nil
}

// Acquire asks for a name, and returns what the name's flags became.
func (c *Conn) Acquire(name string, flags uint64) (uint64, error) {
	cmd := Encode(Cmd{Flags: flags}, Name(name))
	err := Ioctl(c.FD, NameAcquire, cmd)
	return Fixed[Cmd](cmd).ReturnFlags, err
}

// Release gives a name back, or a place in its queue.
func (c *Conn) Release(name string) error {
	return Ioctl(c.FD, NameRelease, Encode(Cmd{}, Name(name)))
}

// Match adds an entry that wants broadcasts to which all rules apply.
func (c *Conn) Match(cookie, flags uint64, rules ...Item) error {
	return Ioctl(c.FD, MatchAdd, Encode(MatchCmd{Cmd{Flags: flags}, cookie}, rules...))
}

// Unmatch removes the entries with a cookie.
func (c *Conn) Unmatch(cookie uint64) error {
	return Ioctl(c.FD, MatchRemove, Encode(MatchCmd{Cookie: cookie}))
}

// Poll waits up to so many milliseconds for the connection to be ready, and
// returns for what.
func (c *Conn) Poll(events int16, timeout int) (int16, error) { return Poll(c.FD, events, timeout) }

// Poll is poll(2) of one descriptor; a signal does not end it.
func Poll(fd int, events int16, timeout int) (int16, error) {
	set := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		_, err := unix.Poll(set, timeout)
		if err != unix.EINTR {
			return set[0].Revents, err
		}
	}
}
