package kdbus

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// description is what connections call themselves, as in the original selftests.
const description = "this-is-my-name"

// smallPool is the pool of a connection where a case does not say: small, so that
// it can be filled to see that nothing is left in it.
const smallPool = 128 << 10

// A peer is a connection of a case. What it does it does as its user.
type peer struct {
	*kc.Conn
	f        *fixture
	uid, gid int
	flags    uint64
	closed   bool
	leaves   bool // messages may be left in its queue, or have been lost
}

// An option changes how a peer connects.
type option func(*kc.Options)

func flags(set uint64) option { return func(o *kc.Options) { o.Flags = set } }
func pool(size uint64) option { return func(o *kc.Options) { o.PoolSize = size } }
func with(items ...kc.Item) option {
	return func(o *kc.Options) { o.Items = append(o.Items, items...) }
}
func attach(send, recv uint64) option {
	return func(o *kc.Options) { o.AttachSend, o.AttachRecv = send, recv }
}

// bigPool is the pool of the original selftests; their quotas depend on it.
func bigPool(o *kc.Options) { o.PoolSize = kc.DefaultPool }

// noFDs has a connection refuse descriptors.
func noFDs(o *kc.Options) { o.Flags &^= kc.AcceptFD }

// activator has a connection stand in for the owner of a name.
func activator(name string, policy ...kc.Item) option {
	return special(kc.Activator, name, policy)
}

// holder has a connection hold the policy of a name.
func holder(name string, policy ...kc.Item) option { return special(kc.PolicyHolder, name, policy) }

func special(kind uint64, name string, policy []kc.Item) option {
	return func(o *kc.Options) {
		o.Flags |= kind
		o.Items = append(append(o.Items, kc.Name(name)), policy...)
	}
}

// monitor has a connection see everything.
func monitor(o *kc.Options) { o.Flags |= kc.Monitor }

func options(changes []option) kc.Options {
	o := kc.Options{
		Flags: kc.AcceptFD, AttachSend: kc.AttachAll, AttachRecv: kc.AttachAll, PoolSize: smallPool,
		Items: []kc.Item{kc.Text(kc.ItemDescription, description)},
	}
	for _, c := range changes {
		c(&o)
	}
	return o
}

// peer connects to the bus.
func (f *fixture) peer(changes ...option) *peer {
	f.t.Helper()
	p, err := f.tryPeer("bus", 0, 0, changes...)
	f.do("connect", err)
	return p
}

// peerAs connects to the bus as another user, who also does what the peer does.
func (f *fixture) peerAs(uid, gid int, changes ...option) *peer {
	f.t.Helper()
	p, err := f.tryPeer("bus", uid, gid, changes...)
	f.do("connect as another user", err)
	return p
}

// tryPeer connects to an endpoint.
func (f *fixture) tryPeer(endpoint string, uid, gid int, changes ...option) (*peer, error) {
	o := options(changes)
	p := &peer{f: f, uid: uid, gid: gid, flags: o.Flags}
	err := p.run(func() (err error) {
		p.Conn, err = kc.Dial(f.bus.Path(endpoint), o)
		return err
	})
	if err != nil {
		return nil, err
	}
	f.peers = append(f.peers, p)
	return p, nil
}

// run has the peer's user do something.
func (p *peer) run(do func() error) error {
	if p.uid == 0 && p.gid == 0 {
		return do()
	}
	return as(p.uid, p.gid, do)
}

// close ends the connection.
func (p *peer) close() {
	p.closed = true
	p.f.do("close a connection", p.Close())
}

// send sends a message as the peer's user.
func (p *peer) send(m kc.Msg, items ...kc.Item) error {
	return p.run(func() error { return p.Send(m, items...) })
}

// sends is send that must succeed.
func (p *peer) sends(m kc.Msg, items ...kc.Item) {
	p.f.t.Helper()
	p.f.do("send", p.send(m, items...))
}

// to is a plain message to a peer.
func to(p *peer, cookie uint64) kc.Msg { return toID(p.ID, cookie) }

func toID(id, cookie uint64) kc.Msg {
	return kc.Msg{DstID: id, Cookie: cookie, PayloadType: kc.PayloadDBus}
}

// second is a second, in nanoseconds.
const second = uint64(1e9)

// call is a message to a peer that wants a reply within so many nanoseconds.
func call(p *peer, cookie, ns uint64) kc.Msg { return calling(to(p, cookie), ns) }

func calling(m kc.Msg, ns uint64) kc.Msg {
	m.Flags |= kc.ExpectReply
	m.Timeout = kc.Deadline(ns)
	return m
}

