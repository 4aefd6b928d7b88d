package overlayfs

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// A task says with whose rights something is done. The zero value is root with
// all capabilities and no supplementary group.
type task struct {
	uid, gid int
	groups   []int
	without  []int // capabilities that are dropped
	with     []int // all capabilities that another user than root has
	real     bool  // uid is the real user alone, and the effective one stays root
	fsuid    bool  // uid is the user for the file system alone (setfsuid(2))
}

// run calls f in a thread that has the task's rights and ends with f. f must not
// call a method of T that ends the case.
func (k task) run(f func() error) error {
	return onThread(func() error {
		if err := k.become(); err != nil {
			return err
		}
		return f()
	})
}

// become uses raw system calls, which change the rights of one thread only.
func (k task) become() error {
	if err := setGroups(k.groups); err != nil {
		return err
	}
	if len(k.with) > 0 {
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return err
		}
	}
	const stay = ^uintptr(0)
	gid, uid := uintptr(k.gid), uintptr(k.uid)
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); e != 0 {
		return e
	}
	var e unix.Errno
	switch {
	case k.fsuid:
		// It returns the user that was, never an error.
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uid, 0, 0)
	case k.real:
		_, _, e = unix.RawSyscall(unix.SYS_SETRESUID, uid, stay, stay)
	default:
		_, _, e = unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid)
	}
	if e != 0 {
		return e
	}
	return k.limit()
}

// limit drops capabilities, or leaves but some.
func (k task) limit() error {
	if len(k.without) == 0 && len(k.with) == 0 {
		return nil
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&head, &data[0]); err != nil {
		return err
	}
	var keep [2]uint32
	for _, c := range k.with {
		keep[c/32] |= 1 << (c % 32)
	}
	if len(k.with) == 0 {
		keep = [2]uint32{^uint32(0), ^uint32(0)}
	}
	for _, c := range k.without {
		keep[c/32] &^= 1 << (c % 32)
	}
	for i := range data {
		data[i].Permitted &= keep[i]
		data[i].Effective = data[i].Permitted
	}
	return unix.Capset(&head, &data[0])
}

func setGroups(groups []int) error {
	ids := make([]uint32, len(groups)+1) // one more, to have an address
	for i, g := range groups {
		ids[i] = uint32(g)
	}
	_, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(&ids[0])), 0)
	return errnoOr(e)
}
