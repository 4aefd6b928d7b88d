package kdbus

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// badBusNames are names BUS_MAKE refuses; $ stands for the user ID.
var badBusNames = []struct{ name, bus, doc string }{
	{"missing-uid-prefix", "foo", "The name of a bus begins with the user ID of its maker (kdbus.bus(7), test-bus.c)."},
	{"bad-character", "$-blah@123", "The name of a bus has letters, digits, dashes, dots and underscores only (kdbus.bus(7), test-bus.c)."},
	{"trailing-dash", "$-blah-", "The name of a bus does not end in a dash (test-bus.c)."},
}

// busCases are about making buses.
func busCases() (cases []suites.Case) {
	for _, b := range badBusNames {
		cases = append(cases, suites.Case{Name: "bus-make-" + b.name, Doc: b.doc, Run: func(t *suites.T) {
			f := newDomain(t)
			fd := f.control()
			f.refused("make a bus", kc.MakeBus(fd, f.named(b.bus)), unix.EINVAL)
			f.rootHas("control")
			f.do("make a bus by the same descriptor", kc.MakeBus(fd, f.aBus("good")))
		}})
	}
	return append(cases, busMakeCases...)
}

// named describes a bus with a name of which a leading $ is the user ID.
func (f *fixture) named(name string) kc.BusSpec {
	s := f.aBus(name[min(2, len(name)):])
	if name == "" || name[0] != '$' {
		s.Name = name
	}
	return s
}

// rootHas wants the domain to have these entries only.
func (f *fixture) rootHas(want ...string) {
	f.t.Helper()
	f.dirHas(f.root, want...)
}

// dirHas wants a directory to list these names, given sorted, and no others.
func (f *fixture) dirHas(dir string, want ...string) {
	f.t.Helper()
	all, err := os.ReadDir(dir)
	f.do("list "+dir, err)
	var got []string
	for _, e := range all {
		got = append(got, e.Name())
	}
	if len(got) != len(want) {
		f.t.Errorf("%s lists %q, want %q", filepath.Base(dir), got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			f.t.Errorf("%s lists %q, want %q", filepath.Base(dir), got, want)
			return
		}
	}
}

var busMakeCases = []suites.Case{
	{
		Name: "bus-make-ok",
		Doc:  "BUS_MAKE makes a directory with the default endpoint, which is there when it returns (kdbus.bus(7), test-bus.c).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			s := f.aBus("ok")
			s.Flags = 0
			f.do("make a bus", kc.MakeBus(f.control(), s))
			f.rootHas(s.Name, "control")
			f.dirHas(filepath.Join(f.root, s.Name), "bus")
		},
	},
	{
		Name: "bus-make-duplicate-name",
		Doc:  "There is one bus of a name: EEXIST, and the descriptor is as fresh as before (kdbus.bus(7), test-bus.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			fd := f.control()
			f.refused("make a bus of the same name", kc.MakeBus(fd, f.spec), unix.EEXIST)
			f.peer()
			f.do("make another by the same descriptor", kc.MakeBus(fd, f.aBus("second")))
			f.rootHas(f.bus.Name, f.aBus("second").Name, "control")
		},
	},
	{
		Name: "bus-make-same-fd-twice",
		Doc:  "A descriptor that owns a bus makes no other: EBADFD (test-bus.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			f.refused("make another bus", kc.MakeBus(f.bus.FD, f.aBus("second")), unix.EBADFD)
			f.rootHas(f.bus.Name, "control")
			f.peer()
		},
	},
	{
		Name: "bus-creator-info-name",
		Doc:  "BUS_CREATOR_INFO tells the name, the ID and the flags of the bus, and who made it (kdbus.bus(7), test-bus.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			r, err := p.Creator(kc.AttachAll)
			f.do("ask about the creator", err)
			want(f, "flags of the bus", r.Flags, kc.AccessWorld)
			if len(r.Items) == 0 || r.Items[0].Type != kc.ItemMakeName || r.Items[0].String() != f.bus.Name {
				t.Errorf("the first item is not the name %s: %v", f.bus.Name, r.Items)
			}
			want(f, "CREDS items", kc.Count(r.Items, kc.ItemCreds), 1)
			want(f, "PIDS items", kc.Count(r.Items, kc.ItemPIDs), 1)
			if r.ID == 0 || r.ID >= p.ID {
				t.Errorf("the bus has ID %d, a connection made after it %d", r.ID, p.ID)
			}
		},
	},
	{
		Name: "bus-creator-info-free",
		Doc:  "What BUS_CREATOR_INFO told is freed once (kdbus.pool(7), test-bus.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			cmd := kc.Encode(kc.InfoCmd{Attach: kc.AttachAll})
			f.do("ask about the creator", kc.Ioctl(p.FD, kc.BusCreatorInfo, cmd))
			offset := kc.Fixed[kc.InfoCmd](cmd).Offset
			f.do("free", p.Free(offset))
			f.refused("free again", p.Free(offset), unix.ENXIO)
		},
	},
}
