package kdbus

import (
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// namespaceCases are about what crosses namespaces.
var namespaceCases = []suites.Case{
	{
		Name: "meta-unpriv-to-priv",
		Doc:  "A message has the credentials and the process of who sends it (test-metadata-ns.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer(with())
			f.talkable(p, nameA)
			r := f.start(asUser(nobody))
			f.connect(r)
			r.does("send", p.ID, 1)
			m := p.gets("the message", 1)
			want(f, "CREDS", item[kc.Creds](f, m.Items, kc.ItemCreds), credsOf(nobody, nobody))
			got := item[kc.PIDs](f, m.Items, kc.ItemPIDs)
			want(f, "PID", got.PID, uint64(r.cmd.Process.Pid))
			want(f, "parent's PID", got.PPID, uint64(os.Getpid()))
		},
	},
	{
		Name: "meta-userns-to-priv",
		Doc:  "What comes out of a user namespace has the IDs that the receiver knows them by (test-metadata-ns.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			f.talkable(p, nameA)
			r := f.start(userNamespace(unix.CLONE_NEWPID))
			f.connect(r)
			r.does("name", nameA, 1)
			m := p.gets("the message", 1)
			want(f, "CREDS", item[kc.Creds](f, m.Items, kc.ItemCreds), credsOf(nobody, nobody))
			f.has("the message", m, kc.ItemCaps, 1)
			got := item[kc.PIDs](f, m.Items, kc.ItemPIDs)
			want(f, "PID", got.PID, uint64(r.cmd.Process.Pid))
			want(f, "parent's PID", got.PPID, uint64(os.Getpid()))
		},
	},
	{
		Name: "meta-priv-to-userns",
		Doc:  "What comes into user and PID namespaces from outside has the overflow ID and no PID (test-metadata-ns.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, m := f.peer(), f.peer(monitor)
			f.talkable(p, nameA)
			r := f.start(userNamespace(unix.CLONE_NEWPID))
			id := f.connect(r)
			r.does("match")
			p.sends(toID(id, 1))
			p.signals(2)
			for cookie := uint64(1); cookie <= 2; cookie++ {
				s := r.sees()
				want(f, "cookie", s.Cookie, cookie)
				want(f, "CREDS", s.Creds, credsOf(65534, 65534))
				want(f, "PIDS", s.PIDs, kc.PIDs{})
				if !slices.Contains(s.Types, kc.ItemCaps) {
					t.Errorf("a message into the namespace has items %#x, want CAPS", s.Types)
				}
			}
			r.does("name", nameA, 3)
			p.gets("out of the namespace", 3)
			for range 20 {
				got, err := m.Recv(0, 0)
				if err != nil {
					break
				}
				if got.SrcID == kc.SrcKernel {
					continue
				}
				if pids := item[kc.PIDs](f, got.Items, kc.ItemPIDs); pids.PID == 0 || pids.TID == 0 {
					t.Errorf("message %d is seen by the monitor with PIDS %v", got.Cookie, pids)
				}
			}
		},
	},
	{
		Name: "ns-userns-not-root",
		Doc:  "Root of a user namespace is not root of the bus: a policy for root is not for it (kdbus.policy(7), test-policy-ns.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			f.peer(holder(nameA, user(kc.PolicyOwn, 0)))
			p.acquires(nameA, 0)
			r := f.start(userNamespace(0))
			f.connect(r)
			_, err := r.ask("name", nameA, 1)
			f.refused("send by name", err, unix.EPERM)
			_, err = r.ask("send", p.ID, 1)
			f.refused("send by ID", err, unix.EPERM)
			_, err = r.ask("acquire", nameB, 0)
			f.refused("acquire", err, unix.EPERM)
			p.nothing("after the refusals")
		},
	},
	{
		Name: "meta-chroot-exe",
		Doc:  "EXE is told to who has the same root only (kdbus.item(7), metadata.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			r := f.start(nil)
			f.connect(r)
			r.does("send", p.ID, 1)
			f.has("of the same root", p.gets("of the same root", 1), kc.ItemExe, 1)
			r.does("chroot", t.TempDir())
			r.does("send", p.ID, 2)
			m := p.gets("of another root", 2)
			f.has("of another root", m, kc.ItemExe, 0)
			f.has("of another root", m, kc.ItemPIDComm, 1)
		},
	},
	{
		Name: "creator-info-after-creator-exits",
		Doc:  "BUS_CREATOR_INFO tells of who made the bus when that is gone, too (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newDomain(t)
			f.spec = f.aBus("orphan")
			fd := f.control()
			f.do("make the bus as another user", as(0, 77, func() error { return kc.MakeBus(fd, f.spec) }))
			f.bus = &kc.Bus{FD: fd, Dir: f.root + "/" + f.spec.Name, Name: f.spec.Name}
			delete(f.owned, fd)
			r, err := f.peer().Creator(kc.AttachAll)
			f.do("ask about the creator", err)
			want(f, "CREDS told", item[kc.Creds](f, r.Items, kc.ItemCreds), credsOf(0, 77))
		},
	},
	{
		Name: "policy-unmapped-id",
		Doc:  "A policy cannot be for an ID that its maker's user namespace does not have: EINVAL (policy.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			h := f.peer(holder(nameA))
			r := f.start(userNamespace(0), h.FD)
			r.does("adopt", 3, smallPool)
			_, err := r.ask("policy", nameA, 5)
			f.refused("update with an unmapped ID", err, unix.EINVAL)
			r.does("policy", nameA, 0)
			f.peerAs(nobody, nobody).acquires(nameA, 0)
		},
	},
}
