package kdbus

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// endpointName is the name of a custom endpoint with the prefix of this user.
func endpointName(name string) string { return fmt.Sprintf("%d-%s", os.Geteuid(), name) }

// newEndpoint makes a custom endpoint of the bus, and returns the descriptor that
// keeps it alive.
func (f *fixture) newEndpoint(name string, flags uint64) int {
	f.t.Helper()
	fd := f.endpoint()
	f.do("make an endpoint", kc.MakeEndpoint(fd, endpointName(name), flags))
	return fd
}

// peerAt connects to a custom endpoint.
func (f *fixture) peerAt(name string, changes ...option) *peer {
	f.t.Helper()
	p, err := f.tryPeer(endpointName(name), 0, 0, changes...)
	f.do("connect to the endpoint", err)
	return p
}

// badEndpoints are names ENDPOINT_MAKE refuses; $ stands for the user ID.
var badEndpoints = []struct {
	name, endpoint string
	want           unix.Errno
	doc            string
}{
	{"name-too-long", "$-" + strings.Repeat("x", 62), unix.ENAMETOOLONG, "The name of an endpoint has 63 characters at most: ENAMETOOLONG (test-endpoint.c)."},
	{"wrong-uid-prefix", "1-foo", unix.EINVAL, "The name of an endpoint begins with its maker's user ID: EINVAL (kdbus.endpoint(7), test-endpoint.c)."},
	{"no-uid-prefix", "foo", unix.EINVAL, "The name of an endpoint begins with its maker's user ID: EINVAL (kdbus.endpoint(7))."},
}

func endpointCases() (cases []suites.Case) {
	for _, b := range badEndpoints {
		cases = append(cases, suites.Case{Name: "ep-" + b.name, Doc: b.doc, Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.endpoint()
			name := strings.Replace(b.endpoint, "$", fmt.Sprint(os.Geteuid()), 1)
			f.refused("make an endpoint", kc.MakeEndpoint(fd, name, 0), b.want)
			f.dirHas(f.bus.Dir, "bus")
			f.connectable(fd)
		}})
	}
	return append(cases, endpointOtherCases...)
}

var endpointOtherCases = []suites.Case{
	{
		Name: "ep-make-ok",
		Doc:  "A custom endpoint is a file beside the default one, and takes connections (kdbus.endpoint(7), test-endpoint.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.newEndpoint("foo", 0)
			f.dirHas(f.bus.Dir, endpointName("foo"), "bus")
			p := f.peerAt("foo")
			f.shut(fd)
			f.dirHas(f.bus.Dir, "bus")
			f.refused("list on an endpoint that is gone", p.Free(p.Pool.Size()), unix.ECONNRESET)
		},
	},
	{
		Name: "ep-monitor-refused",
		Doc:  "There is no monitor on a custom endpoint: EOPNOTSUPP (kdbus.endpoint(7), test-endpoint.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.newEndpoint("foo", kc.AccessWorld)
			_, err := f.tryPeer(endpointName("foo"), 0, 0, monitor)
			f.refused("connect as a monitor", err, unix.EOPNOTSUPP)
		},
	},
	{
		Name: "ep-id-notifications-visible",
		Doc:  "On a custom endpoint one is told of connections that come (test-endpoint.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.newEndpoint("foo", 0)
			reader := f.peerAt("foo")
			reader.matches(1, kc.OfID(kc.ItemIDAdd, kc.MatchAnyID))
			for _, p := range []*peer{f.peerAt("foo"), f.peer()} {
				_, i := reader.notifies("a new connection", kc.ItemIDAdd)
				change, err := kc.As[kc.IDChange](i)
				f.do("read ID_ADD", err)
				want(f, "ID of the new connection", change.ID, p.ID)
			}
		},
	},
	{
		Name: "ep-names-hidden",
		Doc:  "A name that the endpoint's policy does not show is not there: not its owner, not its comings and goings (kdbus.endpoint(7), test-endpoint.c).",
		Run:  namesHidden,
	},
	{
		Name: "ep-update-policy",
		Doc:  "A name that the endpoint's policy shows is seen as on the default endpoint (kdbus.endpoint(7), test-endpoint.c).",
		Run:  namesShown,
	},
	{
		Name: "ep-make-unprivileged",
		Doc:  "Only the bus's owner makes endpoints: EPERM (kdbus.endpoint(7), test-endpoint.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.refused("make an endpoint", as(nobody, nobody, func() error {
				return kc.MakeEndpoint(f.endpoint(), fmt.Sprint(nobody, "-foo"), 0)
			}), unix.EPERM)
			f.dirHas(f.bus.Dir, "bus")
		},
	},
	{
		Name: "ep-private-node-mode",
		Doc:  "An endpoint made without flags is its maker's alone: EACCES for others (kdbus.endpoint(7), test-endpoint.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.newEndpoint("foo", 0)
			path := f.bus.Path(endpointName("foo"))
			f.refused("open as another user", as(nobody, nobody, func() error {
				fd, err := kc.Open(path)
				if err == nil {
					unix.Close(fd)
				}
				return err
			}), unix.EACCES)
		},
	},
	{
		Name: "ep-world-node-mode",
		Doc:  "An endpoint made with ACCESS_WORLD takes everybody's connections (kdbus.endpoint(7), test-endpoint.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.newEndpoint("foo", kc.AccessWorld)
			_, err := f.tryPeer(endpointName("foo"), nobody, nobody)
			f.do("connect as another user", err)
		},
	},
}

