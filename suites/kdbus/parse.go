package kdbus

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A stage is a bus with a descriptor for each operation in the state it takes.
type stage struct {
	*fixture
	p       *peer
	control int
	fresh   int // of the default endpoint
	owner   int // keeps an endpoint alive
}

func newStage(t *suites.T) *stage {
	f := newBus(t)
	return &stage{f, f.peer(), f.control(), f.endpoint(), f.newEndpoint("stage", 0)}
}

// fd is the descriptor that takes an operation.
func (s *stage) fd(op kc.Op) int {
	switch op {
	case kc.BusMake:
		return s.control
	case kc.EndpointMake, kc.Hello:
		return s.fresh
	case kc.EndpointUpdate:
		return s.owner
	}
	return s.p.FD
}

// command is the least an operation takes, but for what must be added.
func (s *stage) command(op kc.OpInfo, items ...kc.Item) *kc.Command {
	var c *kc.Command
	switch op.Op {
	case kc.Hello:
		c = kc.Encode(kc.HelloCmd{PoolSize: smallPool}, items...)
	case kc.Free:
		c = kc.Encode(kc.FreeCmd{Offset: s.p.Pool.Size()}, items...)
	case kc.ConnInfo, kc.BusCreatorInfo:
		c = kc.Encode(kc.InfoCmd{ID: s.p.ID}, items...)
	case kc.List:
		c = kc.Encode(kc.ListCmd{}, items...)
	case kc.Send:
		c = kc.Encode(kc.SendCmd{}, items...)
	case kc.Recv:
		c = kc.Encode(kc.RecvCmd{}, items...)
	case kc.MatchAdd, kc.MatchRemove:
		c = kc.Encode(kc.MatchCmd{Cookie: 99}, items...)
	default:
		c = kc.Encode(kc.Cmd{}, items...)
	}
	return c
}

// usable wants every descriptor of the stage to be in the state it was in, and
// nothing to have come about.
func (s *stage) usable() {
	s.t.Helper()
	s.rootHas(s.bus.Name, "control")
	s.dirHas(s.bus.Dir, endpointName("stage"), "bus")
	want(s.fixture, "connections", s.unique(s.p), 1)
	all, err := s.p.List(kc.ListNames)
	s.do("list names", err)
	want(s.fixture, "names", len(all), 0)
	s.do("make a bus after all", kc.MakeBus(s.control, s.aBus("after")))
	s.connectable(s.fresh)
	s.do("update the endpoint after all", kc.UpdateEndpoint(s.owner))
}

// A malformation is a wrong that any operation refuses.
type malformation struct {
	name, doc string
	items     []kc.Item
	spoil     func(op kc.OpInfo, c *kc.Command)
	want      unix.Errno
	silent    bool // nothing is written back
}

// word sets a word of a command, counted in bytes.
func word(c *kc.Command, at uint64, v uint64) {
	for i := range uint64(8) {
		c.Bytes()[at+i] = byte(v >> (8 * i))
	}
}

var negotiating = []kc.Item{kc.Words(kc.ItemNegotiate, 1, 2)}

