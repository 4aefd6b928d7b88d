package kdbus

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A mapping is a way to map a pool of smallPool bytes.
type mapping struct {
	name, doc   string
	size, pages int // bytes, and the offset in pages
	prot, flags int
	want        unix.Errno // 0 for none
}

var mappings = []mapping{
	{"map-writable", "A pool is not mapped for writing: EPERM", smallPool, 0, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_SHARED, unix.EPERM},
	{"map-private-write", "A pool is not mapped for writing, privately either: EPERM", smallPool, 0, unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE, unix.EPERM},
	{"map-readable", "A pool is mapped for reading", smallPool, 0, unix.PROT_READ, unix.MAP_SHARED, 0},
	{"map-private-readable", "A pool is mapped for reading, privately too", smallPool, 0, unix.PROT_READ, unix.MAP_PRIVATE, 0},
	{"map-too-long", "No more is mapped than the pool has: EFAULT", smallPool + 4096, 0, unix.PROT_READ, unix.MAP_SHARED, unix.EFAULT},
	{"map-offset", "The last page of a pool is mapped alone", 4096, smallPool/4096 - 1, unix.PROT_READ, unix.MAP_SHARED, 0},
}

func poolCases() (cases []suites.Case) {
	for _, m := range mappings {
		cases = append(cases, suites.Case{Name: "pool-" + m.name, Doc: m.doc + " (kdbus.pool(7), test-connection.c).", Run: m.run})
	}
	return append(cases, poolOtherCases...)
}

// run maps the pool, and wants no protection to be added afterwards.
func (m mapping) run(t *suites.T) {
	f := newBus(t)
	p, a := f.peer(), f.peer()
	a.sends(to(p, 1))
	got, err := p.Fetch(0, 0)
	f.do("receive", err)
	mem, err := unix.Mmap(p.FD, int64(m.pages*4096), m.size, m.prot, m.flags)
	if m.want != 0 {
		f.refused("map", err, m.want)
	} else {
		f.do("map", err)
		f.refused("make the mapping writable", unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE), unix.EACCES)
		if at := got.Info.Offset; m.pages == 0 && string(mem[at:at+got.Info.MsgSize]) != string(got.Slice) {
			t.Error("the mapping does not show the message")
		}
		want(f, "the last byte", mem[len(mem)-1], 0)
	}
	if err == nil {
		unix.Munmap(mem)
	}
	f.do("free", p.FreeMessage(got))
}

