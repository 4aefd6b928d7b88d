package overlayfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A fanMark is a way to be told of what happens to a file (fanotify_mark(2)).
type fanMark struct {
	name, doc string
	flags     uint
	on        string // the name that is marked
}

var fanMarks = []fanMark{
	{"inode", "the file", 0, "d/a"},
	{"directory", "its directory, for what happens to children", 0, "d"},
	{"mount", "the overlay's mount", unix.FAN_MARK_MOUNT, "."},
	{"file-system", "the overlay's file system", unix.FAN_MARK_FILESYSTEM, "."},
}

// fanTexts names the events in the order of their bits.
var fanTexts = []struct {
	mask uint64
	name string
}{
	{unix.FAN_MODIFY, "modify"}, {unix.FAN_ATTRIB, "attrib"}, {unix.FAN_CLOSE_WRITE, "close-write"}, {unix.FAN_OPEN, "open"},
	{unix.FAN_CREATE, "create"}, {unix.FAN_DELETE, "delete"}, {unix.FAN_MOVED_FROM, "moved-from"}, {unix.FAN_MOVED_TO, "moved-to"},
}

func notifyCases() (cases []suites.Case) {
	for _, m := range fanMarks {
		cases = append(cases, suites.Case{
			Name: "fanotify-" + m.name,
			Doc:  "A mark on " + m.doc + " tells of each change to a lower file, before and after it is copied up and the caches are dropped, and gives a descriptor by the name in the overlay (fanotify(7)).",
			Run:  m.run,
		})
	}
	return append(cases, notifyCasesApart...)
}

func (m fanMark) run(t *suites.T) {
	o := newOverlay(t, lower(dir("d", file("a", "lower"))))
	mask := uint64(unix.FAN_MODIFY | unix.FAN_CLOSE_WRITE | unix.FAN_OPEN)
	if m.name == "directory" {
		mask |= unix.FAN_EVENT_ON_CHILD
	}
	fd := o.fanotify(unix.FAN_CLASS_NOTIF)
	o.do("mark", unix.FanotifyMark(fd, unix.FAN_MARK_ADD|m.flags, mask, unix.AT_FDCWD, o.at(m.on)))
	for _, when := range []string{"copied up", "upper"} {
		o.do("write", withFd(unix.O_WRONLY, func(f int) error { return writeAll(f, "L") })(o.at("d/a")))
		var all string
		for _, e := range o.fanRead(fd) {
			if want, err := filepath.EvalSymlinks(o.at("d/a")); err != nil || e.path != want {
				t.Errorf("%s: the event %s is of %s, want %s", when, e.what, e.path, want)
			}
			all += e.what + " "
		}
		for _, want := range []string{"open", "modify", "close-write"} {
			if !strings.Contains(all, want) {
				t.Errorf("%s: told of %q, want %s, too", when, all, want)
			}
		}
		o.dropCaches()
	}
	o.do("write in the layer itself", withFd(unix.O_WRONLY, func(f int) error { return writeAll(f, "l") })(o.inUpper("d/a")))
	if events := o.fanRead(fd); len(events) > 0 {
		t.Errorf("told of %v in the layer itself", events)
	}
}

