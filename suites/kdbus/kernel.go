package kdbus

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// A dialect is one of the interfaces kdbus had, which share no number.
type dialect string

// The dialects.
const (
	none         dialect = "no kdbus"
	charDevice   dialect = "the character devices of July 2014"
	intermediate dialect = "a number set between November 2014 and February 2015"
	final        dialect = "the final number set"
)

// charControl is the control file of the character devices.
const charControl = "/dev/kdbus/control"

// spoken finds out what this kernel speaks: by what it shows, then by asking.
func spoken(t *suites.T) dialect {
	t.Helper()
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatalf("read the known file systems: %v", err)
	}
	if !slices.Contains(strings.Fields(string(known)), kc.FSType) {
		if st, err := os.Stat(charControl); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			return charDevice
		}
		if _, err := os.Stat("/sys/bus/kdbus"); err == nil {
			return charDevice
		}
		return none
	}
	root := t.TempDir()
	if err := kc.Mount(root); err != nil {
		t.Fatalf("mount a domain to ask what it speaks: %v", err)
	}
	defer unix.Unmount(root, 0)
	fd, err := kc.Open(root + "/control")
	if err != nil {
		t.Fatalf("open control to ask what it speaks: %v", err)
	}
	defer unix.Close(fd)
	ask := kc.Encode(kc.Cmd{Flags: kc.Negotiate})
	if kc.Ioctl(fd, kc.BusMake, ask) == nil && kc.Fixed[kc.Cmd](ask).Flags == kc.AccessGroup|kc.AccessWorld {
		return final
	}
	return intermediate
}

// ours is what was found, for all cases of this process.
var ours dialect

// needFinal skips a case on a kernel that does not speak what it is written in.
func needFinal(t *suites.T) {
	t.Helper()
	if ours == "" || ours == none {
		ours = spoken(t)
	}
	switch ours {
	case final:
	case none:
		t.Skip("this kernel has no kdbus: it is an out-of-tree module, given by --feature kdbus")
	default:
		t.Skipf("this kernel's kdbus speaks %s", ours)
	}
}

// A variant is what kernels of the final number set differ in.
type variant struct {
	newFlags  bool // PRIMARY and ACQUIRED are told, since 2015-08-24
	dstID     bool // DST_ID is a match rule, since 2015-07-14
	manyMatch bool // 4096 match entries instead of 256, since 2015-09-01
}

// ourVariant is what was found, for all cases of this process.
var ourVariant *variant

// variant asks, once, on a domain of its own.
func (f *fixture) variant() variant {
	f.t.Helper()
	if ourVariant != nil {
		return *ourVariant
	}
	root := f.t.TempDir()
	f.do("mount a domain to ask", kc.Mount(root))
	defer unix.Unmount(root, 0)
	bus, err := kc.NewBus(root, f.aBus("ask"))
	f.do("make a bus to ask", err)
	defer bus.Close()
	c, err := kc.Dial(bus.Path("bus"), kc.Options{PoolSize: smallPool})
	f.do("connect to ask", err)
	defer c.Close()
	told, err := c.Acquire("org.kplay.ask", 0)
	f.do("acquire a name to ask", err)
	v := variant{newFlags: told&kc.NamePrimary != 0}
	ask := kc.Encode(kc.MatchCmd{Cmd: kc.Cmd{Flags: kc.Negotiate}}, kc.Words(kc.ItemNegotiate, kc.ItemDstID))
	f.do("negotiate", kc.Ioctl(c.FD, kc.MatchAdd, ask))
	v.dstID = ask.Items(32)[0].Longs()[0] == kc.ItemDstID
	for n := uint64(0); n <= kc.MaxMatches; n++ {
		err = c.Match(n, 0, kc.OfID(kc.ItemID, n))
	}
	v.manyMatch = err == nil
	f.t.Logf("this kernel's kdbus: %+v", v)
	ourVariant = &v
	return v
}

func (f *fixture) newFlags() bool { return f.variant().newFlags }

// nobody is a user without privileges, and a group; other is another. They are
// those of the original selftests.
const (
	nobody = 65534
	other  = 65533
)

// as calls f on a thread of its own that has the identity of another user and no
// groups but those given, and that ends with f.
func as(uid, gid int, f func() error, groups ...uint32) error {
	return onThread(func() error {
		if err := setIdentity(uid, gid, groups); err != nil {
			return err
		}
		return f()
	})
}

func setIdentity(uid, gid int, groups []uint32) error {
	var at unsafe.Pointer
	if len(groups) > 0 {
		at = unsafe.Pointer(&groups[0])
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(at), 0); e != 0 {
		return e
	}
	return setIDs(uid, gid)
}

func setIDs(uid, gid int) error {
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); e != 0 {
		return e
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
		return e
	}
	return nil
}

// errAbandoned says that what ran on a thread ended it early, as Fatal does.
var errAbandoned = errors.New("the step did not come to its end")

// onThread calls f on a thread of its own, which ends with f.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread must not run anything else.
		runtime.LockOSThread()
		err := errAbandoned
		defer func() { done <- err }()
		err = f()
	}()
	return <-done
}

// sleeps waits until a thread of this process sleeps, or is gone (proc(5), stat).
func (f *fixture) sleeps(tid int) {
	f.t.Helper()
	for {
		text, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/stat", tid))
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			return
		}
		f.do("look at a thread", err)
		if _, after, ok := strings.Cut(string(text), ") "); ok && strings.HasPrefix(after, "S") {
			return
		}
		runtime.Gosched()
	}
}

// meminfo reads a line of /proc/meminfo, in KiB.
func meminfo(key string) (kib int, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	_, after, ok := strings.Cut(string(text), key)
	if !ok {
		return 0, fmt.Errorf("/proc/meminfo has no %s", key)
	}
	_, err = fmt.Sscan(after, &kib)
	return kib, err
}