var malformations = []malformation{
	{"size-one-less", "A command that says it is a byte shorter than its fixed part is EINVAL", nil,
		func(op kc.OpInfo, c *kc.Command) { word(c, 0, op.Fixed-1) }, unix.EINVAL, true},
	{"size-zero", "A command that says it has no size is EINVAL", nil,
		func(_ kc.OpInfo, c *kc.Command) { word(c, 0, 0) }, unix.EINVAL, true},
	{"size-32769", "A command has 32768 bytes at most: EMSGSIZE", nil,
		func(_ kc.OpInfo, c *kc.Command) { word(c, 0, kc.MaxCommand+1) }, unix.EMSGSIZE, true},
	{"size-huge", "A command has 32768 bytes at most: EMSGSIZE", nil,
		func(_ kc.OpInfo, c *kc.Command) { word(c, 0, 1<<64-1) }, unix.EMSGSIZE, true},
	{"unknown-item", "An item of an unknown type is EINVAL", []kc.Item{kc.Words(0x7777, 1)},
		func(kc.OpInfo, *kc.Command) {}, unix.EINVAL, false},
	{"null-item", "An item of type 0 is EINVAL", []kc.Item{kc.Words(0, 1)},
		func(kc.OpInfo, *kc.Command) {}, unix.EINVAL, false},
	{"foreign-item", "An item of a type the operation does not take is EINVAL", []kc.Item{kc.Words(kc.ItemTimestamp, 1, 2, 3)},
		func(kc.OpInfo, *kc.Command) {}, unix.EINVAL, false},
	{"item-size-15", "An item shorter than its header is EINVAL", negotiating,
		func(op kc.OpInfo, c *kc.Command) { word(c, op.Fixed, 15) }, unix.EINVAL, false},
	{"item-size-zero", "An item of no size is EINVAL", negotiating,
		func(op kc.OpInfo, c *kc.Command) { word(c, op.Fixed, 0) }, unix.EINVAL, false},
	{"item-size-wrap", "An item whose end wraps around is EINVAL", negotiating,
		func(op kc.OpInfo, c *kc.Command) { word(c, op.Fixed, 1<<64-1) }, unix.EINVAL, false},
	{"item-size-wrap-aligned", "An item whose end wraps around is EINVAL", negotiating,
		func(op kc.OpInfo, c *kc.Command) { word(c, op.Fixed, 1<<64-8) }, unix.EINVAL, false},
	{"item-overhang", "An item that ends a byte beyond the command is EINVAL", negotiating,
		func(op kc.OpInfo, c *kc.Command) { word(c, op.Fixed, 33) }, unix.EINVAL, false},
	{"trailing-garbage", "What is left after the last item must be no more than its padding: EINVAL", append(slices.Clone(negotiating), kc.Words(0, 1)),
		func(op kc.OpInfo, c *kc.Command) { word(c, 0, op.Fixed+32+4) }, unix.EINVAL, false},
	{"negotiate-odd-length", "NEGOTIATE has whole types: EINVAL", []kc.Item{kc.Raw(kc.ItemNegotiate, make([]byte, 12))},
		func(kc.OpInfo, *kc.Command) {}, unix.EINVAL, false},
	{"negotiate-bad-flag", "A flag that does not exist is EINVAL, when it is asked about too", nil,
		func(_ kc.OpInfo, c *kc.Command) { word(c, 8, kc.Negotiate|1<<62) }, unix.EINVAL, false},
}

func parseCases() (cases []suites.Case) {
	for _, m := range malformations {
		cases = append(cases, suites.Case{Name: "parse-" + m.name, Doc: m.doc + ", for every operation (kdbus(7), handle.c).", Run: m.run})
	}
	for _, s := range texts {
		cases = append(cases, suites.Case{Name: s.name, Doc: s.doc, Run: s.run})
	}
	return append(cases, parseOtherCases...)
}

func (m malformation) run(t *suites.T) {
	s := newStage(t)
	for _, op := range kc.Ops {
		c := s.command(op, m.items...)
		m.spoil(op, c)
		const junk = 0x1122334455667788
		word(c, 16, junk)
		given := slices.Clone(c.Bytes())
		s.refused(op.Name, kc.Ioctl(s.fd(op.Op), op.Op, c), m.want)
		told := kc.Fixed[kc.Cmd](c).ReturnFlags
		if m.silent {
			want(s.fixture, op.Name+": return flags, which are not written", told, junk)
		} else {
			want(s.fixture, op.Name+": return flags", told, 0)
		}
		word(c, 16, junk)
		if m.want != unix.EMSGSIZE && string(given[:op.Fixed]) != string(c.Bytes()[:op.Fixed]) {
			t.Errorf("%s: the refused command was changed: %x, was %x", op.Name, c.Bytes(), given)
		}
	}
	s.usable()
}

// A text is a string in an item that is refused or taken.
type text struct {
	name string
	data string // with its NUL
	op   kc.Op
	kind uint64
	want unix.Errno // 0 for none
	doc  string
}