// reply answers a message.
func reply(m *kc.Message, cookie uint64) kc.Msg {
	return kc.Msg{DstID: m.SrcID, Cookie: cookie, Timeout: m.Cookie, PayloadType: kc.PayloadDBus}
}

// byName is a message that a DST_NAME item says the destination of.
func byName(cookie uint64) kc.Msg { return toID(kc.DstName, cookie) }

// broadcast is a signal to all.
func broadcast(cookie uint64) kc.Msg {
	return kc.Msg{Flags: kc.Signal, DstID: kc.DstBroadcast, Cookie: cookie, PayloadType: kc.PayloadDBus}
}

// zeroFilter is the filter of a signal that only a mask of zeros lets through.
func zeroFilter() kc.Item { return kc.Filter(0, make([]byte, bloomSize)) }

// signals sends a broadcast.
func (p *peer) signals(cookie uint64) {
	p.f.t.Helper()
	p.sends(broadcast(cookie), zeroFilter())
}

// anyMatch lets every broadcast of a user through.
func (p *peer) anyMatch() {
	p.f.t.Helper()
	p.matches(1, kc.OfID(kc.ItemID, kc.MatchAnyID))
}

// matches adds a match entry.
func (p *peer) matches(cookie uint64, rules ...kc.Item) {
	p.f.t.Helper()
	p.f.do("add a match", p.Match(cookie, 0, rules...))
}

// acquire asks for a name as the peer's user.
func (p *peer) acquire(name string, flags uint64) (told uint64, err error) {
	err = p.run(func() (err error) { told, err = p.Acquire(name, flags); return err })
	return told, err
}

// acquires takes a name and wants to be told so.
func (p *peer) acquires(name string, flags uint64) {
	p.f.t.Helper()
	told, err := p.acquire(name, flags)
	p.f.do("acquire "+name, err)
	if p.f.newFlags() && told&(kc.NamePrimary|kc.NameAcquired) != kc.NamePrimary|kc.NameAcquired {
		p.f.t.Errorf("acquiring %s told flags %#x, want PRIMARY and ACQUIRED", name, told)
	}
}

// releases gives a name back.
func (p *peer) releases(name string) {
	p.f.t.Helper()
	p.f.do("release "+name, p.Release(name))
}

// gets receives a message with that cookie, and frees it.
func (p *peer) gets(what string, cookie uint64) *kc.Message {
	p.f.t.Helper()
	m := p.takes(what)
	want(p.f, what+": cookie", m.Cookie, cookie)
	return m
}

// takes receives any message, and frees it.
func (p *peer) takes(what string) *kc.Message {
	p.f.t.Helper()
	m, err := p.Recv(0, 0)
	p.f.do(what+": receive", err)
	want(p.f, what+": the slice's alignment", m.Info.Offset%8, 0)
	return m
}

// waits receives a message once there is one.
func (p *peer) waits(what string) *kc.Message {
	p.f.t.Helper()
	p.awaits(what)
	return p.takes(what)
}

// patience is how long a case waits for what must happen, in milliseconds of the
// guest. The deadline of the case is the host's.
const patience = 60000

// awaits waits for a message.
func (p *peer) awaits(what string) {
	p.f.t.Helper()
	got, err := p.Poll(unix.POLLIN, patience)
	p.f.do(what+": poll", err)
	if got&unix.POLLIN == 0 {
		p.f.t.Fatalf("%s: poll tells %#x, want a message", what, got)
	}
}

// notifies receives a notification of the kernel and returns its item.
func (p *peer) notifies(what string, kind uint64) (*kc.Message, kc.Item) {
	p.f.t.Helper()
	m := p.waits(what)
	want(p.f, what+": source", m.SrcID, kc.SrcKernel)
	want(p.f, what+": payload type", m.PayloadType, kc.PayloadKernel)
	if len(m.Items) == 0 || m.Items[0].Type != kind {
		p.f.t.Fatalf("%s: the first item is not %#x: %v", what, kind, m.Items)
	}
	return m, m.Items[0]
}

// nothing wants the queue to be empty, and nothing to have been lost.
func (p *peer) nothing(what string) {
	p.f.t.Helper()
	m, err := p.Fetch(0, 0)
	if err == nil {
		p.f.t.Errorf("%s: a message with cookie %d of %d, want none", what, m.Cookie, m.SrcID)
		p.f.do("free", p.FreeMessage(m))
		return
	}
	p.f.refused(what+": receive", err, unix.EAGAIN)
	want(p.f, what+": dropped messages", m.Dropped, 0)
	want(p.f, what+": offset without a message", m.Info.Offset, p.Pool.Size())
	want(p.f, what+": size without a message", m.Info.MsgSize, 0)
}

