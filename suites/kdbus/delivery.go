package kdbus

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A hole is memory that cannot be read, in a message with good parts around it.
type hole struct {
	name, doc string
	at        func(f *fixture) (uintptr, uint64)
}

// badMemory maps two pages, of which the second cannot be read, and returns where
// they are.
func badMemory(prot int) func(f *fixture) uintptr {
	return func(f *fixture) uintptr {
		mem, err := unix.Mmap(-1, 0, 2*pageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		f.do("map two pages", err)
		f.t.Cleanup(func() { unix.Munmap(mem) })
		f.do("close the second", unix.Mprotect(mem[pageSize:], prot))
		return addressOf(mem)
	}
}

var holes = []hole{
	{"unmapped", "Payload where nothing is mapped", func(*fixture) (uintptr, uint64) { return 4096, 100 }},
	{"prot-none", "Payload in a page without access", func(f *fixture) (uintptr, uint64) {
		return badMemory(unix.PROT_NONE)(f) + uintptr(pageSize), 100
	}},
	{"partially-unmapped", "Payload that reaches into a page without access", func(f *fixture) (uintptr, uint64) {
		return badMemory(unix.PROT_NONE)(f), uint64(2 * pageSize)
	}},
	{"last-byte", "Payload whose last byte is in a page without access", func(f *fixture) (uintptr, uint64) {
		return badMemory(unix.PROT_NONE)(f) + uintptr(pageSize) - 7, 8
	}},
	{"beyond-eof-mmap", "Payload in a mapping beyond its file's end, which is no SIGBUS", func(f *fixture) (uintptr, uint64) {
		fd := f.unsealed([]byte("short"))
		mem, err := unix.Mmap(fd, 0, 2*pageSize, unix.PROT_READ, unix.MAP_SHARED)
		f.do("map beyond the end", err)
		f.t.Cleanup(func() { unix.Munmap(mem) })
		return addressOf(mem) + uintptr(pageSize), 100
	}},
}

func deliveryCases() (cases []suites.Case) {
	for _, h := range holes {
		cases = append(cases, suites.Case{Name: "vec-" + h.name, Doc: h.doc + " is EFAULT: nothing is delivered, counted or leaked (kdbus.message(7)).", Run: h.run})
	}
	return append(cases, deliveryOtherCases...)
}

// run sends the hole alone, then between good parts and with a descriptor, by
// unicast and by broadcast.
func (h hole) run(t *suites.T) {
	f := newBus(t)
	a, b, c := f.peer(), f.peer(plain), f.peer(plain)
	at, size := h.at(f)
	good, bad := kc.Payload([]byte("good")), kc.PayloadAt(at, size)
	r, w := f.pipe()
	f.refused("send", a.send(to(b, 1), bad), unix.EFAULT)
	f.refused("send between good parts", a.send(to(b, 1), good, bad, good, kc.FDs(w)), unix.EFAULT)
	f.shut(w)
	f.eof("after the refusal", r)
	b.nothing("after the refusals")
	for range kc.MaxQueued {
		f.refused("send", a.send(to(b, 1), bad), unix.EFAULT)
	}
	a.sends(to(b, 2), good)
	b.gets("after the refusals", 2)
	b.anyMatch()
	c.anyMatch()
	err := a.send(broadcast(3), zeroFilter(), bad)
	if err != nil {
		f.refused("broadcast", err, unix.EFAULT)
	}
	for _, p := range []*peer{b, c} {
		m, got := p.Fetch(0, 0)
		f.refused("receive the broadcast", got, unix.EAGAIN)
		if err == nil {
			want(f, "dropped", m.Dropped, 1)
		}
	}
}

var deliveryOtherCases = []suites.Case{
	{
		Name: "layout-order",
		Doc:  "A message has its items in the order they were sent, then metadata, then the payload, and zeros between (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			b.acquires(nameA, 0)
			fd := f.nulls(1)[0]
			a.sends(byName(1), kc.Payload([]byte("first")), f.memfdItems(1)[0], kc.Payload([]byte("second")), kc.FDs(fd), kc.To(nameA))
			m := b.gets("the message", 1)
			defer closeAll(m)
			var got []uint64
			for _, i := range m.Items[:5] {
				got = append(got, i.Type)
			}
			want(f, "types of the first items", fmt.Sprint(got),
				fmt.Sprint([]uint64{kc.ItemPayloadOff, kc.ItemPayloadMemfd, kc.ItemPayloadOff, kc.ItemFDs, kc.ItemDstName}))
			want(f, "metadata among the rest", len(types(m.Items[:5])), 0)
			f.zeros(m)
		},
	},
	{
		Name: "layout-offsets",
		Doc:  "The payload's parts are in a row, the first at the next word after the items (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(bigPool)
			var items []kc.Item
			var all []byte
			for n, size := range []int{1, 7, 8, 13, 131075, 2} {
				part := bytes.Repeat([]byte{byte(n + 1)}, size)
				items, all = append(items, kc.Payload(part)), append(all, part...)
			}
			a.sends(to(b, 1), items...)
			m := b.gets("the message", 1)
			at := m.Base()
			for _, i := range m.Items[:len(items)] {
				v, err := kc.As[kc.Vec](i)
				f.do("read PAYLOAD_OFF", err)
				want(f, "offset", v.Address, at)
				at += v.Size
			}
			data, err := m.Data()
			f.do("read the payload", err)
			if !bytes.Equal(data, all) {
				t.Error("the payload is not what was sent")
			}
			f.zeros(m)
		},
	},
	{
		Name: "layout-zero-vec",
		Doc:  "A payload without address is zeros that are not sent; what follows keeps its alignment; the offset is all ones, or in the 2015 code one less than where the payload begins (message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(to(b, 1), kc.Payload([]byte("12345678")), kc.PayloadAt(0, 5), kc.Payload([]byte("abc")))
			m := b.gets("the message", 1)
			zero, err := kc.As[kc.Vec](m.Items[1])
			f.do("read PAYLOAD_OFF", err)
			if zero.Address == m.Base()-1 {
				t.Log("quirk: the offset of zeros is one before the payload")
			} else {
				want(f, "offset of zeros", zero.Address, 1<<64-1)
			}
			want(f, "size of zeros", zero.Size, 5)
			next, err := kc.As[kc.Vec](m.Items[2])
			f.do("read PAYLOAD_OFF", err)
			want(f, "offset of what follows", next.Address, m.Base()+8+5)
			data, err := m.Data()
			f.do("read the payload", err)
			want(f, "payload", string(data), "12345678\x00\x00\x00\x00\x00abc")
		},
	},
	{
		Name: "layout-memfd-odd",
		Doc:  "After a memfd of an odd size what follows keeps the alignment it would have in a row (message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			fd := f.memfd(make([]byte, 100))
			a.sends(to(b, 1), kc.PayloadMemfd(fd, 0, 13), kc.Payload([]byte("abc")))
			m := b.gets("the message", 1)
			defer closeAll(m)
			v, err := kc.As[kc.Vec](m.Items[1])
			f.do("read PAYLOAD_OFF", err)
			want(f, "offset of what follows", v.Address, m.Base()+5)
			f.zeros(m)
		},
	},
	{
		Name: "layout-msg-size",
		Doc:  "The size that RECV tells is the slice's: a multiple of 8, with all of the payload (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for size := 1; size < 20; size++ {
				a.sends(to(b, 1), kc.Payload(make([]byte, size)))
				m := b.gets("the message", 1)
				want(f, "size told modulo 8", m.Info.MsgSize%8, 0)
				want(f, "size told", m.Info.MsgSize, m.Base()+uint64(size+7)&^7)
			}
		},
	},
	{
		Name: "payload-snapshot",
		Doc:  "What is delivered is what was there when it was sent (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			text := []byte("as it was")
			a.sends(to(b, 1), kc.Payload(text))
			copy(text, "CHANGED!!")
			data, err := b.gets("the message", 1).Data()
			f.do("read the payload", err)
			want(f, "payload", string(data), "as it was")
		},
	},
	{
		Name: "payload-racing-writer",
		Doc:  "A message that was received does not change, whatever its sender writes (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			mem, at := f.lonePage(unix.PROT_READ | unix.PROT_WRITE)
			var stop atomic.Bool
			stopped := make(chan struct{})
			go func() {
				defer close(stopped)
				for n := byte(0); !stop.Load(); n++ {
					for i := 0; i < len(mem); i += 64 {
						mem[i] = n
					}
				}
			}()
			for cookie := range uint64(100) {
				a.sends(to(b, cookie), kc.PayloadAt(at, uint64(len(mem))))
				m, err := b.Fetch(0, 0)
				f.do("receive", err)
				again, err := b.Pool.Copy(m.Info.Offset, m.Info.MsgSize)
				f.do("read the pool", err)
				if !bytes.Equal(m.Slice, again) {
					t.Error("a received message has changed")
				}
				f.do("free", b.FreeMessage(m))
			}
			stop.Store(true)
			<-stopped
		},
	},
	{
		Name: "vec-from-own-pool",
		Doc:  "Payload may be what one has received, from one's pool (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(to(a, 1), kc.Payload([]byte("round trip")))
			m, err := a.Fetch(0, 0)
			f.do("receive", err)
			mem, err := unix.Mmap(a.FD, 0, smallPool, unix.PROT_READ, unix.MAP_SHARED)
			f.do("map", err)
			defer unix.Munmap(mem)
			v, err := kc.As[kc.Vec](m.Items[0])
			f.do("read PAYLOAD_OFF", err)
			a.sends(to(b, 2), kc.PayloadAt(addressOf(mem)+uintptr(m.Info.Offset+v.Address), v.Size))
			data, err := b.gets("out of a pool", 2).Data()
			f.do("read the payload", err)
			want(f, "payload", string(data), "round trip")
			f.do("free", a.FreeMessage(m))
		},
	},
	{
		Name: "vec-bad-with-monitor",
		Doc:  "A monitor does not get what cannot be read, though it may be told of a loss (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, m := f.peer(), f.peer(), f.peer(monitor)
			f.refused("send", a.send(to(b, 1), kc.PayloadAt(4096, 8)), unix.EFAULT)
			got, err := m.Fetch(0, 0)
			f.refused("receive as the monitor", err, unix.EAGAIN)
			t.Logf("the monitor is told of %d lost messages", got.Dropped)
			b.nothing("after the refusal")
		},
	},
}

// zeros wants what is between a message's items and parts to be zero.
func (f *fixture) zeros(m *kc.Message) {
	f.t.Helper()
	seen := make([]bool, len(m.Slice))
	mark := func(from, to uint64) {
		for i := from; i < min(to, uint64(len(seen))); i++ {
			seen[i] = true
		}
	}
	mark(0, 64)
	at := uint64(64)
	for _, i := range m.Items {
		mark(at, at+16+uint64(len(i.Data)))
		at += (16 + uint64(len(i.Data)) + 7) &^ 7
		if v, err := kc.As[kc.Vec](i); i.Type == kc.ItemPayloadOff && err == nil {
			mark(v.Address, v.Address+v.Size)
		}
	}
	for i, s := range seen {
		if !s && m.Slice[i] != 0 {
			f.t.Errorf("byte %d of the slice is %#x, which is padding: %x", i, m.Slice[i], slices.Concat(m.Slice[:min(len(m.Slice), 512)]))
			return
		}
	}
}