var texts = []text{
	{"string-embedded-nul", "a.b\x00c\x00", kc.NameAcquire, kc.ItemName, unix.EINVAL, "A string has one NUL (kdbus.item(7))."},
	{"string-two-nuls", "a.b\x00\x00", kc.NameAcquire, kc.ItemName, unix.EINVAL, "A string has one NUL (kdbus.item(7))."},
	{"string-no-nul", "a.b", kc.NameAcquire, kc.ItemName, unix.EINVAL, "A string ends in a NUL (kdbus.item(7))."},
	{"string-empty", "\x00", kc.NameAcquire, kc.ItemName, unix.EINVAL, "An empty string is no name (kdbus.name(7))."},
	{"string-nothing", "", kc.NameAcquire, kc.ItemName, unix.EINVAL, "A string has a NUL at least (kdbus.item(7))."},
	{"sysname-63-chars", strings.Repeat("x", 63) + "\x00", kc.Hello, kc.ItemDescription, 0, "A description has up to 63 characters (kdbus.connection(7))."},
	{"sysname-64-chars", strings.Repeat("x", 64) + "\x00", kc.Hello, kc.ItemDescription, unix.ENAMETOOLONG, "A description has 63 characters at most (kdbus.connection(7))."},
	{"sysname-leading-dot", ".a\x00", kc.Hello, kc.ItemDescription, unix.EINVAL, "A description does not begin with a dot (item.c)."},
	{"sysname-leading-dash", "-a\x00", kc.Hello, kc.ItemDescription, unix.EINVAL, "A description does not begin with a dash (item.c)."},
	{"sysname-trailing-dot", "a.\x00", kc.Hello, kc.ItemDescription, unix.EINVAL, "A description does not end in a dot (item.c)."},
	{"sysname-inner-dot", "a.b-c_d\x00", kc.Hello, kc.ItemDescription, 0, "A description has dots, dashes and underscores within (item.c)."},
	{"sysname-space", "a b\x00", kc.Hello, kc.ItemDescription, unix.EINVAL, "A description has no spaces (item.c)."},
	{"sysname-slash", "a/b\x00", kc.Hello, kc.ItemDescription, unix.EINVAL, "A description has no slashes (item.c)."},
	{"sysname-empty", "\x00", kc.Hello, kc.ItemDescription, unix.EINVAL, "A description is not empty (item.c)."},
}

func (x text) run(t *suites.T) {
	s := newStage(t)
	i := slices.IndexFunc(kc.Ops, func(o kc.OpInfo) bool { return o.Op == x.op })
	for _, padded := range []bool{false, true} {
		fd := s.fd(x.op)
		if x.op == kc.Hello {
			fd = s.endpoint()
		}
		c := s.command(kc.Ops[i], kc.Raw(x.kind, []byte(x.data)))
		if x.op == kc.Hello {
			kc.Fixed[kc.HelloCmd](c).AttachSend = kc.AttachAll
		}
		if padded {
			c.Padded()
		}
		err := kc.Ioctl(fd, x.op, c)
		if x.want != 0 {
			s.refused(fmt.Sprintf("%v of %q", x.op, x.data), err, x.want)
			continue
		}
		s.do(fmt.Sprintf("%v of %q", x.op, x.data), err)
		r, err := s.p.Info(kc.Fixed[kc.HelloCmd](c).ID, kc.AttachAll)
		s.do("ask about it", err)
		d, _ := kc.Find(r.Items, kc.ItemDescription)
		want(s.fixture, "description told", d.String()+"\x00", x.data)
		s.shut(fd)
	}
	if x.want != 0 {
		s.usable()
	}
}

