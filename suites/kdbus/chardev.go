package kdbus

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// The operations of July 2014. This file is written from a description of that
// dialect; no kernel that speaks it could be had to try it on.
const (
	charBusMake     kc.Op = 0x40109500
	charHello       kc.Op = 0xc0509530
	charByebye      kc.Op = 0x00009531
	charSend        kc.Op = 0xc0409540
	charRecv        kc.Op = 0xc0189541
	charFree        kc.Op = 0x40089543
	charNameAcquire kc.Op = 0xc0209550
	charNameRelease kc.Op = 0x40209551
)

// Item types of July 2014 that are not those of 2015.
const (
	charItemVec            = 1
	charItemOff            = 2
	charItemBloomParameter = 5
	charItemDstName        = 8
	charItemMakeName       = 9
)

// A charMake is the argument of BUS_MAKE, before its items.
type charMake struct{ Size, Flags uint64 }

// A charHelloCmd is the argument of HELLO.
type charHelloCmd struct {
	Size, ConnFlags, AttachFlags, BusFlags, ID, PoolSize uint64
	Bloom                                                kc.BloomParameter
	ID128                                                [16]byte
}

// A charRecvCmd is the argument of RECV; it has no size.
type charRecvCmd struct {
	Flags    uint64
	Priority int64
	Offset   uint64
}

// A charName is the argument of NAME_ACQUIRE and NAME_RELEASE; the name follows.
type charName struct{ Size, Flags, OwnerID, ConnFlags uint64 }

// charConn is a connection.
type charConn struct {
	fd   int
	id   uint64
	pool *kc.Pool
}

// charCommand lays out a fixed part with bytes after it and their size in front.
func charCommand[T any](fixed T, after []byte) *kc.Command {
	c := kc.Encode(struct {
		Fixed T
		After [64]byte
	}{Fixed: fixed})
	n := unsafe.Sizeof(fixed)
	copy(c.Bytes()[n:], after)
	word(c, 0, uint64(n)+uint64(len(after)))
	return c
}

func charDeviceSmoke(t *suites.T) {
	if d := spoken(t); d != charDevice {
		t.Skipf("this kernel speaks %s", d)
	}
	f := &fixture{t: t, owned: make(map[int]bool)}
	defer func() {
		for fd := range f.owned {
			unix.Close(fd)
		}
	}()
	control, err := kc.Open(charControl)
	f.do("open control", err)
	f.own(control)
	name := fmt.Sprintf("%d-kplay", os.Geteuid())
	f.do("make a bus", kc.Ioctl(control, charBusMake,
		kc.Encode(charMake{Flags: kc.AccessWorld}, kc.Raw(charItemBloomParameter, kc.Bloom(bloomSize, 1).Data), kc.Text(charItemMakeName, name))))
	a, b := f.charConn(name), f.charConn(name)
	named := func(op kc.Op) error {
		return kc.Ioctl(b.fd, op, charCommand(charName{}, append([]byte(nameA), 0)))
	}
	f.do("acquire a name", named(charNameAcquire))
	text := []byte("by name")
	f.do("send by ID", a.send(toID(b.id, 1), kc.Raw(charItemVec, kc.Payload(text).Data)))
	f.do("send by name", a.send(toID(0, 2), kc.Text(charItemDstName, nameA), kc.Raw(charItemVec, kc.Payload(text).Data)))
	for cookie := uint64(1); cookie <= 2; cookie++ {
		f.charRecv(b, a, cookie, string(text))
	}
	f.do("release the name", named(charNameRelease))
	f.refused("send to an unknown ID", a.send(toID(unknownID, 3)), unix.ENXIO)
	f.refused("receive from an empty queue", kc.Ioctl(b.fd, charRecv, charRecvCommand()), unix.EAGAIN)
	f.do("byebye", kc.IoctlAt(a.fd, charByebye, 0))
	f.refused("byebye again", kc.IoctlAt(a.fd, charByebye, 0), unix.EALREADY)
	f.do("unmap", a.pool.Unmap())
	f.do("unmap", b.pool.Unmap())
}

// charConn connects to the default endpoint of a bus.
func (f *fixture) charConn(bus string) charConn {
	f.t.Helper()
	fd, err := kc.Open("/dev/kdbus/" + bus + "/bus")
	f.do("open the endpoint", err)
	f.own(fd)
	cmd := kc.Encode(charHelloCmd{ConnFlags: kc.AcceptFD, PoolSize: smallPool})
	f.do("connect", kc.Ioctl(fd, charHello, cmd))
	h := kc.Fixed[charHelloCmd](cmd)
	want(f, "bloom parameter", h.Bloom, kc.BloomParameter{Size: bloomSize, Hashes: 1})
	pool, err := kc.MapPool(fd, smallPool)
	f.do("map the pool", err)
	return charConn{fd, h.ID, pool}
}

// send sends a message, which is the argument itself.
func (c charConn) send(m kc.Msg, items ...kc.Item) error {
	return kc.Ioctl(c.fd, charSend, kc.Encode(m, items...))
}

// charRecvCommand has flags where other commands have their size.
func charRecvCommand() *kc.Command {
	cmd := kc.Encode(charRecvCmd{})
	word(cmd, 0, 0)
	return cmd
}

// charRecv receives a message and frees it.
func (f *fixture) charRecv(at, from charConn, cookie uint64, text string) {
	f.t.Helper()
	cmd := charRecvCommand()
	f.do("receive", kc.Ioctl(at.fd, charRecv, cmd))
	offset := kc.Fixed[charRecvCmd](cmd).Offset
	b, err := at.pool.Copy(offset, at.pool.Size()-offset)
	f.do("read the pool", err)
	m, err := kc.DecodeMessage(b)
	f.do("read the message", err)
	want(f, "cookie", m.Cookie, cookie)
	want(f, "source", m.SrcID, from.id)
	i, _ := kc.Find(m.Items, charItemOff)
	data, err := m.Bytes(i)
	f.do("read the payload", err)
	want(f, "payload", string(data), text)
	free := kc.Encode(struct{ Offset uint64 }{})
	word(free, 0, offset)
	f.do("free", kc.Ioctl(at.fd, charFree, free))
}
