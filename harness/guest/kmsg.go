package guest

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
)

// warning is the syslog severity up to which records of the boot are passed on;
// the console shows the graver ones only.
const warning = 4

// A kernelLog passes the kernel's log on to the host, record by record.
//
// Only the kernel can write records of facility 0: what user space writes to
// /dev/kmsg is given another one (kernel/printk/printk.c, devkmsg_write). So
// the host believes those and no others.
type kernelLog struct {
	mu   sync.Mutex
	fd   int
	send func(event.Event) error
	boot bool // the records read now are older than the agent's readiness
	oom  bool // the kernel killed a process for want of memory since this was reset
	buf  [8192]byte
}

// openKernelLog passes on the graver records of the boot; follow and drain pass
// on every record since. A kernel without /dev/kmsg (before
// 3.5, or without CONFIG_PRINTK) leaves the console as the only witness.
func openKernelLog(send func(event.Event) error) *kernelLog {
	l := &kernelLog{send: send, boot: true}
	var err error
	l.fd, err = unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		l.fd = -1
		return l
	}
	l.drain()
	l.boot = false
	return l
}

// follow passes on records as they are written.
func (l *kernelLog) follow() {
	poll := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return
		}
		l.drain()
	}
}

// drain passes on every record that has been written so far.
func (l *kernelLog) drain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.fd >= 0 {
		n, err := unix.Read(l.fd, l.buf[:])
		switch err {
		case nil:
			l.pass(l.buf[:n])
		case unix.EPIPE, unix.EINTR: // records were overwritten before they were read
		default:
			return
		}
	}
}

func (l *kernelLog) pass(record []byte) {
	e, ok := parseRecord(record)
	if !ok || l.boot && e.Level > warning {
		return
	}
	l.oom = l.oom || e.Facility == 0 && oomKill.MatchString(e.Text)
	l.send(e)
}

// oomKill is how the kernel says so (mm/oom_kill.c), since 3.16.
var oomKill = regexp.MustCompile(`^(Memory cgroup out|Out) of memory.*: Kill`)

// killedForMemory says whether the kernel killed a process for want of memory
// since it was last asked.
func (l *kernelLog) killedForMemory() bool {
	l.drain()
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.oom
	l.oom = false
	return was
}

// parseRecord reads "prio,seq,time_us,flags[,…];text\n KEY=value\n"
// (Documentation/ABI/testing/dev-kmsg).
func parseRecord(record []byte) (event.Event, bool) {
	head, text, ok := bytes.Cut(record, []byte(";"))
	fields := strings.SplitN(string(head), ",", 4)
	if !ok || len(fields) < 3 {
		return event.Event{}, false
	}
	prio, err1 := strconv.Atoi(fields[0])
	seq, err2 := strconv.ParseUint(fields[1], 10, 64)
	if err1 != nil || err2 != nil {
		return event.Event{}, false
	}
	text, _, _ = bytes.Cut(text, []byte("\n"))
	return event.Event{Kind: event.Kmsg, Level: int64(prio & 7), Facility: int64(prio >> 3), Seq: seq, Text: string(text)}, true
}

// consoleLoud has the kernel write everything to the console from now on, down
// to debugging (syslog(2), SYSLOG_ACTION_CONSOLE_LEVEL).
func consoleLoud() {
	const consoleLevel, everything = 8, 8
	unix.Syscall(unix.SYS_SYSLOG, consoleLevel, 0, everything)
}

// taintFile is kept open: to open a file is the dearest of a clone's first deeds.
var taintFile = sync.OnceValue(func() int {
	fd, err := unix.Open("/proc/sys/kernel/tainted", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
})

// taint is the kernel's taint bits; 0 if it does not tell.
func taint() uint64 {
	var buf [32]byte
	n, err := unix.Pread(taintFile(), buf[:], 0)
	if err != nil {
		return 0
	}
	bits, _ := strconv.ParseUint(strings.TrimSpace(string(buf[:n])), 10, 64)
	return bits
}

// showTasks has the kernel write its blocked tasks and what every processor is
// doing to its log (Documentation/admin-guide/sysrq.rst).
func showTasks() {
	for _, key := range []string{"w", "l"} {
		os.WriteFile("/proc/sysrq-trigger", []byte(key), 0)
	}
}

// panicOnNMI has the kernel panic, and so say where it is, when the host sends
// an NMI: the last resort against one that listens to nothing else
// (Documentation/admin-guide/sysctl/kernel.rst, unknown_nmi_panic).
func panicOnNMI() { os.WriteFile("/proc/sys/kernel/unknown_nmi_panic", []byte("1"), 0) }

// quietDrops has the kernel write no line to its log each time caches are
// dropped (Documentation/admin-guide/sysctl/vm.rst, drop_caches): on the console
// of an emulated machine it costs more than the deed.
func quietDrops() { os.WriteFile("/proc/sys/vm/drop_caches", []byte("4"), 0) }