var parseOtherCases = []suites.Case{
	{
		Name: "parse-unaligned-each-ioctl",
		Doc:  "A command at an address not divisible by 8, or at none, is EFAULT (kdbus(7), handle.c).",
		Run: func(t *suites.T) {
			s := newStage(t)
			for _, op := range kc.Ops {
				c := s.command(op, negotiating...)
				for _, at := range []uintptr{c.Address() + 4, c.Address() + 1, 0, 1 << 63, ^uintptr(7)} {
					s.refused(fmt.Sprintf("%s at %#x", op.Name, at), kc.IoctlAt(s.fd(op.Op), op.Op, at), unix.EFAULT)
				}
				c.KeepAlive()
			}
			s.usable()
		},
	},
	{
		Name: "parse-flag-each-undefined-bit",
		Doc:  "Each flag that an operation does not have is EINVAL (kdbus(7), handle.c).",
		Run: func(t *suites.T) {
			s := newStage(t)
			for _, op := range kc.Ops {
				for bit := range 63 {
					if op.FlagsMask>>bit&1 != 0 {
						continue
					}
					c := s.command(op)
					word(c, 8, 1<<bit)
					s.refused(fmt.Sprintf("%s with flag %#x", op.Name, uint64(1)<<bit), kc.Ioctl(s.fd(op.Op), op.Op, c), unix.EINVAL)
				}
			}
			s.usable()
		},
	},
	{
		Name: "negotiate-flags-each",
		Doc:  "Asked, each operation tells the flags it has, and does nothing (kdbus(7)).",
		Run: func(t *suites.T) {
			s := newStage(t)
			for _, op := range kc.Ops {
				c := s.command(op)
				word(c, 8, kc.Negotiate)
				word(c, 16, 0x77)
				s.do("negotiate "+op.Name, kc.Ioctl(s.fd(op.Op), op.Op, c))
				want(s.fixture, "flags of "+op.Name, kc.Fixed[kc.Cmd](c).Flags, op.FlagsMask)
				want(s.fixture, "return flags of "+op.Name, kc.Fixed[kc.Cmd](c).ReturnFlags, 0)
			}
			s.usable()
		},
	},
	{
		Name: "negotiate-items",
		Doc:  "Of the item types it is asked about, each operation leaves those it takes (kdbus(7)).",
		Run: func(t *suites.T) {
			s := newStage(t)
			known := map[kc.Op][]uint64{
				kc.Hello:       {kc.ItemName, kc.ItemCreds, kc.ItemPIDs, kc.ItemSeclabel, kc.ItemDescription, kc.ItemPolicyAccess},
				kc.BusMake:     {kc.ItemMakeName, kc.ItemBloomParameter, kc.ItemAttachSend},
				kc.Update:      {kc.ItemAttachSend, kc.ItemAttachRecv, kc.ItemName, kc.ItemPolicyAccess},
				kc.ConnInfo:    {kc.ItemName},
				kc.NameAcquire: {kc.ItemName},
				kc.Send:        {kc.ItemCancelFD},
			}
			for _, op := range kc.Ops {
				asked := append(slices.Clone(known[op.Op]), 0x7777, 0, kc.ItemReplyDead, 1<<63)
				c := s.command(op, kc.Words(kc.ItemNegotiate, asked...))
				word(c, 8, kc.Negotiate)
				s.do("negotiate "+op.Name, kc.Ioctl(s.fd(op.Op), op.Op, c))
				told := c.Items(op.Fixed)[0].Longs()
				wanted := append(slices.Clone(known[op.Op]), 0, 0, 0, 0)
				if !slices.Equal(told, wanted) {
					t.Errorf("%s leaves item types %#x, want %#x", op.Name, told, wanted)
				}
			}
			s.usable()
		},
	},
	{
		Name: "negotiate-item-then-run",
		Doc:  "With NEGOTIATE and without the flag, an operation tells what it takes and runs (kdbus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			c := kc.Encode(kc.ListCmd{Cmd: kc.Cmd{Flags: kc.ListUnique}}, kc.Words(kc.ItemNegotiate, kc.ItemName, kc.ItemNegotiate))
			f.do("list", kc.Ioctl(p.FD, kc.List, c))
			want(f, "item types told", fmt.Sprint(c.Items(40)[0].Longs()), fmt.Sprint([]uint64{0, kc.ItemNegotiate}))
			l := kc.Fixed[kc.ListCmd](c)
			want(f, "size of the list", l.ListSize, 24)
			f.do("free", p.Free(l.Offset))
		},
	},
	{
		Name: "negotiate-without-mandatory",
		Doc:  "Asking needs none of the items that doing needs, and leaves the descriptor fresh (kdbus(7)).",
		Run: func(t *suites.T) {
			s := newStage(t)
			for _, op := range []kc.Op{kc.BusMake, kc.NameAcquire, kc.EndpointMake} {
				c := kc.Encode(kc.Cmd{Flags: kc.Negotiate})
				s.do("negotiate", kc.Ioctl(s.fd(op), op, c))
			}
			s.usable()
		},
	},
	{
		Name: "negotiate-send",
		Doc:  "SEND tells the flags of the command, and of the message if it is asked with one; asking for the message's alone is EINVAL (kdbus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			m := to(b, 1)
			m.Flags = kc.Negotiate
			msg := kc.Encode(m)
			cmd := kc.Encode(kc.SendCmd{Cmd: kc.Cmd{Flags: kc.Negotiate}, MsgAddress: uint64(msg.Address())})
			f.do("negotiate", kc.Ioctl(a.FD, kc.Send, cmd))
			want(f, "flags of the command", kc.Fixed[kc.Cmd](cmd).Flags, kc.SyncReply)
			want(f, "flags of the message", kc.Fixed[kc.Msg](msg).Flags, kc.ExpectReply|kc.NoAutoStart|kc.Signal)
			b.nothing("what was asked about")
			msg = kc.Encode(m)
			cmd = kc.Encode(kc.SendCmd{MsgAddress: uint64(msg.Address())})
			f.refused("negotiate the message alone", kc.Ioctl(a.FD, kc.Send, cmd), unix.EINVAL)
			b.nothing("what was refused")
			msg.KeepAlive()
		},
	},
}

// lonePage maps a page after which nothing is mapped; it is unmapped with the case.
func (f *fixture) lonePage(prot int) (mem []byte, at uintptr) {
	f.t.Helper()
	both, err := unix.Mmap(-1, 0, 2*pageSize, prot, unix.MAP_PRIVATE|unix.MAP_ANON)
	f.do("map two pages", err)
	f.t.Cleanup(func() { unix.Munmap(both) })
	f.do("close the second", unix.Mprotect(both[pageSize:], unix.PROT_NONE))
	return both[:pageSize], addressOf(both)
}
