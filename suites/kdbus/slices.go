package kdbus

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// slicesCases are about the slices of a pool.
var slicesCases = []suites.Case{
	{
		Name: "pool-one-page",
		Doc:  "A pool of one page holds small things: a message that is more than its share is ENOBUFS (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer(pool(4096), plain)
			f.refused("send the standard message", a.send(to(p, 1), f.standard()...), unix.ENOBUFS)
			p.nothing("after the refusal")
			// A third of half a page, rounded down to words, less header and item.
			const share = 4096/6&^7 - 96
			a.sends(to(p, 2), kc.Payload(make([]byte, share)))
			p.gets("what fits", 2)
			f.refused("send one word more", a.send(to(p, 3), kc.Payload(make([]byte, share+1))), unix.ENOBUFS)
		},
	},
	{
		Name: "pool-huge",
		Doc:  "A pool too large for any memory is refused: ENOMEM, EINVAL or EFBIG (pool.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			w := f.peer()
			for _, size := range []uint64{1 << 62, 1 << 63, 1<<64 - 4096} {
				cmd := kc.Options{PoolSize: size}.Command()
				err := kc.Ioctl(f.endpoint(), kc.Hello, cmd)
				if err != nil { // a sparse file may be as large as it likes
					f.refused("connect with a pool of "+hex(size), err, unix.ENOMEM, unix.EINVAL, unix.EFBIG, unix.EOVERFLOW)
					want(f, "connections", f.unique(w), 1)
				}
			}
		},
	},
	{
		Name: "pool-slice-alignment",
		Doc:  "Every slice begins at a multiple of 8, whatever is in it (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			for size := range 20 {
				a.sends(to(p, uint64(size)), kc.Payload(make([]byte, size+1)))
				m, err := p.Fetch(0, 0)
				f.do("receive", err)
				want(f, "offset modulo 8", m.Info.Offset%8, 0)
				want(f, "size modulo 8", m.Info.MsgSize%8, 0)
				defer func() { f.do("free", p.FreeMessage(m)) }()
			}
		},
	},
	{
		Name: "pool-exhaust-list",
		Doc:  "LIST without room in the pool is EXFULL, and so is what is sent; all is well when the slices are freed (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer(pool(16<<10))
			var offsets []uint64
			for {
				cmd := kc.Encode(kc.ListCmd{Cmd: kc.Cmd{Flags: kc.ListAll}})
				if err := kc.Ioctl(p.FD, kc.List, cmd); err != nil {
					f.refused("list", err, unix.EXFULL)
					break
				}
				offsets = append(offsets, kc.Fixed[kc.ListCmd](cmd).Offset)
			}
			f.refused("send to a full pool", a.send(to(p, 1)), unix.EXFULL, unix.ENOBUFS)
			for _, o := range offsets {
				f.do("free", p.Free(o))
			}
			a.sends(to(p, 2))
			p.gets("after all was freed", 2)
		},
	},
	{
		Name: "pool-fragmentation",
		Doc:  "A slice needs one hole that is large enough: EXFULL with many small ones; freed neighbours are one hole (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer(plain)
			offsets := f.exhaust(a, p, 4096)
			for i := 0; i < len(offsets); i += 2 {
				f.do("free", p.Free(offsets[i]))
			}
			f.refused("send more than a hole", a.send(to(p, 1), kc.Payload(make([]byte, 8192))), unix.EXFULL, unix.ENOBUFS)
			a.sends(to(p, 2), kc.Payload(make([]byte, 3000)))
			p.gets("what fits into a hole", 2)
			for i := len(offsets) - 1 - len(offsets)%2; i > 0; i -= 2 {
				f.do("free", p.Free(offsets[i]))
			}
			a.sends(to(p, 3), kc.Payload(make([]byte, 8192)))
			p.gets("when all is one hole", 3)
		},
	},
	{
		Name: "pool-coalesce-full",
		Doc:  "Freed in any order, slices become one hole again (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer(plain)
			offsets := f.exhaust(a, p, 1024)
			for step := range offsets { // 61 is prime to any such number
				at := step * 61 % len(offsets)
				f.do("free", p.Free(offsets[at]))
			}
			want(f, "slices that fill the pool again", len(f.freed(p, f.exhaust(a, p, 1024))), len(offsets))
		},
	},
	{
		Name: "pool-no-stale-data",
		Doc:  "A slice has nothing of what was in its place before: its padding is zero (kdbus.pool(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer(plain)
			stale := slices.Repeat([]byte{0xa5}, 4000)
			a.sends(to(p, 1), kc.Payload(stale))
			p.gets("what leaves traces", 1)
			for size := 1; size <= 17; size++ {
				a.sends(to(p, 2), kc.Payload(make([]byte, size)), kc.PayloadAt(0, 3), kc.Payload([]byte{0, 0}))
				f.zeros(p.gets("what comes to its place", 2))
			}
		},
	},
}
