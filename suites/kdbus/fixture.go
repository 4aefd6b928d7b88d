package kdbus

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	kc "github.com/kernel-playground/kplay/suites/kdbus/kdbusclient"
)

// bloomSize is the size of the filters of a case's bus, in bytes.
const bloomSize = 64

// A fixture is a domain of its own with a bus, and the connections to it. When
// the case has ended it is taken down with looks at what must hold of any: see
// finish.
type fixture struct {
	t     *suites.T
	root  string // where the domain is mounted
	bus   *kc.Bus
	spec  kc.BusSpec
	peers []*peer
	fds   int          // how many descriptors were open at the start
	owned map[int]bool // descriptors to be closed with the case

	remotes []*remote
}

// newDomain mounts a domain without a bus. Cases on a kernel without kdbus are
// skipped there.
func newDomain(t *suites.T) *fixture {
	t.Helper()
	needFinal(t)
	f := &fixture{t: t, root: t.TempDir(), fds: openFiles(t), owned: make(map[int]bool)}
	f.do("open the way to the domain", errors.Join(os.Chmod(t.Dir(), 0o755), os.Chmod(f.root, 0o755)))
	f.do("mount a domain", kc.Mount(f.root))
	t.Cleanup(f.finish)
	return f
}

// newBus mounts a domain and makes a bus that everybody may connect to, like the
// one of the original selftests.
func newBus(t *suites.T, change ...func(*kc.BusSpec)) *fixture {
	t.Helper()
	f := newDomain(t)
	f.spec = f.aBus("kplay")
	for _, c := range change {
		c(&f.spec)
	}
	var err error
	f.bus, err = kc.NewBus(f.root, f.spec)
	f.do("make a bus", err)
	return f
}

// aBus describes a bus of the usual kind; its name is prefixed with the user ID.
func (f *fixture) aBus(name string) kc.BusSpec {
	return kc.BusSpec{
		Name: fmt.Sprintf("%d-%s", os.Geteuid(), name), Flags: kc.AccessWorld,
		Bloom: kc.BloomParameter{Size: bloomSize, Hashes: 1}, Attach: kc.AttachAll,
	}
}

// do ends the case if a step of it that must succeed did not.
func (f *fixture) do(what string, err error) {
	if err != nil {
		f.t.Helper()
		f.t.Fatalf("%s: %s", what, said(err))
	}
}

// refused wants a call to have failed with one of the errors.
func (f *fixture) refused(what string, err error, want ...unix.Errno) {
	f.t.Helper()
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	f.t.Errorf("%s: %s, want %s", what, said(err), names(want))
}

// said names an error as errno(3) does.
func said(err error) string {
	var e unix.Errno
	switch {
	case err == nil:
		return "success"
	case errors.As(err, &e) && unix.ErrnoName(e) != "":
		return unix.ErrnoName(e)
	}
	return err.Error()
}

func names(all []unix.Errno) string {
	var s []string
	for _, e := range all {
		s = append(s, said(e))
	}
	return strings.Join(s, " or ")
}

// want wants two values to be equal.
func want[V comparable](f *fixture, what string, got, want V) {
	if got != want {
		f.t.Helper()
		f.t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// control opens the domain's control file; it is closed with the case.
func (f *fixture) control() int {
	f.t.Helper()
	return f.open("control")
}

// endpoint opens an endpoint of the bus; it is closed with the case.
func (f *fixture) endpoint() int {
	f.t.Helper()
	return f.open(f.bus.Name + "/bus")
}

// open opens a node of the domain; it is closed with the case, if not before.
func (f *fixture) open(name string) int {
	f.t.Helper()
	fd, err := kc.Open(filepath.Join(f.root, name))
	f.do("open "+name, err)
	return f.own(fd)
}

// own has a descriptor closed with the case, if shut does not before.
func (f *fixture) own(fd int) int {
	f.owned[fd] = true
	return fd
}

// shut closes a descriptor of own.
func (f *fixture) shut(fds ...int) {
	for _, fd := range fds {
		delete(f.owned, fd)
		unix.Close(fd)
	}
}

// finish closes what the case left open and looks at what must hold of any case:
// queues are empty, a pool can be filled from end to end, nobody is left on the
// bus, the bus ends with its descriptor, the domain can be unmounted, and no
// descriptor is left. After a failure it only cleans up.
func (f *fixture) finish() {
	for _, r := range f.remotes {
		r.kill()
	}
	for _, p := range f.peers {
		if !p.closed {
			p.checkEmpty()
		}
	}
	for _, p := range f.peers {
		if !p.closed {
			p.close()
		}
	}
	f.shut(slices.Collect(maps.Keys(f.owned))...)
	if f.bus != nil {
		f.checkBus()
	}
	if f.t.Failed() || f.t.Skipped() {
		unix.Unmount(f.root, unix.MNT_DETACH)
		return
	}
	if err := unix.Unmount(f.root, 0); err != nil {
		f.t.Errorf("unmount the domain: %s: something holds a file of it", said(err))
		unix.Unmount(f.root, unix.MNT_DETACH)
	}
	if n := openFiles(f.t); n > f.fds {
		f.t.Errorf("%d descriptors are open, %d were before: %s", n, f.fds, openNames())
	}
}

// checkBus ends the bus, having looked that nobody is on it.
func (f *fixture) checkBus() {
	defer func() {
		if f.bus != nil {
			f.bus.Close()
			f.bus = nil
		}
	}()
	if f.t.Failed() {
		return
	}
	w, err := kc.Dial(f.bus.Path("bus"), kc.Options{PoolSize: 1 << 16})
	if errors.Is(err, unix.ENOENT) {
		return // the case has ended the bus
	}
	f.do("connect to look at the bus", err)
	defer w.Close()
	all, err := w.List(kc.ListAll)
	f.do("list", err)
	for _, r := range all {
		if r.ID != w.ID {
			f.t.Errorf("connection %d is left on the bus: %v", r.ID, r)
		}
	}
	dir := f.bus.Dir
	f.do("close the bus", f.bus.Close())
	f.bus = nil
	_, err = os.Stat(dir)
	f.refused("look for the bus that was closed", err, unix.ENOENT)
	f.refused("free on a bus that was closed", w.Free(w.Pool.Size()), unix.ECONNRESET)
	got, err := w.Poll(unix.POLLIN|unix.POLLOUT, 0)
	f.do("poll", err)
	want(f, "poll on a bus that was closed", got, unix.POLLERR|unix.POLLHUP)
}

// openFiles counts the descriptors of this process, those that the Go runtime opens
// with the first file included.
func openFiles(t *suites.T) int {
	t.Helper()
	if _, err := os.ReadFile("/proc/self/stat"); err != nil {
		t.Fatalf("read a file: %v", err)
	}
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatalf("count descriptors: %v", err)
	}
	return len(all)
}

func openNames() string {
	var out []string
	all, _ := os.ReadDir("/proc/self/fd")
	for _, e := range all {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		out = append(out, e.Name()+" "+to)
	}
	return strings.Join(out, ", ")
}
