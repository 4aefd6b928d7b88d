package kdbus

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// commandCases are about what is in a command, and where it is.
var commandCases = []suites.Case{
	{
		Name: "parse-duplicate-single-item",
		Doc:  "An item that an operation takes once is EINVAL when it is there twice (kdbus.item(7)).",
		Run: func(t *suites.T) {
			s := newStage(t)
			b := s.aBus("twice")
			spec := b.Items()
			for _, d := range []struct {
				op    kc.Op
				items []kc.Item
			}{
				{kc.BusMake, append(slices.Clone(spec), kc.Text(kc.ItemMakeName, b.Name))},
				{kc.BusMake, append(slices.Clone(spec), kc.Bloom(64, 1))},
				{kc.EndpointMake, []kc.Item{kc.Text(kc.ItemMakeName, endpointName("a")), kc.Text(kc.ItemMakeName, endpointName("b"))}},
				{kc.NameAcquire, []kc.Item{kc.Name(nameA), kc.Name(nameB)}},
				{kc.NameRelease, []kc.Item{kc.Name(nameA), kc.Name(nameB)}},
				{kc.Update, []kc.Item{kc.Words(kc.ItemAttachRecv, 0), kc.Words(kc.ItemAttachRecv, 0)}},
			} {
				s.refused(d.op.String(), kc.Ioctl(s.fd(d.op), d.op, kc.Encode(kc.Cmd{}, d.items...)), unix.EINVAL)
			}
			for _, i := range []kc.Item{kc.FDs(s.nulls(1)...), kc.To(nameA), zeroFilter()} {
				s.refused("send with two of item "+hex(i.Type), s.p.send(to(s.p, 1), i, i), unix.EINVAL)
			}
			s.p.nothing("after the refusals")
			s.usable()
		},
	},
	{
		Name: "parse-missing-mandatory",
		Doc:  "An item that an operation cannot do without is EINVAL when it is missing (kdbus.item(7)).",
		Run: func(t *suites.T) {
			s := newStage(t)
			for _, d := range []struct {
				op    kc.Op
				items []kc.Item
			}{
				{kc.BusMake, []kc.Item{kc.Bloom(64, 1)}},
				{kc.BusMake, []kc.Item{kc.Text(kc.ItemMakeName, s.aBus("half").Name)}},
				{kc.EndpointMake, nil},
				{kc.NameAcquire, nil},
				{kc.NameRelease, nil},
			} {
				s.refused(d.op.String(), kc.Ioctl(s.fd(d.op), d.op, kc.Encode(kc.Cmd{}, d.items...)), unix.EINVAL)
			}
			s.usable()
		},
	},
	{
		Name: "parse-size-32768-ok",
		Doc:  "A command may have 32768 bytes (handle.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			var rules []kc.Item
			for range (kc.MaxCommand - 32) / 24 { // the header, and what a rule takes
				rules = append(rules, kc.OfID(kc.ItemID, kc.MatchAnyID))
			}
			c := kc.Encode(kc.MatchCmd{Cookie: 1}, rules...)
			want(f, "size of the command", len(c.Bytes()), kc.MaxCommand)
			f.do("add many rules", kc.Ioctl(p.FD, kc.MatchAdd, c))
			a.signals(7)
			p.gets("by all rules", 7)
		},
	},
	{
		Name: "parse-last-item-unpadded",
		Doc:  "The padding of the last item may be counted or not (kdbus.item(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			for _, c := range []*kc.Command{kc.Encode(kc.Cmd{}, kc.Name("a.bcd")), kc.Encode(kc.Cmd{}, kc.Name("a.bcd")).Padded()} {
				f.do("acquire", kc.Ioctl(p.FD, kc.NameAcquire, c))
				f.listed(p, "a.bcd", map[*peer]uint64{p: kc.NamePrimary})
				p.releases("a.bcd")
			}
		},
	},
	{
		Name: "parse-return-flags-cleared",
		Doc:  "Return flags are written, whether an operation succeeds or not (kdbus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			for _, c := range []struct {
				op   kc.Op
				cmd  *kc.Command
				want unix.Errno
			}{
				{kc.Update, kc.Encode(kc.Cmd{}), 0},
				{kc.Free, kc.Encode(kc.FreeCmd{Offset: 1}), unix.ENXIO},
				{kc.MatchRemove, kc.Encode(kc.MatchCmd{Cookie: 5}), unix.EBADSLT},
				{kc.NameRelease, kc.Encode(kc.Cmd{}, kc.Name(nameA)), unix.ESRCH},
				{kc.Recv, kc.Encode(kc.RecvCmd{}), unix.EAGAIN},
				{kc.MatchAdd, kc.Encode(kc.MatchCmd{}), 0},
				{kc.NameAcquire, kc.Encode(kc.Cmd{}, kc.Name("bad")), unix.EINVAL},
				{kc.Send, kc.Encode(kc.SendCmd{}), unix.EFAULT},
			} {
				word(c.cmd, 16, 1<<63|0x77)
				err := kc.Ioctl(p.FD, c.op, c.cmd)
				if c.want == 0 {
					f.do(c.op.String(), err)
				} else {
					f.refused(c.op.String(), err, c.want)
				}
				want(f, "return flags of "+c.op.String(), kc.Fixed[kc.Cmd](c.cmd).ReturnFlags, 0)
			}
		},
	},
	{
		Name: "parse-size-beyond-mapping",
		Doc:  "A command that reaches into a page that is not there is EFAULT (handle.c).",
		Run: func(t *suites.T) {
			s := newStage(t)
			mem, at := s.lonePage(unix.PROT_READ | unix.PROT_WRITE)
			for _, op := range kc.Ops {
				c := s.command(op, negotiating...)
				word(c, 0, op.Fixed+64)
				from := len(mem) - len(c.Bytes())
				copy(mem[from:], c.Bytes())
				s.refused(op.Name, kc.IoctlAt(s.fd(op.Op), op.Op, at+uintptr(from)), unix.EFAULT)
			}
			s.usable()
		},
	},
	{
		Name: "result-readonly-memory",
		Doc:  "A command in memory that cannot be written to is EFAULT, for its return flags cannot be told (handle.c).",
		Run: func(t *suites.T) {
			s := newStage(t)
			mem, at := s.lonePage(unix.PROT_READ | unix.PROT_WRITE)
			for _, op := range kc.Ops {
				if op.Op == kc.BusMake || op.Op == kc.EndpointMake {
					continue // they have happened by then
				}
				s.do("let write", unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE))
				copy(mem, s.command(op).Bytes())
				s.do("let read only", unix.Mprotect(mem, unix.PROT_READ))
				fd := s.fd(op.Op)
				switch op.Op {
				case kc.Hello:
					fd = s.endpoint() // whether it is used up is open
				case kc.Byebye:
					fd = s.peer().FD
				}
				s.refused(op.Name, kc.IoctlAt(fd, op.Op, at), unix.EFAULT)
			}
			s.do("let write", unix.Mprotect(mem, unix.PROT_READ|unix.PROT_WRITE))
			s.p.leaves = true
			s.p.sends(to(s.p, 7))
			s.p.gets("after all", 7)
		},
	},
	{
		Name: "parse-toctou-size",
		Doc:  "A command whose size another thread changes meanwhile is taken or refused, and harms nobody (handle.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			mem, at := f.lonePage(unix.PROT_READ | unix.PROT_WRITE)
			c := kc.Encode(kc.ListCmd{})
			copy(mem, c.Bytes())
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for n := byte(0); ; n++ {
					select {
					case <-stop:
						return
					default:
						mem[0], mem[1] = 40-n%2*16, n%3*16
					}
				}
			}()
			for range 5000 {
				if err := kc.IoctlAt(p.FD, kc.List, at); err != nil {
					f.refused("list", err, unix.EINVAL, unix.EFAULT)
				}
			}
			close(stop)
			<-stopped
		},
	},
}