// fanotify is a group that does not wait, closed when the case ends.
func (o *overlay) fanotify(flags uint) int {
	o.t.Helper()
	fd, err := unix.FanotifyInit(flags|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
	o.do("make a fanotify group", err)
	o.t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// A fanEvent is what a group tells: what happened, to what, if there is a
// descriptor, and the records that follow.
type fanEvent struct {
	what, path string
	info       []byte
}

// fanRead are the events that have come.
func (o *overlay) fanRead(group int) (events []fanEvent) {
	o.t.Helper()
	buf := make([]byte, 16<<10)
	n, err := unix.Read(group, buf)
	if errors.Is(err, unix.EAGAIN) {
		return nil
	}
	o.do("read events", err)
	const size = int(unsafe.Sizeof(unix.FanotifyEventMetadata{}))
	for b := buf[:n]; len(b) >= size; {
		length, mask := binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint64(b[8:])
		fd := int32(binary.NativeEndian.Uint32(b[16:]))
		var e fanEvent
		for _, f := range fanTexts {
			if mask&f.mask != 0 {
				e.what += " " + f.name
			}
		}
		e.what, e.info = strings.TrimSpace(e.what), b[size:length]
		if fd >= 0 {
			e.path, err = os.Readlink(procFd(int(fd)))
			o.do("read the name of an event's descriptor", errors.Join(err, unix.Close(int(fd))))
		}
		events = append(events, e)
		b = b[length:]
	}
	return events
}

// What F_NOTIFY is asked for (linux/fcntl.h).
const (
	dnCreate    = 0x4
	dnDelete    = 0x8
	dnMultishot = 0x80000000
)

// dirFidName is the kind of a record with a directory's handle and a name
// (linux/fanotify.h, FAN_EVENT_INFO_TYPE_DFID_NAME).
const dirFidName = 2

// named gives the name and the handle of a record of that kind: the record's
// head of 4 bytes, the file system's number of 8, the handle's length and type
// of 4 each, the handle and the name (linux/fanotify.h, fanotify_event_info_fid).
func (e fanEvent) named() (name string, handle []byte) {
	if len(e.info) < 20 || e.info[0] != dirFidName {
		return fmt.Sprintf("?%x", e.info), nil
	}
	n := binary.NativeEndian.Uint32(e.info[12:])
	handle = e.info[20 : 20+n]
	text, _, _ := bytes.Cut(e.info[20+n:], []byte{0})
	return string(text), handle
}

var notifyCasesApart = []suites.Case{
	{
		Name: "fanotify-names",
		Doc:  "With nfs_export=on a directory's mark tells names and a handle of the directory, the same after it is copied up (fanotify_init(2), FAN_REPORT_DFID_NAME; overlayfs.rst, NFS export).",
		Run:  func(t *suites.T) { fanotifyNames(t, option("nfs_export=on")) },
	},
	{
		Name: "fanotify-names-without-export",
		Doc:  "Without nfs_export, too, a directory's mark tells names, where the kernel has handles that only identify (name_to_handle_at(2), AT_HANDLE_FID; since 6.6).",
		Run:  func(t *suites.T) { fanotifyNames(t) },
	},
	{
		Name: "dnotify-after-copy-up",
		Doc:  "A directory's descriptor from before the copy-up gives the signal for names that are made and removed (fcntl(2), F_NOTIFY).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower"))))
			fd := o.open("d", unix.O_RDONLY|unix.O_DIRECTORY)
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, unix.SIGIO)
			t.Cleanup(func() { unix.Close(fd); signal.Stop(signals) })
			_, err := unix.FcntlInt(uintptr(fd), unix.F_NOTIFY, dnCreate|dnDelete|dnMultishot)
			if errors.Is(err, unix.EINVAL) && unix.Access("/proc/sys/fs/dir-notify-enable", unix.F_OK) != nil {
				t.Skip("this kernel has no dnotify (CONFIG_DNOTIFY)")
			}
			o.do("ask for signals", err)
			o.chmod("d", 0o700)
			o.write("d/new", "")
			<-signals
			o.unlink("d/a")
			<-signals
		},
	},
	{
		Name: "poll-fifo",
		Doc:  "A lower FIFO becomes readable when it is written to by name, copied up in between or not (poll(2), fifo(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(fifo("a"), fifo("b")))
			for name, between := range map[string]func(){"a": func() {}, "b": func() { o.chmod("b", 0o600) }} {
				between()
				r := o.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
				w := o.open(name, unix.O_WRONLY|unix.O_NONBLOCK)
				fds := []unix.PollFd{{Fd: int32(r), Events: unix.POLLIN}}
				if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
					t.Errorf("%s: %d descriptors are ready (%v) before a write", name, n, err)
				}
				o.do("write", writeAll(w, "x"))
				if n, err := unix.Poll(fds, 0); n != 1 || err != nil || fds[0].Revents&unix.POLLIN == 0 {
					t.Errorf("%s: %d descriptors are ready (%v), events %#x, want POLLIN", name, n, err, fds[0].Revents)
				}
				o.do("close", errors.Join(unix.Close(r), unix.Close(w)))
			}
		},
	},
	{
		Name: "proc-names",
		Doc:  "/proc shows descriptors, mappings and programs by their names in the overlay, never by those in the layers, before and after a copy-up (proc(5)).",
		Run:  procNames,
	},
}

