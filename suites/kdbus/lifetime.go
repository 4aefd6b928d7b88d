package kdbus

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// lifetimeCases are about how long buses and endpoints live.
var lifetimeCases = []suites.Case{
	{
		Name: "bus-dies-with-fd",
		Doc:  "A bus ends with the descriptor that made it: its directory is gone and its connections are reset (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			ep, owner, dir := f.endpoint(), f.newEndpoint("foo", 0), f.bus.Dir
			path, err := unix.Open(f.bus.Path("bus"), unix.O_PATH|unix.O_CLOEXEC, 0)
			f.do("open the endpoint as a path", err)
			f.own(path)
			f.do("close the bus", f.bus.Close())
			f.bus = nil
			f.rootHas("control")
			_, err = os.Stat(dir)
			f.refused("look for the bus", err, unix.ENOENT)
			got, err := p.Poll(unix.POLLIN|unix.POLLOUT, 0)
			f.do("poll", err)
			want(f, "poll of a connection", got, unix.POLLERR|unix.POLLHUP)
			f.refused("send", p.send(to(p, 1)), unix.ECONNRESET)
			_, err = kc.Connect(ep, kc.Options{PoolSize: smallPool})
			f.refused("connect by a fresh descriptor", err, unix.ESHUTDOWN)
			f.refused("make an endpoint by a fresh descriptor", kc.MakeEndpoint(ep, endpointName("bar"), 0), unix.ESHUTDOWN)
			f.refused("update an endpoint", kc.UpdateEndpoint(owner), unix.ESHUTDOWN)
			_, err = kc.Open(fmt.Sprint("/proc/self/fd/", path))
			f.refused("open by a path descriptor", err, unix.ESHUTDOWN, unix.ENOENT)
			f.do("make the bus again", kc.MakeBus(f.control(), f.spec))
		},
	},
	{
		Name: "bus-survives-dup",
		Doc:  "A bus lives as long as any copy of its descriptor, also another process's (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, dir := f.peer(), f.bus.Dir
			dup, err := unix.FcntlInt(uintptr(f.bus.FD), unix.F_DUPFD_CLOEXEC, 0)
			f.do("duplicate", err)
			r := f.start(nil, f.bus.FD)
			f.do("close the original", f.bus.Close())
			f.bus = nil
			f.do("close the duplicate", unix.Close(dup))
			f.do("free on a bus another process has", p.Free(p.Pool.Size()))
			r.does("exec")
			r.does("pids")
			f.do("free on a bus that was taken across an exec", p.Free(p.Pool.Size()))
			r.kill()
			f.refused("free on a bus nobody has", p.Free(p.Pool.Size()), unix.ECONNRESET)
			_, err = os.Stat(dir)
			f.refused("look for the bus", err, unix.ENOENT)
		},
	},
	{
		Name: "bus-name-reusable",
		Doc:  "A bus's name is free as soon as its descriptor is closed (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			for range 200 {
				b, err := kc.NewBus(f.root, f.aBus("again"))
				f.do("make a bus", err)
				f.do("close it", b.Close())
			}
			f.rootHas("control")
		},
	},
	{
		Name: "bus-id128-differs",
		Doc:  "Every bus has an ID of 128 bits of its own, the same for all its connections (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			c := newBus(t).peer()
			want(f, "the bus's ID", a.ID128, b.ID128)
			if a.ID128 == c.ID128 {
				t.Errorf("two buses have the ID %x", a.ID128)
			}
		},
	},
	{
		Name: "conn-ids-never-reused",
		Doc:  "Connections have IDs that only grow (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			var last uint64
			for range 300 {
				c, err := kc.Dial(f.bus.Path("bus"), kc.Options{PoolSize: 4096})
				f.do("connect", err)
				if c.ID <= last {
					t.Errorf("ID %d comes after %d", c.ID, last)
				}
				last = c.ID
				f.do("close", c.Close())
			}
		},
	},
	{
		Name: "ep-close-disconnects",
		Doc:  "A custom endpoint ends with its descriptor: its connections are reset, others are not (kdbus.endpoint(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.newEndpoint("foo", 0)
			a, b, p := f.peer(), f.peer(), f.peerAt("foo")
			a.matches(1, kc.OfID(kc.ItemIDRemove, p.ID))
			f.shut(fd)
			a.notifies("the endpoint's end", kc.ItemIDRemove)
			f.refused("send through it", p.send(to(a, 1)), unix.ECONNRESET)
			b.sends(to(a, 2))
			a.gets("by the default endpoint", 2)
		},
	},
	{
		Name: "umount-busy",
		Doc:  "A domain with open files is not unmounted: EBUSY; a lazy unmount leaves them working (umount(2)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			f.refused("unmount", unix.Unmount(f.root, 0), unix.EBUSY)
			f.do("unmount lazily", unix.Unmount(f.root, unix.MNT_DETACH))
			a.sends(to(b, 1))
			b.gets("without a mount", 1)
			a.close()
			b.close()
			f.do("close the bus", f.bus.Close())
			f.bus = nil
			f.do("mount again", kc.Mount(f.root))
			f.rootHas("control")
		},
	},
}
