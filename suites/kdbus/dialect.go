package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

var dialectCases = []suites.Case{
	{
		Name: "dialect-detect",
		Doc:  "A kernel's kdbus speaks one of the dialects it had, or there is none (handle.c, its history).",
		Run: func(t *suites.T) {
			d := spoken(t)
			t.Logf("this kernel speaks %s", d)
			if d == none {
				t.Skip("this kernel has no kdbus: it is an out-of-tree module, given by --feature kdbus")
			}
		},
	},
	{
		Name: "dialect-final-numbers",
		Doc:  "The operations of the final number set are known to a descriptor that does not take them: EBADFD, not ENOTTY (handle.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			for _, op := range kc.Ops {
				f.refused(op.Name, kc.IoctlAt(f.bus.FD, op.Op, 0), unix.EBADFD)
			}
		},
	},
	{
		Name: "dialect-variant",
		Doc:  "What kernels of the final number set differ in is found by asking (handle.c, its history).",
		Run: func(t *suites.T) {
			f := newBus(t)
			t.Logf("variant: %+v", f.variant())
			a, b := f.peer(), f.peer()
			m := to(a, 1)
			m.Timeout = 4711
			err := b.send(m)
			f.refused("a reply that was not asked for", err, unix.EBADSLT, unix.EPERM)
			t.Logf("a reply that was not asked for: %s", said(err))
		},
	},
	{
		Name: "dialect-chardev-smoke",
		Doc:  "In the dialect of July 2014 a bus is made, two connect, a name is acquired and a message sent and received (drivers/misc/kdbus of July 2014).",
		Run:  charDeviceSmoke,
	},
}
