package kdbus

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// documented are the errors that an operation may give to anything.
var documented = []unix.Errno{
	unix.EINVAL, unix.EFAULT, unix.EMSGSIZE, unix.EBADF, unix.EBADFD, unix.EPERM, unix.ESRCH, unix.ENXIO, unix.E2BIG, unix.EAGAIN, unix.EBUSY,
	unix.EEXIST, unix.EMFILE, unix.ETXTBSY, unix.EMLINK, unix.EPIPE, unix.EDOM, unix.ENAMETOOLONG, unix.EXFULL, unix.EBADSLT, unix.ECOMM,
	unix.EBADMSG, unix.ENOTUNIQ, unix.EREMCHG, unix.EDESTADDRREQ, unix.EOPNOTSUPP, unix.EADDRINUSE, unix.EADDRNOTAVAIL, unix.ECONNRESET,
	unix.ENOBUFS, unix.ESHUTDOWN, unix.ETIMEDOUT, unix.EUCLEAN, unix.EMEDIUMTYPE, unix.ECANCELED, unix.ENOMEM,
}

// probeCases may bring down a kernel by nonsense. They come last and have a process
// of their own.
var probeCases = []suites.Case{
	{
		Name: "probe-latin1-names", Alone: true,
		Doc: "Bytes beyond ASCII in a name are refused, or are listed as they are (names.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			taken := 0
			for c := 0x80; c <= 0xff; c++ {
				name := "a.b" + string([]byte{byte(c)})
				if _, err := p.acquire(name, 0); err != nil {
					f.refused("acquire", err, unix.EINVAL)
					continue
				}
				taken++
				f.listed(p, name, map[*peer]uint64{p: kc.NamePrimary})
				p.releases(name)
			}
			t.Logf("%d of 128 bytes beyond ASCII are letters", taken)
		},
	},
	{
		Name: "probe-random-items", Alone: true, Timeout: time.Minute,
		Doc: "Whatever is in a command, an operation succeeds or fails with an error it documents, and the kernel lives (kdbus(7)).",
		Run: randomItems,
	},
}

// crashProbeCases do what the 2015 code is known, by reading, not to survive.
var crashProbeCases = []suites.Case{
	{
		Name: "probe-short-pids-item", Alone: true,
		Doc: "A PIDS item that is too short is EINVAL; the 2015 code reads beyond it (connection.c), which is told, not judged, unless the kernel complains.",
		Run: func(t *suites.T) {
			f := newBus(t)
			for n := range 24 {
				err := kc.Ioctl(f.endpoint(), kc.Hello, options([]option{with(kc.Raw(kc.ItemPIDs, make([]byte, n)))}).Command())
				if err == nil {
					t.Logf("quirk: PIDS of %d bytes are taken", n)
				} else {
					f.refused("connect", err, unix.EINVAL)
				}
			}
		},
	},
	{
		Name: "probe-empty-fds", Alone: true,
		Doc: "A message with an empty array of descriptors is taken or refused; the 2015 code writes through a null pointer (message.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			if err := a.send(to(p, 1), kc.FDs()); err != nil {
				f.refused("send", err, unix.EINVAL)
				return
			}
			want(f, "descriptors", len(p.gets("the message", 1).Descriptors()), 0)
		},
	},
	{
		Name: "probe-negotiate-match", Alone: true,
		Doc: "A match entry with a NEGOTIATE item is none about it; the 2015 code stops the kernel when it is removed (match.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			f.do("add", p.Match(1, 0, kc.Words(kc.ItemNegotiate, kc.ItemID), kc.OfID(kc.ItemID, kc.MatchAnyID)))
			a.signals(7)
			p.gets("by the rule beside it", 7)
			f.do("remove", p.Unmatch(1))
		},
	},
}

// shapes of random items are likelier to be near what is well-formed.
var itemTypes = []uint64{
	kc.ItemNegotiate, kc.ItemPayloadVec, kc.ItemPayloadOff, kc.ItemPayloadMemfd, kc.ItemCancelFD, kc.ItemBloomParameter, kc.ItemBloomFilter,
	kc.ItemBloomMask, kc.ItemDstName, kc.ItemMakeName, kc.ItemAttachSend, kc.ItemAttachRecv, kc.ItemID, kc.ItemName, kc.ItemDstID,
	kc.ItemCreds, kc.ItemSeclabel, kc.ItemDescription, kc.ItemPolicyAccess, kc.ItemNameAdd, kc.ItemNameChange, kc.ItemIDAdd, kc.ItemReplyDead,
}

// randomItems gives operations random items. What is known to bring down the 2015
// code is left to the other probes: an empty FDS, a NEGOTIATE among match rules, a
// short PIDS.
func randomItems(t *suites.T) {
	s := newStage(t)
	s.p.leaves = true
	noise := make([]byte, 1<<16)
	_, err := rand.Read(noise)
	s.do("get random bytes", err)
	at := 0
	next := func(below int) int {
		at = (at + 2) % (len(noise) - 8)
		return int(binary.NativeEndian.Uint16(noise[at:])) % below
	}
	for n := range 20000 {
		op := kc.Ops[n%len(kc.Ops)]
		if op.Op == kc.Byebye {
			continue
		}
		var items []kc.Item
		for range next(4) {
			kind := itemTypes[next(len(itemTypes))]
			if kind == kc.ItemNegotiate && op.Op == kc.MatchAdd {
				kind = kc.ItemID
			}
			from, size := next(len(noise)-128), next(80)
			data := noise[from : from+size]
			switch next(3) {
			case 0:
				data = []byte("com.example.a\x00")
			case 1:
				data = kc.Words(0, uint64(next(3)), uint64(next(100)), uint64(next(3)), 0).Data[:8*(1+next(4))]
			}
			items = append(items, kc.Raw(kind, data))
		}
		s.random(op, next, items)
	}
	s.drainAll()
}

// random gives one operation its items; a message goes to oneself.
func (s *stage) random(op kc.OpInfo, next func(int) int, items []kc.Item) {
	s.t.Helper()
	c := s.command(op, items...)
	fd := s.fd(op.Op)
	var msg *kc.Command
	if op.Op == kc.Send {
		c = s.command(op)
		msg = kc.Encode(to(s.p, 1), items...)
		word(msg, 8, uint64(next(8)))
		kc.Fixed[kc.SendCmd](c).MsgAddress = uint64(msg.Address())
	}
	if op.Op == kc.BusMake || op.Op == kc.Hello || op.Op == kc.EndpointMake {
		word(c, 8, kc.Negotiate)
	} else {
		word(c, 8, uint64(next(16))&op.FlagsMask)
	}
	if err := kc.Ioctl(fd, op.Op, c); err != nil {
		s.refused(op.Name, err, documented...)
	}
	if msg != nil {
		msg.KeepAlive()
		s.p.drain()
	}
}

// drainAll takes back what random operations have left.
func (s *stage) drainAll() {
	s.p.drain()
	_ = s.p.Release(nameA) // it may not be ours
}