var poolOtherCases = []suites.Case{
	{
		Name: "free-unallocated",
		Doc:  "Freeing what is no slice is ENXIO: where one was, within one, beyond the pool, or another connection's (kdbus.pool(7), test-free.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			f.refused("free offset 0 of an empty pool", p.Free(0), unix.ENXIO)
			for _, at := range []uint64{smallPool + 1, smallPool + 8, smallPool - 8, 1 << 63, 1<<64 - 1} {
				f.refused("free offset "+hex(at), p.Free(at), unix.ENXIO)
			}
			a.sends(to(p, 1), kc.Payload(make([]byte, 100)))
			m, err := p.Fetch(0, 0)
			f.do("receive", err)
			for _, at := range []uint64{m.Info.Offset + 1, m.Info.Offset + 8, m.Info.Offset + m.Info.MsgSize} {
				f.refused("free offset "+hex(at), p.Free(at), unix.ENXIO)
			}
			f.refused("free another's slice", a.Free(m.Info.Offset), unix.ENXIO)
			f.do("free", p.FreeMessage(m))
			f.refused("free again", p.FreeMessage(m), unix.ENXIO)
		},
	},
	{
		Name: "free-dummy",
		Doc:  "The offset that stands for nothing, the pool's size, is freed any number of times (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			for range 3 {
				f.do("free", p.Free(p.Pool.Size()))
			}
		},
	},
	{
		Name: "free-queued",
		Doc:  "A message that was not received is not freed: ENXIO, and is received whole (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			a.sends(to(p, 1), kc.Payload([]byte("queued")))
			f.refused("free what is queued", p.Free(0), unix.ENXIO)
			m := p.gets("what is queued", 1)
			want(f, "where it was", m.Info.Offset, 0)
			data, err := m.Data()
			f.do("read", err)
			want(f, "payload", string(data), "queued")
		},
	},
	{
		Name: "free-peeked",
		Doc:  "Freeing a message that was looked at takes nothing from the queue; the manual page has EINVAL (kdbus.pool(7)), which is taken as well.",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			a.sends(to(p, 1), kc.Payload([]byte("queued")))
			m, err := p.Fetch(kc.RecvPeek, 0)
			f.do("peek", err)
			if err := p.FreeMessage(m); err != nil {
				f.refused("free what was looked at", err, unix.EINVAL)
			} else {
				t.Log("quirk: a message that was looked at can be freed")
			}
			again := p.gets("what was looked at", 1)
			want(f, "the message", string(again.Slice), string(m.Slice))
		},
	},
	{
		Name: "list-without-free",
		Doc:  "LIST need not be freed before the next one, and takes a slice each (test-free.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			var offsets []uint64
			for range 3 {
				cmd := kc.Encode(kc.ListCmd{Cmd: kc.Cmd{Flags: kc.ListAll}})
				f.do("list", kc.Ioctl(p.FD, kc.List, cmd))
				offsets = append(offsets, kc.Fixed[kc.ListCmd](cmd).Offset)
			}
			if offsets[0] == offsets[1] || offsets[1] == offsets[2] {
				t.Errorf("slices that were not freed are at %v", offsets)
			}
			for _, o := range offsets {
				f.do("free", p.Free(o))
			}
		},
	},
	{
		Name: "map-before-hello",
		Doc:  "What is no connection has no pool: EBADFD (handle.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			for what, fd := range map[string]int{"control": f.control(), "endpoint": f.endpoint(), "bus owner": f.bus.FD, "endpoint owner": f.newEndpoint("foo", 0)} {
				_, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
				f.refused("map "+what, err, unix.EBADFD)
			}
		},
	},
	{
		Name: "map-survives-close",
		Doc:  "A mapping shows the pool after the connection is closed, and the bus (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			a.sends(to(p, 1), kc.Payload([]byte("remembered")))
			m, err := p.Fetch(0, 0)
			f.do("receive", err)
			mem, err := unix.Mmap(p.FD, 0, smallPool, unix.PROT_READ, unix.MAP_SHARED)
			f.do("map", err)
			p.close()
			shows := func(when string) {
				want(f, "the message "+when, string(mem[m.Info.Offset:m.Info.Offset+m.Info.MsgSize]), string(m.Slice))
			}
			shows("after the connection was closed")
			f.do("close the bus", f.bus.Close())
			f.bus = nil
			shows("after the bus was closed")
			f.do("unmap", unix.Munmap(mem))
		},
	},
	{
		Name: "map-process-vm-write",
		Doc:  "No way through another's eyes writes to a pool: process_vm_writev(2) is EFAULT, /proc/self/mem fails (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			a.sends(to(p, 1), kc.Payload([]byte("untouched")))
			m, err := p.Fetch(0, 0)
			f.do("receive", err)
			f.writeThrough(p, m)
			now, err := p.Pool.Copy(m.Info.Offset, m.Info.MsgSize)
			f.do("read the pool", err)
			want(f, "the message in the pool", string(now), string(m.Slice))
			f.do("free", p.FreeMessage(m))
		},
	},
}

// freed frees slices, and returns them.
func (f *fixture) freed(p *peer, offsets []uint64) []uint64 {
	f.t.Helper()
	for _, o := range offsets {
		f.do("free", p.Free(o))
	}
	return offsets
}

// writeThrough tries to write to a message in a pool by ways that need no writable
// mapping.
func (f *fixture) writeThrough(p *peer, m *kc.Message) {
	f.t.Helper()
	mem, err := unix.Mmap(p.FD, 0, smallPool, unix.PROT_READ, unix.MAP_SHARED)
	f.do("map", err)
	defer unix.Munmap(mem)
	junk := []byte("junk")
	local := []unix.Iovec{{Base: &junk[0]}}
	local[0].SetLen(4)
	at := addressOf(mem) + uintptr(m.Info.Offset)
	_, err = unix.ProcessVMWritev(os.Getpid(), local, []unix.RemoteIovec{{Base: at, Len: 4}}, 0)
	f.refused("process_vm_writev", err, unix.EFAULT, unix.ENOSYS)
	self, err := unix.Open("/proc/self/mem", unix.O_RDWR|unix.O_CLOEXEC, 0)
	f.do("open /proc/self/mem", err)
	defer unix.Close(self)
	if _, err = unix.Pwrite(self, junk, int64(at)); err == nil {
		f.t.Log("a write through /proc/self/mem was taken: the pool must not show it")
	}
}