// drain throws away what is queued and what was lost.
func (p *peer) drain() (n int) {
	for {
		m, err := p.Fetch(0, 0)
		if err != nil {
			return n
		}
		for _, fd := range m.Descriptors() {
			if fd >= 0 {
				unix.Close(fd)
			}
		}
		p.f.do("free", p.FreeMessage(m))
		n++
	}
}

// closeAll closes the descriptors a message came with.
func closeAll(m *kc.Message) {
	for _, fd := range m.Descriptors() {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// checkEmpty wants a connection at the end of a case to have nothing queued and
// nothing left in its pool. A policy holder cannot give back what it got.
func (p *peer) checkEmpty() {
	if p.f.t.Failed() || p.flags&kc.PolicyHolder != 0 || p.leaves {
		return
	}
	if errors.Is(p.Free(p.Pool.Size()), unix.ECONNRESET) {
		return // it has ended
	}
	if p.flags&kc.Monitor != 0 {
		p.drainKernel()
	}
	p.nothing("at the end")
	p.fill()
}

// drainKernel throws away notifications: a monitor gets more of them than most
// cases ask about.
func (p *peer) drainKernel() {
	for {
		m, err := p.Fetch(kc.RecvPeek, 0)
		if err != nil || m.SrcID != kc.SrcKernel {
			return
		}
		p.takes("a notification")
	}
}

// fill has the pool filled with records of the bus and empties it again: all
// of it must have been free. The first slice of an empty pool is at its start.
func (p *peer) fill() {
	p.f.t.Helper()
	var offsets []uint64
	var sum, last uint64
	for {
		cmd := kc.Encode(kc.InfoCmd{Attach: kc.AttachAll})
		err := kc.Ioctl(p.FD, kc.BusCreatorInfo, cmd)
		if errors.Is(err, unix.EXFULL) {
			break
		}
		p.f.do("ask about the bus", err)
		i := kc.Fixed[kc.InfoCmd](cmd)
		offsets, last = append(offsets, i.Offset), (i.InfoSize+7)&^7
		sum += last
		if p.Pool.Size() > 1<<20 {
			want(p.f, "the first slice of an empty pool", i.Offset, 0)
			break
		}
	}
	if p.Pool.Size() <= 1<<20 && sum+last <= p.Pool.Size() {
		p.f.t.Errorf("only %d of %d bytes of the pool were free at the end", sum, p.Pool.Size())
	}
	for _, o := range offsets {
		p.f.do("free", p.Free(o))
	}
}

// entry is what LIST says of a name: whose it is, and its flags.
type entry struct {
	id    uint64
	flags uint64
}

// table lists who has a name, with all flags but those that LIST leaves to choose.
func (f *fixture) table(p *peer, name string) (all []entry) {
	f.t.Helper()
	records, err := p.List(kc.ListNames | kc.ListActivators | kc.ListQueued)
	f.do("list names", err)
	for _, r := range records {
		for _, i := range r.Items {
			if flags, n, err := i.Owned(); i.Type == kc.ItemOwnedName && err == nil && n == name {
				all = append(all, entry{r.ID, flags})
			}
		}
	}
	return all
}

// listed wants LIST to tell of a name as it is: its flags by the ID of who has it.
func (f *fixture) listed(p *peer, name string, wanted map[*peer]uint64) {
	f.t.Helper()
	got := f.table(p, name)
	if len(got) != len(wanted) {
		f.t.Errorf("%s is listed as %v, want %d entries", name, got, len(wanted))
		return
	}
	for who, flags := range wanted {
		found := false
		for _, e := range got {
			found = found || e.id == who.ID
			if e.id == who.ID && e.flags != flags && (f.newFlags() || e.flags != flags&^kc.NamePrimary) {
				f.t.Errorf("%s of %d is listed with flags %#x, want %#x", name, e.id, e.flags, flags)
			}
		}
		if !found {
			f.t.Errorf("%s is listed as %v, want one of connection %d", name, got, who.ID)
		}
	}
}

// memfd makes a sealed memfd of the given bytes; it is closed with the case, if not
// before.
func (f *fixture) memfd(data []byte) int {
	f.t.Helper()
	fd := f.unsealed(data)
	_, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, allSeals)
	f.do("seal", err)
	return fd
}

const allSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

func (f *fixture) unsealed(data []byte) int {
	f.t.Helper()
	fd, err := unix.MemfdCreate("kplay", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	f.do("make a memfd", err)
	f.own(fd)
	for len(data) > 0 {
		n, err := unix.Write(fd, data)
		f.do("write to a memfd", err)
		data = data[n:]
	}
	return fd
}

// pageSize is that of the guest.
var pageSize = os.Getpagesize()
