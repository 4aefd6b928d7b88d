package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A badHello is a HELLO that is refused.
type badHello struct {
	name, doc string
	change    func(*kc.HelloCmd)
	items     []kc.Item
	want      unix.Errno
}

var badHellos = []badHello{
	{"short-size", "A command that says it is shorter than its fixed part is EINVAL (test-connection.c).",
		func(h *kc.HelloCmd) { h.Size = 1 }, nil, unix.EINVAL},
	{"unknown-flag", "A flag that HELLO does not know is EINVAL (kdbus.connection(7), test-connection.c).",
		func(h *kc.HelloCmd) { h.Flags = 1 << 32 }, nil, unix.EINVAL},
	{"pool-zero", "A connection has a pool: a size of 0 is EINVAL (test-connection.c).",
		func(h *kc.HelloCmd) { h.PoolSize = 0 }, nil, unix.EINVAL},
	{"pool-unaligned", "A pool is pages: another size is EINVAL (kdbus.pool(7), test-connection.c).",
		func(h *kc.HelloCmd) { h.PoolSize = 4097 }, nil, unix.EINVAL},
	{"activator-needs-name", "An activator says what name it stands in for, else EINVAL (kdbus.connection(7), test-connection.c).",
		func(h *kc.HelloCmd) { h.Flags = kc.Activator }, nil, unix.EINVAL},
	{"policy-holder-needs-name", "A policy holder says what name its policy is for, else EINVAL (kdbus.policy(7)).",
		func(h *kc.HelloCmd) { h.Flags = kc.PolicyHolder }, nil, unix.EINVAL},
	{"name-without-kind", "Only activators and policy holders name something: EINVAL (connection.c).",
		func(*kc.HelloCmd) {}, []kc.Item{kc.Name("org.kplay.a")}, unix.EINVAL},
	{"activator-and-monitor", "A connection is of one special kind only: EINVAL (kdbus.connection(7)).",
		func(h *kc.HelloCmd) { h.Flags = kc.Activator | kc.Monitor }, []kc.Item{kc.Name("org.kplay.a")}, unix.EINVAL},
	{"activator-and-holder", "A connection is of one special kind only: EINVAL (kdbus.connection(7)).",
		func(h *kc.HelloCmd) { h.Flags = kc.Activator | kc.PolicyHolder }, []kc.Item{kc.Name("org.kplay.a")}, unix.EINVAL},
	{"bad-send-mask", "An attach flag that does not exist is EINVAL (kdbus.message(7)).",
		func(h *kc.HelloCmd) { h.AttachSend = kc.AttachAll + 1 }, nil, unix.EINVAL},
	{"bad-recv-mask", "An attach flag that does not exist is EINVAL (kdbus.message(7)).",
		func(h *kc.HelloCmd) { h.AttachRecv = kc.AttachAll + 1 }, nil, unix.EINVAL},
}

func helloCases() (cases []suites.Case) {
	for _, b := range badHellos {
		cases = append(cases, suites.Case{Name: "hello-" + b.name, Doc: b.doc, Run: b.run})
	}
	return append(cases, helloOtherCases...)
}

// run wants the refusal to have told nothing and made nobody, and the descriptor
// to be as fresh as before.
func (b badHello) run(t *suites.T) {
	f := newBus(t)
	witness, fd := f.peer(), f.endpoint()
	before := f.unique(witness)
	cmd := kc.Encode(kc.HelloCmd{PoolSize: smallPool}, b.items...)
	h := kc.Fixed[kc.HelloCmd](cmd)
	b.change(h)
	h.Offset, h.ReturnFlags = ^uint64(0), 0x77
	given := *h
	f.refused("connect", kc.Ioctl(fd, kc.Hello, cmd), b.want)
	if given.Size >= 96 {
		want(f, "return flags", h.ReturnFlags, 0)
		given.ReturnFlags = 0
	}
	want(f, "the refused command", *h, given)
	want(f, "connections", f.unique(witness), before)
	f.connectable(fd)
}

// unique counts the connections LIST tells of.
func (f *fixture) unique(p *peer) int {
	f.t.Helper()
	all, err := p.List(kc.ListUnique)
	f.do("list", err)
	return len(all)
}

