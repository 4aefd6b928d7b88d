package kdbus

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// userNamespace has a process be root of a user namespace in which only nobody is
// mapped, and, with flags, of other namespaces.
func userNamespace(flags uintptr) *syscall.SysProcAttr {
	one := []syscall.SysProcIDMap{{ContainerID: 0, HostID: nobody, Size: 1}}
	return &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | flags, UidMappings: one, GidMappings: one,
		Credential: &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true},
	}
}

// as another user, a process.
func asUser(id uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
}

// connect has a remote connect to the default endpoint and returns its ID.
func (f *fixture) connect(r *remote) uint64 {
	f.t.Helper()
	return r.number("dial", f.bus.Path("bus"), kc.AcceptFD, kc.AttachAll, kc.AttachAll)
}

// metadataTypes are the types of metadata in the order they come in.
var metadataTypes = []uint64{
	kc.ItemCreds, kc.ItemPIDs, kc.ItemAuxGroups, kc.ItemTIDComm, kc.ItemPIDComm, kc.ItemExe, kc.ItemCmdline,
	kc.ItemCgroup, kc.ItemCaps, kc.ItemSeclabel, kc.ItemAudit, kc.ItemOwnedName, kc.ItemDescription, kc.ItemTimestamp,
}

// optional is metadata that a kernel may lack the source of.
var optional = []uint64{kc.ItemCgroup, kc.ItemSeclabel, kc.ItemAudit}

// types are the types of a message's metadata, in order and each once.
func types(items []kc.Item) (all []uint64) {
	for _, i := range items {
		if i.Type >= kc.ItemTimestamp && i.Type <= kc.ItemDescription && !slices.Contains(all, i.Type) {
			all = append(all, i.Type)
		}
	}
	return all
}

