package kdbus

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

// about asks about a connection by its ID.
func (f *fixture) about(p, whom *peer, attach uint64) kc.Record {
	f.t.Helper()
	var r kc.Record
	f.do("ask about a connection", p.run(func() (err error) { r, err = p.Info(whom.ID, attach); return err }))
	want(f, "the ID told", r.ID, whom.ID)
	return r
}

// counts wants a record to have so many items of a type.
func (f *fixture) counts(r kc.Record, kind uint64, wanted int) {
	f.t.Helper()
	want(f, "items of type "+hex(kind), kc.Count(r.Items, kind), wanted)
}

// item reads the only item of a type as a T.
func item[T any](f *fixture, items []kc.Item, kind uint64) (v T) {
	f.t.Helper()
	want(f, "items of type "+hex(kind), kc.Count(items, kind), 1)
	i, ok := kc.Find(items, kind)
	if !ok {
		f.t.FailNow()
	}
	v, err := kc.As[T](i)
	f.do("read item "+hex(kind), err)
	return v
}

// credsOf are those of a process with one identity.
func credsOf(uid, gid uint64) kc.Creds {
	return kc.Creds{UID: uid, EUID: uid, SUID: uid, FSUID: uid, GID: gid, EGID: gid, SGID: gid, FSGID: gid}
}