// connectable wants a descriptor of an endpoint to be fresh, and uses it up.
func (f *fixture) connectable(fd int) {
	f.t.Helper()
	c, err := kc.Connect(fd, kc.Options{PoolSize: smallPool})
	f.do("connect by the same descriptor", err)
	f.do("unmap", c.Pool.Unmap())
}

var helloOtherCases = []suites.Case{
	{
		Name: "hello-unaligned",
		Doc:  "A command whose address is not divisible by 8 is EFAULT (test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.endpoint()
			cmd := kc.Options{PoolSize: smallPool, Items: []kc.Item{kc.Text(kc.ItemDescription, "a")}}.Command()
			f.refused("connect", kc.IoctlAt(fd, kc.Hello, cmd.Address()+1), unix.EFAULT)
			cmd.KeepAlive()
			f.connectable(fd)
		},
	},
	{
		Name: "hello-returns-slice",
		Doc:  "HELLO tells the bus's items in a slice of the pool, the bus's flags and its ID; the slice is freed once (kdbus.connection(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.endpoint()
			cmd := kc.Options{PoolSize: smallPool, AttachSend: kc.AttachAny, AttachRecv: kc.AttachAny}.Command()
			h := kc.Fixed[kc.HelloCmd](cmd)
			h.Offset, h.ReturnFlags = ^uint64(0), 0x77
			f.do("connect", kc.Ioctl(fd, kc.Hello, cmd))
			want(f, "flags of the bus", h.BusFlags, kc.AccessWorld)
			want(f, "return flags", h.ReturnFlags, 0)
			if h.ID == 0 || h.ID128 == [16]byte{} || h.Offset >= smallPool {
				t.Fatalf("HELLO tells ID %d, bus %x, offset %d", h.ID, h.ID128, h.Offset)
			}
			p, err := kc.MapPool(fd, smallPool)
			f.do("map the pool", err)
			defer func() { f.do("unmap", p.Unmap()) }()
			b, err := p.Copy(h.Offset, h.ItemsSize)
			f.do("read the slice", err)
			items, err := kc.Items(b)
			f.do("read the items", err)
			if len(items) != 1 || items[0].Type != kc.ItemBloomParameter {
				t.Fatalf("HELLO tells %v, want one BLOOM_PARAMETER", items)
			}
			bloom, err := kc.As[kc.BloomParameter](items[0])
			f.do("read the bloom parameter", err)
			want(f, "bloom parameter", bloom, f.spec.Bloom)
			free := func() error { return kc.Ioctl(fd, kc.Free, kc.Encode(kc.FreeCmd{Offset: h.Offset})) }
			f.do("free", free())
			f.refused("free again", free(), unix.ENXIO)
		},
	},
	{
		Name: "byebye-busy",
		Doc:  "A connection with messages in its queue does not go: EBUSY; it goes when they are read, once (kdbus.connection(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			b.anyMatch()
			a.signals(1)
			f.refused("byebye with a message queued", b.Byebye(), unix.EBUSY)
			want(f, "connections after a refusal", f.unique(a), 2)
			b.gets("after a refusal", 1)
			f.do("byebye", b.Byebye())
			want(f, "connections", f.unique(a), 1)
			f.refused("byebye again", b.Byebye(), unix.ECONNRESET)
			f.refused("send to who has gone", a.send(to(b, 2)), unix.ENXIO)
		},
	},
	{
		Name: "byebye-after-drain",
		Doc:  "A connection goes with its messages read and none of them freed (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			a.sends(to(b, 1))
			m, err := b.Fetch(0, 0)
			f.do("receive", err)
			f.do("byebye", b.Byebye())
			kept, err := b.Pool.Copy(m.Info.Offset, m.Info.MsgSize)
			f.do("read the pool of who has gone", err)
			want(f, "the message that was not freed", string(kept), string(m.Slice))
		},
	},
	{
		Name: "byebye-twice",
		Doc:  "Who has gone cannot go: ECONNRESET (test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			f.do("byebye", p.Byebye())
			f.refused("byebye again", p.Byebye(), unix.ECONNRESET)
		},
	},
}