var metadataCases = []suites.Case{
	{
		Name: "meta-recv-mask-each-bit",
		Doc:  "A receiver gets the metadata it asks for, kind by kind, and no other (kdbus.item(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.acquires(nameA, 0)
			for bit := range 14 {
				kind := kc.ItemTimestamp + uint64(bit)
				f.do("update", p.Update(kc.Words(kc.ItemAttachRecv, 1<<bit)))
				a.sends(to(p, 1))
				got := types(p.gets("a message", 1).Items)
				switch {
				case len(got) == 0 && slices.Contains(optional, kind):
					t.Logf("this kernel has no source of item %#x", kind)
				case len(got) == 0 && kind == kc.ItemAuxGroups:
					t.Log("without groups there is no AUXGROUPS")
				case len(got) != 1 || got[0] != kind:
					t.Errorf("with attach flag %#x come items %#x", 1<<bit, got)
				}
			}
		},
	},
	{
		Name: "meta-order",
		Doc:  "Metadata comes in one order (metadata.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.acquires(nameA, 0)
			a.sends(to(p, 1))
			var places []int
			for _, kind := range types(p.gets("a message", 1).Items) {
				places = append(places, slices.Index(metadataTypes, kind))
			}
			if !slices.IsSorted(places) || len(places) < 9 {
				t.Errorf("metadata comes in the order %v of %#x", places, metadataTypes)
			}
		},
	},
	{
		Name: "meta-content",
		Doc:  "CREDS, PIDS, the names of thread and process, EXE and CMDLINE are those of who sends (kdbus.item(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.acquires(nameA, 0)
			var m *kc.Message
			f.do("send from a thread", onThread(func() error {
				if err := renameThread("a-thread"); err != nil {
					return err
				}
				a.sends(to(p, 1))
				m = p.gets("the message", 1)
				want(f, "CREDS", item[kc.Creds](f, m.Items, kc.ItemCreds), credsOf(0, 0))
				want(f, "PIDS", item[kc.PIDs](f, m.Items, kc.ItemPIDs),
					kc.PIDs{PID: uint64(os.Getpid()), TID: uint64(unix.Gettid()), PPID: uint64(os.Getppid())})
				return nil
			}))
			comm, err := os.ReadFile("/proc/self/comm")
			f.do("read one's own name", err)
			exe, err := os.Readlink("/proc/self/exe")
			f.do("read one's own program", err)
			for kind, text := range map[uint64]string{
				kc.ItemTIDComm: "a-thread", kc.ItemPIDComm: strings.TrimSpace(string(comm)), kc.ItemExe: exe,
				kc.ItemCmdline: os.Args[0], kc.ItemDescription: description,
			} {
				f.has("the message", m, kind, 1)
				i, _ := kc.Find(m.Items, kind)
				want(f, "item "+hex(kind), i.String(), text)
				want(f, "NULs of item "+hex(kind), strings.Count(string(i.Data), "\x00"), 1)
			}
			i, _ := kc.Find(m.Items, kc.ItemOwnedName)
			_, name, err := i.Owned()
			f.do("read OWNED_NAME", err)
			want(f, "OWNED_NAME", name, nameA)
		},
	},
	{
		Name: "meta-implicit-cannot-hide",
		Doc:  "CREDS, PIDS, groups, names, description and time of a message cannot be withheld; the rest cannot from who sees it in /proc (metadata.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(attach(0, kc.AttachAll)), f.peer()
			a.acquires(nameA, 0)
			a.sends(to(p, 1))
			got := types(p.gets("the message", 1).Items)
			for _, kind := range []uint64{kc.ItemCreds, kc.ItemPIDs, kc.ItemOwnedName, kc.ItemDescription, kc.ItemTimestamp, kc.ItemTIDComm, kc.ItemPIDComm, kc.ItemCaps} {
				if !slices.Contains(got, kind) {
					t.Errorf("item %#x was withheld: %#x", kind, got)
				}
			}
		},
	},
	{
		Name: "meta-seqnum-monotonic",
		Doc:  "Messages of a bus are numbered in a row, a broadcast with one number for all; the times are those of now (kdbus.item(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p, q := f.peer(), f.peer(), f.peer()
			p.anyMatch()
			q.anyMatch()
			var last uint64
			for cookie := uint64(1); cookie <= 10; cookie++ {
				before := kc.Deadline(0)
				a.signals(cookie)
				after := kc.Deadline(0)
				at, bt := f.timestamp(p.gets("a broadcast", cookie)), f.timestamp(q.gets("a broadcast", cookie))
				want(f, "times of one broadcast", at, bt)
				if at.Seqnum <= last {
					t.Errorf("number %d comes after %d", at.Seqnum, last)
				}
				if at.MonotonicNS < before || at.MonotonicNS > after || at.RealtimeNS == 0 {
					t.Errorf("a message sent between %d and %d has time %d", before, after, at.MonotonicNS)
				}
				last = at.Seqnum
			}
		},
	},
	{
		Name: "meta-kernel-timestamp-always",
		Doc:  "Notifications have the time, whether it is wanted or not, and no other metadata (notify.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer(attach(0, 0))
			p.matches(1)
			p.acquires(nameA, 0)
			m, _ := p.notifies("a name", kc.ItemNameAdd)
			want(f, "metadata", fmt.Sprint(types(m.Items)), fmt.Sprint([]uint64{kc.ItemTimestamp}))
		},
	},
	{
		Name: "meta-fake-creds",
		Doc:  "A privileged connection may show other credentials by CONN_INFO; its messages then have none of its process (kdbus.connection(7), metadata.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			w := f.peer()
			p := f.peer(with(kc.Words(kc.ItemCreds, 1, 2, 3, 4, 5, 6, 7, 8), kc.Words(kc.ItemPIDs, 1, 1, 0), kc.Text(kc.ItemSeclabel, "fake")))
			r := f.about(w, p, kc.AttachAll)
			want(f, "CREDS told", item[kc.Creds](f, r.Items, kc.ItemCreds), kc.Creds{UID: 1, EUID: 2, SUID: 3, FSUID: 4, GID: 5, EGID: 6, SGID: 7, FSGID: 8})
			want(f, "PIDS told", item[kc.PIDs](f, r.Items, kc.ItemPIDs), kc.PIDs{PID: 1, TID: 1})
			if i, ok := kc.Find(r.Items, kc.ItemSeclabel); ok {
				want(f, "SECLABEL told", i.String(), "fake")
			} else {
				t.Log("this kernel tells no SECLABEL")
			}
			f.counts(r, kc.ItemPIDComm, 0)
			p.sends(to(w, 1))
			got := types(w.gets("a message", 1).Items)
			want(f, "metadata of its message", fmt.Sprint(got), fmt.Sprint([]uint64{kc.ItemDescription, kc.ItemTimestamp}))
		},
	},
	{
		Name: "meta-fake-unprivileged",
		Doc:  "Only the bus's owner shows other credentials: EPERM (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			w := f.peer()
			for _, i := range []kc.Item{
				kc.Words(kc.ItemCreds, 1, 1, 1, 1, 1, 1, 1, 1), kc.Words(kc.ItemPIDs, 1, 1, 1), kc.Text(kc.ItemSeclabel, "fake"),
			} {
				_, err := f.tryPeer("bus", nobody, nobody, with(i))
				f.refused("connect with item "+hex(i.Type), err, unix.EPERM)
			}
			want(f, "connections", f.unique(w), 1)
		},
	},
	{
		Name: "meta-fake-invalid-pid",
		Doc:  "A process that does not exist is nobody to be: EINVAL (metadata.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			_, err := f.tryPeer("bus", 0, 0, with(kc.Words(kc.ItemPIDs, 1<<22+5, 1<<22+5, 1)))
			f.refused("connect", err, unix.EINVAL)
		},
	},
	{
		Name: "meta-auxgroups-u64",
		Doc:  "AUXGROUPS has each supplementary group, in 64 bits (kdbus.item(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			f.do("send with groups", as(nobody, nobody, func() error { return a.Send(to(p, 1)) }, 7, 1000, 70000))
			i, _ := kc.Find(p.gets("the message", 1).Items, kc.ItemAuxGroups)
			want(f, "AUXGROUPS", fmt.Sprint(i.Longs()), "[7 1000 70000]")
		},
	},
	{
		Name: "meta-many-groups",
		Doc:  "Groups that do not fit into a pool keep a message from being delivered, cleanly (metadata.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, a := f.peer(), f.peer()
			groups := make([]uint32, 65536)
			for i := range groups {
				groups[i] = uint32(i)
			}
			err := as(nobody, nobody, func() error { return a.Send(to(p, 1)) }, groups...)
			if err == nil {
				p.gets("the message", 1)
				return
			}
			f.refused("send with 65536 groups", err, unix.ENOBUFS, unix.EXFULL, unix.ENOMEM, unix.EMSGSIZE)
			p.nothing("after the refusal")
		},
	},
	{
		Name: "meta-names-after-change",
		Doc:  "A message has the names its sender has when it sends (kdbus.item(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.sends(to(p, 0))
			a.acquires(nameA, 0)
			a.sends(to(p, 1))
			a.acquires(nameB, 0)
			a.sends(to(p, 2))
			a.releases(nameA)
			a.sends(to(p, 3))
			for cookie, names := range [][]string{nil, {nameA}, {nameA, nameB}, {nameB}} {
				var got []string
				for _, i := range p.gets("a message", uint64(cookie)).Items {
					if _, name, err := i.Owned(); i.Type == kc.ItemOwnedName && err == nil {
						got = append(got, name)
					}
				}
				want(f, "names of the sender", fmt.Sprint(got), fmt.Sprint(names))
			}
		},
	},
}
