package kdbus

import (
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A wrong is a message that is refused for what it is.
type wrong struct {
	name  string
	msg   func(at *peer) kc.Msg
	items func(f *fixture) []kc.Item
	sync  bool
	want  unix.Errno
	doc   string
}

// plainly is a good message to change.
func plainly(change func(*kc.Msg)) func(*peer) kc.Msg {
	return func(at *peer) kc.Msg {
		m := to(at, 1)
		change(&m)
		return m
	}
}

// only are items that need nothing.
func only(items ...kc.Item) func(*fixture) []kc.Item {
	return func(*fixture) []kc.Item { return items }
}

func sized(sizes ...uint64) func(*fixture) []kc.Item {
	var items []kc.Item
	for _, s := range sizes {
		items = append(items, kc.PayloadAt(0, s))
	}
	return only(items...)
}

func signalTo(m *kc.Msg) { m.Flags = kc.Signal }

var wrongs = []wrong{
	{"src-other", plainly(func(m *kc.Msg) { m.SrcID = m.DstID }), only(), false, unix.EINVAL, "A message is one's own: a foreign source is EINVAL"},
	{"payload-kernel", plainly(func(m *kc.Msg) { m.PayloadType = kc.PayloadKernel }), only(), false, unix.EINVAL, "The kernel's payload type is the kernel's: EINVAL"},
	{"unknown-flag", plainly(func(m *kc.Msg) { m.Flags = 8 }), only(), false, unix.EINVAL, "A flag that a message does not have is EINVAL"},
	{"bcast-no-signal", plainly(func(m *kc.Msg) { m.DstID = kc.DstBroadcast }), only(zeroFilter()), false, unix.EBADMSG, "A broadcast is a signal: EBADMSG"},
	{"bcast-with-timeout", func(*peer) kc.Msg { m := broadcast(1); m.Timeout = 1; return m }, only(zeroFilter()), false, unix.ENOTUNIQ, "A broadcast has no deadline: ENOTUNIQ"},
	{"expect-signal", plainly(func(m *kc.Msg) { m.Flags, m.Timeout = kc.Signal|kc.ExpectReply, kc.Deadline(second) }), only(zeroFilter()), false, unix.ENOTUNIQ, "A signal expects no reply: ENOTUNIQ"},
	{"expect-no-timeout", plainly(func(m *kc.Msg) { m.Flags = kc.ExpectReply }), only(), true, unix.EINVAL, "A call has a deadline: EINVAL"},
	{"sync-without-expect", plainly(func(*kc.Msg) {}), only(), true, unix.EINVAL, "What waits for a reply expects one: EINVAL"},
	{"reply-signal", plainly(func(m *kc.Msg) { m.Flags, m.Timeout = kc.Signal, 5 }), only(zeroFilter()), false, unix.EINVAL, "A signal is no reply: EINVAL"},
	{"signal-no-bloom", plainly(signalTo), only(), false, unix.EBADMSG, "A signal has a filter: EBADMSG"},
	{"bcast-no-bloom", func(*peer) kc.Msg { return broadcast(1) }, only(), false, unix.EBADMSG, "A broadcast has a filter: EBADMSG"},
	{"bloom-no-signal", plainly(func(*kc.Msg) {}), only(zeroFilter()), false, unix.EBADMSG, "Only a signal has a filter: EBADMSG"},
	{"no-destination", plainly(func(m *kc.Msg) { m.DstID = kc.DstName }), only(), false, unix.EDESTADDRREQ, "A message has a destination: EDESTADDRREQ"},
	{"name-on-broadcast", func(*peer) kc.Msg { return broadcast(1) }, only(zeroFilter(), kc.To(nameA)), false, unix.EBADMSG, "A broadcast is to nobody by name: EBADMSG"},
	{"bad-dst-name", func(*peer) kc.Msg { return byName(1) }, only(kc.To("foo")), false, unix.EINVAL, "A destination is a well-formed name: EINVAL"},
	{"wildcard-dst-name", func(*peer) kc.Msg { return byName(1) }, only(kc.To("a.b.*")), false, unix.EINVAL, "A wildcard is no destination: EINVAL"},
	{"unknown-name", func(*peer) kc.Msg { return byName(1) }, only(kc.To("a.nobody")), false, unix.ESRCH, "A name that nobody has is ESRCH"},
	{"unknown-id", func(*peer) kc.Msg { return toID(1<<63, 1) }, only(), false, unix.ENXIO, "An ID that nobody has is ENXIO"},
	{"bloom-too-small", plainly(signalTo), only(kc.Filter(0, make([]byte, bloomSize-8))), false, unix.EDOM, "A filter has the bus's size: EDOM"},
	{"bloom-too-large", plainly(signalTo), only(kc.Filter(0, make([]byte, bloomSize+8))), false, unix.EDOM, "A filter has the bus's size: EDOM"},
	{"bloom-unaligned", plainly(signalTo), only(kc.Filter(0, make([]byte, bloomSize-1))), false, unix.EFAULT, "A filter is whole words: EFAULT"},
	{"bloom-empty", plainly(signalTo), only(kc.Filter(0, nil)), false, unix.EDOM, "A filter has the bus's size: EDOM"},
	{"bloom-no-generation", plainly(signalTo), only(kc.Raw(kc.ItemBloomFilter, make([]byte, 4))), false, unix.EINVAL, "A filter has a generation: EINVAL"},
	{"vec-zero-size", plainly(func(*kc.Msg) {}), sized(0), false, unix.EINVAL, "A payload is not empty: EINVAL"},
	{"vec-total-too-much", plainly(func(*kc.Msg) {}), sized(kc.MaxPayload, 1), false, unix.EMSGSIZE, "All payload is 2 MiB at most: EMSGSIZE"},
	{"vec-sum-overflow", plainly(func(*kc.Msg) {}), sized(1<<63, 1<<63), false, unix.EMSGSIZE, "Sizes that overflow are too much: EMSGSIZE"},
	{"vec-sum-overflow-small", plainly(func(*kc.Msg) {}), sized(8, 1<<64-8), false, unix.EMSGSIZE, "Sizes that overflow are too much: EMSGSIZE"},
	{"vec-too-short", plainly(func(*kc.Msg) {}), only(kc.Words(kc.ItemPayloadVec, 1)), false, unix.EINVAL, "A payload item has a size and an address: EINVAL"},
	{"memfd-range-overflow", plainly(func(*kc.Msg) {}), func(f *fixture) []kc.Item {
		return []kc.Item{kc.PayloadMemfd(f.memfd([]byte("x")), 1<<63, 1<<63)}
	}, false, unix.EMSGSIZE, "A part of a memfd whose end overflows is EMSGSIZE"},
	{"memfd-zero-size", plainly(func(*kc.Msg) {}), func(f *fixture) []kc.Item {
		return []kc.Item{kc.PayloadMemfd(f.memfd([]byte("x")), 0, 0)}
	}, false, unix.EINVAL, "A payload is not empty: EINVAL"},
	{"memfd-negative", plainly(func(*kc.Msg) {}), only(kc.PayloadMemfd(-1, 0, 1)), false, unix.EBADF, "A memfd is a descriptor: EBADF"},
	{"payload-off-refused", plainly(func(*kc.Msg) {}), only(kc.Words(kc.ItemPayloadOff, 1, 0)), false, unix.EINVAL, "What only the kernel says is EINVAL"},
	{"timestamp-refused", plainly(func(*kc.Msg) {}), only(kc.Words(kc.ItemTimestamp, 1, 2, 3)), false, unix.EINVAL, "What only the kernel says is EINVAL"},
	{"negotiate-refused", plainly(func(*kc.Msg) {}), only(kc.Words(kc.ItemNegotiate, 1)), false, unix.EINVAL, "A message that is sent asks nothing: EINVAL"},
	{"fds-odd-length", plainly(func(*kc.Msg) {}), only(kc.Raw(kc.ItemFDs, make([]byte, 6))), false, unix.EINVAL, "Descriptors are whole numbers: EINVAL"},
}

// A defect is a message wrong in two ways, of which the first in the order of the
// checks is told.
var defects = []struct {
	name string
	msg  kc.Msg
	more []kc.Item
	want unix.Errno
}{
	{"source before payload type", kc.Msg{SrcID: 99, DstID: unknownID, PayloadType: 0}, nil, unix.EINVAL},
	{"broadcast before its deadline", kc.Msg{DstID: kc.DstBroadcast, Timeout: 1, PayloadType: 1}, nil, unix.EBADMSG},
	{"deadline before items", kc.Msg{DstID: kc.DstBroadcast, Flags: kc.Signal, Timeout: 1, PayloadType: 1}, []kc.Item{kc.PayloadAt(0, kc.MaxPayload+1)}, unix.ENOTUNIQ},
	{"items before the destination", kc.Msg{PayloadType: 1}, []kc.Item{kc.PayloadAt(0, kc.MaxPayload+1)}, unix.EMSGSIZE},
	{"the first item before the second", kc.Msg{DstID: unknownID, PayloadType: 1}, []kc.Item{kc.To("bad"), kc.PayloadAt(0, kc.MaxPayload+1)}, unix.EINVAL},
	{"the filter before the destination's existence", kc.Msg{DstID: unknownID, Flags: kc.Signal, PayloadType: 1}, nil, unix.EBADMSG},
	{"descriptors before the destination's existence", kc.Msg{DstID: unknownID, PayloadType: 1}, []kc.Item{kc.FDs(9999)}, unix.EBADF},
}

func sendCases() (cases []suites.Case) {
	for _, w := range wrongs {
		cases = append(cases, suites.Case{Name: "msg-" + w.name, Doc: w.doc + ", and nothing is delivered (kdbus.message(7), message.c).", Run: w.run})
	}
	return append(cases, sendOtherCases...)
}

func (w wrong) run(t *suites.T) {
	f := newBus(t)
	a, b, m := f.peer(), f.peer(), f.peer(monitor)
	for _, p := range []*peer{a, b} {
		p.matches(1)
	}
	flags := uint64(0)
	if w.sync {
		flags = kc.SyncReply
	}
	told, err := a.SendWith(flags, nil, w.msg(b), w.items(f)...)
	f.refused("send", err, w.want)
	want(f, "the reply told of a refused message", told, kc.MsgInfo{})
	for _, p := range []*peer{a, b} {
		p.nothing("after the refusal")
	}
	m.drain() // it may see what was refused late
	a.sends(to(b, 7))
	b.gets("a good message", 7)
	m.drain()
}

var sendOtherCases = []suites.Case{
	{
		Name: "msg-src-zero-and-own",
		Doc:  "A message without a source has its sender's ID, and one may say it oneself (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for _, src := range []uint64{0, a.ID} {
				m := to(b, 1)
				m.SrcID = src
				a.sends(m)
				want(f, "source", b.gets("the message", 1).SrcID, a.ID)
			}
		},
	},
	{
		Name: "msg-payload-arbitrary",
		Doc:  "Payload types but the kernel's, and cookies and priorities, are passed on as they are (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			for _, kind := range []uint64{1, 1<<64 - 1, kc.PayloadDBus} {
				m := to(b, kind^0x55)
				m.PayloadType, m.Priority = kind, -int64(kind>>1)
				a.sends(m)
				got := b.gets("the message", kind^0x55)
				want(f, "payload type", got.PayloadType, kind)
				want(f, "priority", got.Priority, m.Priority)
				want(f, "flags", got.Flags, 0)
				want(f, "destination", got.DstID, b.ID)
				want(f, "cookie of a reply", got.Timeout, 0)
			}
		},
	},
	{
		Name: "msg-id-name-match",
		Doc:  "A message with an ID and a name is for who has both: EREMCHG if the name is another's (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b, c := f.peer(), f.peer(), f.peer()
			b.acquires(nameA, 0)
			a.sends(to(b, 1), kc.To(nameA))
			m := b.gets("by both", 1)
			f.has("by both", m, kc.ItemDstName, 1)
			f.refused("send to another's ID", a.send(to(c, 2), kc.To(nameA)), unix.EREMCHG)
			f.refused("send to an unknown ID", a.send(toID(unknownID, 2), kc.To(nameA)), unix.EREMCHG)
			f.refused("send to an unknown name", a.send(to(b, 2), kc.To(nameB)), unix.ESRCH)
			b.nothing("after the refusals")
			c.nothing("after the refusals")
		},
	},
	{
		Name: "msg-no-auto-start",
		Doc:  "NO_AUTO_START does not reach an activator: EADDRNOTAVAIL; it reaches a service (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			act, a, service := f.peer(activator(nameA)), f.peer(), f.peer()
			m := byName(1)
			m.Flags = kc.NoAutoStart
			f.refused("send to the activator", a.send(m, kc.To(nameA)), unix.EADDRNOTAVAIL)
			act.nothing("after the refusal")
			service.acquires(nameA, 0)
			a.sends(m, kc.To(nameA))
			want(f, "flags", service.gets("the message", 1).Flags, kc.NoAutoStart)
		},
	},
	{
		Name: "msg-dst-special",
		Doc:  "Monitors, policy holders and activators are nobody to send to by ID: ENXIO (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, m := f.peer(), f.peer(monitor)
			m.leaves = true
			for _, p := range []*peer{m, f.peer(holder(nameB)), f.peer(activator(nameA))} {
				f.refused("send", a.send(to(p, 1)), unix.ENXIO)
				f.refused("call", a.send(call(p, 1, second)), unix.ENXIO)
			}
			m.drain()
		},
	},
	{
		Name: "msg-vec-total-2mib",
		Doc:  "All payload may be 2 MiB, in several parts (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(bigPool)
			big := make([]byte, kc.MaxPayload-3)
			big[0], big[len(big)-1] = 1, 2
			a.sends(to(b, 1), kc.Payload(big), kc.Payload([]byte{3, 4, 5}))
			data, err := b.gets("the message", 1).Data()
			f.do("read the payload", err)
			want(f, "length", len(data), kc.MaxPayload)
			want(f, "the ends of the parts", string(data[:1])+string(data[len(data)-4:]), "\x01\x02\x03\x04\x05")
		},
	},
	{
		Name: "msg-header-only",
		Doc:  "A message needs no items: without metadata it is its header (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(plain)
			a.sends(to(b, 1))
			m := b.gets("the message", 1)
			want(f, "size", m.Size, 64)
			want(f, "size of the slice", m.Info.MsgSize, 64)
		},
	},
	{
		Name: "msg-size-limits",
		Doc:  "A message has its header at least and 32768 bytes at most, at an address divisible by 8 (message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer(bigPool)
			send := func(msg *kc.Command, shift uintptr) error {
				err := kc.Ioctl(a.FD, kc.Send, kc.Encode(kc.SendCmd{MsgAddress: uint64(msg.Address() + shift)}))
				msg.KeepAlive()
				return err
			}
			var vecs []kc.Item
			for range (kc.MaxCommand - 64) / 32 {
				vecs = append(vecs, kc.PayloadAt(0, 1))
			}
			full := kc.Encode(to(b, 1), vecs...)
			want(f, "size of a full message", len(full.Bytes()), kc.MaxCommand)
			f.do("send a full message", send(full, 0))
			f.has("a full message", b.gets("a full message", 1), kc.ItemPayloadOff, len(vecs))
			f.refused("send one at an odd address", send(full, 4), unix.EFAULT)
			word(full, 0, kc.MaxCommand+1)
			f.refused("send more than fits", send(full, 0), unix.EMSGSIZE)
			word(full, 0, 63)
			f.refused("send less than a header", send(full, 0), unix.EINVAL)
			f.refused("send no message", kc.Ioctl(a.FD, kc.Send, kc.Encode(kc.SendCmd{})), unix.EFAULT)
			b.nothing("after the refusals")
		},
	},
	{
		Name: "msg-first-error-wins",
		Doc:  "Of several wrongs in a message the first in the order of the checks is told (message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			for _, d := range defects {
				f.refused(d.name, a.send(d.msg, d.more...), d.want)
			}
		},
	},
	{
		Name: "msg-cancel-fd-bad",
		Doc:  "A CANCEL_FD that is not open is EBADF, and nothing is sent; one that cannot be polled is EINVAL, or as good as readable (kdbus.message(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			fd := f.eventfd(0)
			f.shut(fd)
			_, err := a.Call(call(b, 1, 600*second), fd)
			f.refused("call", err, unix.EBADF)
			b.nothing("after the refusal")
			file, err := unix.Open(t.Dir()+"/file", unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
			f.do("make a file", err)
			f.own(file)
			_, err = a.Call(call(b, 2, 600*second), file)
			f.refused("call with a file", err, unix.EINVAL, unix.ECANCELED)
			t.Logf("a file as CANCEL_FD: %s", said(err))
			b.drain()
		},
	},
	{
		Name: "msg-self-unicast",
		Doc:  "One may send to oneself (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			a.sends(to(a, 1), kc.Payload([]byte("self")))
			want(f, "source", a.gets("one's own message", 1).SrcID, a.ID)
		},
	},
	{
		Name: "msg-self-sync",
		Doc:  "A call to oneself that waits ends at its deadline, and stays in the queue (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a := f.peer()
			_, err := a.Call(call(a, 1, waitable), -1)
			f.refused("call", err, unix.ETIMEDOUT)
			a.gets("one's own call", 1)
		},
	},
	{
		Name: "msg-reply-told",
		Doc:  "A message that does not wait tells the end of the pool for a reply (connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, b := f.peer(), f.peer()
			told, err := a.SendWith(0, nil, to(b, 1))
			f.do("send", err)
			want(f, "the reply told", told, kc.MsgInfo{Offset: a.Pool.Size()})
			b.gets("the message", 1)
		},
	},
}