// unknownID is the ID of no connection.
const unknownID = 0x0fffffffffffffff

func namesHidden(t *suites.T) {
	f := newBus(t)
	f.newEndpoint("foo", 0)
	owner, reader, second := f.peer(), f.peerAt("foo"), f.peerAt("foo")
	for _, p := range []*peer{reader, second} {
		p.matches(1, kc.OfName(kc.ItemNameAdd, kc.MatchAnyID, kc.MatchAnyID, nameA))
		p.matches(2, kc.OfName(kc.ItemNameRemove, kc.MatchAnyID, kc.MatchAnyID, nameA))
	}
	owner.acquires(nameA, 0)
	reader.nothing("a hidden name")
	second.nothing("a hidden name")
	for _, ask := range []struct {
		what string
		err  func() error
		want unix.Errno
	}{
		{"ask about a hidden name", func() error { _, err := reader.InfoOf(nameA, 0); return err }, unix.ESRCH},
		{"ask about an unknown name", func() error { _, err := reader.InfoOf(nameB, 0); return err }, unix.ESRCH},
		{"ask about its owner", func() error { _, err := reader.Info(owner.ID, 0); return err }, unix.ENXIO},
		{"ask about an unknown ID", func() error { _, err := reader.Info(unknownID, 0); return err }, unix.ENXIO},
	} {
		f.refused(ask.what, ask.err(), ask.want)
	}
	want(f, "entries of a hidden name", len(f.table(reader, nameA)), 0)
	owner.releases(nameA)
	reader.nothing("a hidden name")
	second.nothing("a hidden name")
}

func namesShown(t *suites.T) {
	f := newBus(t)
	fd := f.newEndpoint("foo", 0)
	owner, reader, second := f.peer(), f.peerAt("foo"), f.peerAt("foo")
	for _, p := range []*peer{reader, second} {
		p.matches(1, kc.OfName(kc.ItemNameAdd, kc.MatchAnyID, kc.MatchAnyID, nameA))
	}
	f.do("set the policy", kc.UpdateEndpoint(fd, kc.Name(nameA), kc.Access(kc.PolicyWorld, kc.PolicySee, 0)))
	owner.acquires(nameA, 0)
	owner.acquires(nameB, 0)
	for _, p := range []*peer{reader, second} {
		_, i := p.notifies("a shown name", kc.ItemNameAdd)
		f.isChange(i, nil, owner, nameA)
		p.nothing("a name that is not shown")
	}
	r, err := reader.InfoOf(nameA, 0)
	f.do("ask about the name", err)
	want(f, "ID of its owner", r.ID, owner.ID)
	_, err = reader.Info(owner.ID, 0)
	f.do("ask about its owner", err)
	_, err = reader.InfoOf(nameB, 0)
	f.refused("ask about a name that is not shown", err, unix.ESRCH)
	want(f, "entries of the shown name", len(f.table(reader, nameA)), 1)
	want(f, "entries of the name not shown", len(f.table(reader, nameB)), 0)
}

// isChange wants the item to tell that a name went from one to another; nil is
// nobody.
func (f *fixture) isChange(i kc.Item, from, to *peer, name string) {
	f.t.Helper()
	c, n, err := i.Change()
	f.do("read a change of a name", err)
	id := func(p *peer) uint64 {
		if p == nil {
			return 0
		}
		return p.ID
	}
	want(f, "the name that changed", n, name)
	want(f, "the old owner of "+name, c.Old.ID, id(from))
	want(f, "the new owner of "+name, c.New.ID, id(to))
}