// infoCases are about what a connection tells of another.
var infoCases = []suites.Case{
	{
		Name: "info-self-mask0",
		Doc:  "CONN_INFO without attach flags tells the ID and the flags of HELLO, and nothing more (kdbus.connection(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			r := f.about(p, p, 0)
			want(f, "flags", r.Flags, kc.AcceptFD)
			want(f, "items", len(r.Items), 0)
			want(f, "size", r.Size, 24)
		},
	},
	{
		Name: "info-name-item-too-short",
		Doc:  "A NAME item whose size cuts the string is EINVAL (test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			cmd := kc.Encode(kc.InfoCmd{}, kc.Name(nameA))
			cmd.Bytes()[56] = 17
			f.refused("ask", kc.Ioctl(p.FD, kc.ConnInfo, cmd), unix.EINVAL)
		},
	},
	{
		Name: "info-unknown-name",
		Doc:  "A name that nobody owns is ESRCH, an ID that nobody has ENXIO, neither of them EINVAL (kdbus.connection(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			_, err := p.InfoOf(nameA, kc.AttachAll)
			f.refused("ask about an unknown name", err, unix.ESRCH)
			_, err = p.Info(unknownID, kc.AttachAll)
			f.refused("ask about an unknown ID", err, unix.ENXIO)
			_, err = p.Info(0, kc.AttachAll)
			f.refused("ask about nobody", err, unix.EINVAL)
			_, err = p.Info(p.ID, kc.AttachAll+1)
			f.refused("ask for what does not exist", err, unix.EINVAL)
		},
	},
	{
		Name: "info-no-names",
		Doc:  "A connection without names has no OWNED_NAME, and its description if it is asked for (kdbus.connection(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			r := f.about(p, p, kc.AttachAll)
			f.counts(r, kc.ItemOwnedName, 0)
			f.counts(r, kc.ItemName, 0)
			f.counts(r, kc.ItemTimestamp, 0)
			i, _ := kc.Find(r.Items, kc.ItemDescription)
			want(f, "description", i.String(), description)
			f.counts(f.about(p, p, kc.AttachAll&^kc.AttachDescription), kc.ItemDescription, 0)
		},
	},
	{
		Name: "info-creds-exact",
		Doc:  "CREDS are the IDs of who connected, real, effective, saved and of the file system (kdbus.item(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			want(f, "CREDS", item[kc.Creds](f, f.about(p, p, kc.AttachCreds).Items, kc.ItemCreds), credsOf(0, 0))
			var odd *peer
			f.do("connect with odd IDs", onThread(func() (err error) {
				if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, 11, 12, 13); e != 0 {
					return e
				}
				if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, 21, 0, 23); e != 0 {
					return e
				}
				odd, err = f.tryPeer("bus", 0, 0)
				return err
			}))
			want(f, "odd CREDS", item[kc.Creds](f, f.about(p, odd, kc.AttachCreds).Items, kc.ItemCreds),
				kc.Creds{UID: 21, EUID: 0, SUID: 23, FSUID: 0, GID: 11, EGID: 12, SGID: 13, FSGID: 12})
		},
	},
	{
		Name: "info-pids-exact",
		Doc:  "PIDS are the process, the thread and the parent of who connected (kdbus.item(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			w := f.peer()
			f.do("connect on a thread", onThread(func() error {
				p := f.peer()
				want(f, "PIDS", item[kc.PIDs](f, f.about(w, p, kc.AttachPIDs).Items, kc.ItemPIDs),
					kc.PIDs{PID: uint64(os.Getpid()), TID: uint64(unix.Gettid()), PPID: uint64(os.Getppid())})
				return nil
			}))
		},
	},
	{
		Name: "info-caps-not-requested",
		Doc:  "CAPS are told if they are asked for, and not else (kdbus.connection(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			f.counts(f.about(p, p, kc.AttachAll&^kc.AttachCaps), kc.ItemCaps, 0)
			caps := item[kc.Caps](f, f.about(p, p, kc.AttachCaps).Items, kc.ItemCaps)
			if caps.Effective == [2]uint32{} || caps.Last < 36 || caps.Last > 63 {
				t.Errorf("CAPS of root are %+v", caps)
			}
			n := f.peerAs(nobody, nobody)
			want(f, "effective CAPS of nobody", item[kc.Caps](f, f.about(p, n, kc.AttachCaps).Items, kc.ItemCaps).Effective, [2]uint32{})
		},
	},
	{
		Name: "info-two-names",
		Doc:  "Each name a connection owns is told by an OWNED_NAME, in the order they were acquired (kdbus.item(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, w := f.peer(), f.peer()
			for n, name := range []string{nameB, nameA, nameC} {
				p.acquires(name, 0)
				r := f.about(w, p, kc.AttachNames)
				f.counts(r, kc.ItemOwnedName, n+1)
				_, got, err := r.Items[n].Owned()
				f.do("read OWNED_NAME", err)
				want(f, "the last name", got, name)
			}
			_, err := w.acquire(nameA, kc.NameQueue)
			f.do("queue", err)
			f.counts(f.about(p, w, kc.AttachNames), kc.ItemOwnedName, 0)
		},
	},
	{
		Name: "info-by-name",
		Doc:  "A connection is asked about by a name it owns; with an ID too, both must be its own: ESRCH (kdbus.connection(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p, w := f.peer(), f.peer()
			p.acquires(nameA, 0)
			r, err := w.InfoOf(nameA, kc.AttachNames)
			f.do("ask by name", err)
			want(f, "the ID told", r.ID, p.ID)
			f.counts(r, kc.ItemOwnedName, 1)
			ask := func(id uint64) error {
				cmd := kc.Encode(kc.InfoCmd{ID: id}, kc.Name(nameA))
				err := kc.Ioctl(w.FD, kc.ConnInfo, cmd)
				if err == nil {
					f.do("free", w.Free(kc.Fixed[kc.InfoCmd](cmd).Offset))
				}
				return err
			}
			f.do("ask by name and ID", ask(p.ID))
			f.refused("ask by name and another's ID", ask(w.ID), unix.ESRCH)
		},
	},
	{
		Name: "info-cached-when-unprivileged",
		Doc:  "What is told of a connection is what was true when it connected, whoever asks (test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			before := f.about(p, p, kc.AttachCreds|kc.AttachPIDs)
			f.do("ask as another user", as(nobody, nobody, func() error {
				r, err := p.Info(p.ID, kc.AttachCreds|kc.AttachPIDs)
				f.do("ask", err)
				want(f, "CREDS", item[kc.Creds](f, r.Items, kc.ItemCreds), item[kc.Creds](f, before.Items, kc.ItemCreds))
				want(f, "PIDS", item[kc.PIDs](f, r.Items, kc.ItemPIDs), item[kc.PIDs](f, before.Items, kc.ItemPIDs))
				r, err = p.Info(p.ID, kc.AttachCaps)
				f.do("ask", err)
				f.counts(r, kc.ItemCaps, 1)
				return nil
			}))
		},
	},
	{
		Name: "info-respects-send-mask",
		Doc:  "CONN_INFO tells what the other lets be told only: at HELLO, and by UPDATE (kdbus.connection(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			w, p := f.peer(), f.peer(attach(kc.AttachCreds|kc.AttachPIDs, kc.AttachAll))
			want(f, "items told", len(f.about(w, p, kc.AttachAll).Items), 2)
			f.do("update", p.Update(kc.Words(kc.ItemAttachSend, 0)))
			want(f, "items told", len(f.about(w, p, kc.AttachAll).Items), 0)
			f.do("update", p.Update(kc.Words(kc.ItemAttachSend, kc.AttachAny)))
			f.counts(f.about(w, p, kc.AttachAll), kc.ItemDescription, 1)
		},
	},
	{
		Name: "meta-info-is-hello-time",
		Doc:  "CONN_INFO tells who connected, a message who sent it (kdbus.item(7)).",
		Run: func(t *suites.T) {
			f := newBus(t)
			w := f.peer()
			f.do("change after HELLO", onThread(func() error {
				p := f.peer()
				f.do("rename the thread", renameThread("renamed"))
				if err := setIdentity(nobody, nobody, nil); err != nil {
					return err
				}
				if err := p.Send(to(w, 1)); err != nil {
					return err
				}
				want(f, "CREDS told", item[kc.Creds](f, f.about(w, p, kc.AttachCreds).Items, kc.ItemCreds), credsOf(0, 0))
				m := w.gets("the message", 1)
				want(f, "CREDS of the message", item[kc.Creds](f, m.Items, kc.ItemCreds), credsOf(nobody, nobody))
				i, _ := kc.Find(m.Items, kc.ItemTIDComm)
				want(f, "TID_COMM of the message", i.String(), "renamed")
				i, _ = kc.Find(f.about(w, p, kc.AttachAll).Items, kc.ItemTIDComm)
				if i.String() == "renamed" {
					t.Error("CONN_INFO tells the new name of the thread")
				}
				return nil
			}))
		},
	},
	{
		Name: "creator-info-masked",
		Doc:  "BUS_CREATOR_INFO tells what BUS_MAKE allowed only (kdbus.bus(7)).",
		Run: func(t *suites.T) {
			f := newBus(t, func(s *kc.BusSpec) { s.Attach = 0 })
			p := f.peer()
			r, err := p.Creator(kc.AttachAll)
			f.do("ask about the creator", err)
			want(f, "items told", len(r.Items), 1)
			_, err = p.Creator(kc.AttachAll + 1)
			f.refused("ask for what does not exist", err, unix.EINVAL)
		},
	},
	{
		Name: "update-recv-mask",
		Doc:  "What a connection wants of messages can be changed, for those that come later (kdbus.connection(7), test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			a, p := f.peer(), f.peer()
			a.sends(to(p, 1))
			f.do("update", p.Update(kc.Words(kc.ItemAttachRecv, kc.AttachAll&^kc.AttachTimestamp)))
			a.sends(to(p, 2))
			f.has("sent before", p.gets("sent before", 1), kc.ItemTimestamp, 1)
			m := p.gets("sent after", 2)
			f.has("sent after", m, kc.ItemTimestamp, 0)
			f.has("sent after", m, kc.ItemCreds, 1)
		},
	},
	{
		Name: "update-bad-mask",
		Doc:  "An attach flag that does not exist is EINVAL, and nothing is changed (test-connection.c).",
		Run: func(t *suites.T) {
			f := newBus(t)
			p := f.peer()
			f.refused("update", p.Update(kc.Words(kc.ItemAttachRecv, 0), kc.Words(kc.ItemAttachSend, kc.AttachAll+1)), unix.EINVAL)
			f.refused("update", p.Update(kc.Words(kc.ItemAttachSend, 0), kc.Words(kc.ItemAttachRecv, 1<<62)), unix.EINVAL)
			p.sends(to(p, 1))
			f.has("after a refusal", p.gets("after a refusal", 1), kc.ItemCreds, 1)
			f.counts(f.about(p, p, kc.AttachAll), kc.ItemCreds, 1)
		},
	},
}

// renameThread gives the calling thread, which the caller is locked to, a name.
func renameThread(name string) error {
	return os.WriteFile("/proc/thread-self/comm", []byte(name), 0)
}