func fanotifyNames(t *suites.T, parts ...part) {
	o := newOverlay(t, append(parts, lower(dir("d", file("a", "lower"), file("b", "lower"))))...)
	const mask = unix.FAN_CREATE | unix.FAN_DELETE | unix.FAN_MOVED_FROM | unix.FAN_MOVED_TO | unix.FAN_ONDIR
	group, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_REPORT_DFID_NAME|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, 0)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel's fanotify tells no names (5.9)")
	}
	o.do("make a fanotify group", err)
	t.Cleanup(func() { unix.Close(group) })
	o.do("mark a directory of one file system", unix.FanotifyMark(group, unix.FAN_MARK_ADD, mask, unix.AT_FDCWD, o.upper))
	o.do("take the mark away", unix.FanotifyMark(group, unix.FAN_MARK_REMOVE, mask, unix.AT_FDCWD, o.upper))
	err = unix.FanotifyMark(group, unix.FAN_MARK_ADD, mask, unix.AT_FDCWD, o.at("d"))
	if errors.Is(err, unix.EOPNOTSUPP) && len(parts) == 0 && !identifies(o) {
		t.Skip("this kernel has no handles that only identify (6.6)")
	}
	o.do("mark a directory of the overlay", err)
	before := o.fanNames(group, func() { o.write("d/new", "") }, "create new")
	o.chmod("d", 0o700)
	o.dropCaches()
	after := o.fanNames(group, func() { o.unlink("d/a"); o.rename("d/b", "d/c") }, "delete a", "moved-from b", "moved-to c")
	if !bytes.Equal(before, after) {
		t.Errorf("the directory's handle is %x, was %x", after, before)
	}
	if len(parts) > 0 {
		if h := o.handle("d"); !bytes.Equal(h.Bytes(), after) {
			t.Errorf("the directory's handle is told as %x, name_to_handle_at(2) gives %x", after, h.Bytes())
		}
	}
}

// identifies reports whether name_to_handle_at(2) knows AT_HANDLE_FID, asked of
// the file system below.
func identifies(o *overlay) bool {
	const handleFID = unix.AT_REMOVEDIR // the same bit
	_, _, err := unix.NameToHandleAt(unix.AT_FDCWD, o.upper, handleFID)
	return err == nil
}

// fanNames does something, wants to be told of it by names, and returns the
// handle of the directory.
func (o *overlay) fanNames(group int, do func(), want ...string) (handle []byte) {
	o.t.Helper()
	do()
	var got []string
	for _, e := range o.fanRead(group) {
		name, h := e.named()
		got, handle = append(got, e.what+" "+name), bytes.Clone(h)
	}
	o.equal("told", got, want)
	return handle
}

func procNames(t *suites.T) {
	o := newOverlay(t, lower(file("a", long(5000))))
	var name string
	check := func(when string, fd int) {
		m, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ, unix.MAP_SHARED)
		o.do("map", err)
		defer unix.Munmap(m)
		link, err := os.Readlink(procFd(fd))
		if err != nil || link != name {
			t.Errorf("%s: the descriptor's name is %q (%v), want %s", when, link, err, name)
		}
		start := uintptr(unsafe.Pointer(&m[0]))
		maps, err := os.ReadFile("/proc/self/maps")
		o.do("read the mappings", err)
		for line := range strings.Lines(string(maps)) {
			if strings.HasPrefix(line, fmt.Sprintf("%x-", start)) && !strings.HasSuffix(strings.TrimSpace(line), " "+name) {
				t.Errorf("%s: the mapping is %q, want %s", when, line, name)
			}
		}
		link, err = os.Readlink(fmt.Sprintf("/proc/self/map_files/%x-%x", start, start+4096))
		if err != nil || link != name {
			t.Errorf("%s: the mapping's file is %q (%v), want %s", when, link, err, name)
		}
	}
	var err error
	name, err = filepath.EvalSymlinks(o.at("a"))
	o.do("resolve the name", err)
	low := o.open("a", unix.O_RDONLY)
	check("before", low)
	o.chmod("a", 0o600)
	up := o.open("a", unix.O_RDWR)
	check("old descriptor after", low)
	check("new descriptor after", up)
	o.do("close", errors.Join(unix.Close(low), unix.Close(up)))
}
