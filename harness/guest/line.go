package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// portName is what the host calls the agent's virtio-serial port.
const portName = "kplay.agent"

// uart is the line of a kernel without virtio.
const uart = "/dev/ttyS1"

// portWait bounds, by the guest's clock, the wait for the virtio port of a
// kernel that has a virtio bus with something on it.
const portWait = 20 * time.Second

// A line is the descriptor of the way to the host, not blocking, and unknown to
// Go's poller. Each clone goes on where the agent waits for its line, and has
// every instruction on the way to its first answer translated anew: the poller
// and the threads that it wakes would be a third of them. Nor may the descriptor
// block: the kernel's driver would then spin, with interrupts off, whenever the
// host is slow to take what is written (drivers/char/virtio_console.c,
// __send_to_port).
type line int

// Read waits until there is something to read.
func (l line) Read(b []byte) (int, error) {
	n, err := l.try(unix.SYS_READ, b, unix.POLLIN)
	if n == 0 && err == nil && len(b) > 0 {
		err = io.EOF
	}
	return n, err
}

// Write writes all of b, and waits where it has to.
func (l line) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := l.try(unix.SYS_WRITE, b[done:], unix.POLLOUT)
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// try reads or writes, when it has waited for the events if need be. As the call
// itself never waits, the Go runtime is not told of it.
func (l line) try(call uintptr, b []byte, events int16) (int, error) {
	for {
		n, _, errno := unix.RawSyscall(call, uintptr(l), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(l), Events: events}}, -1)
		default:
			return 0, errno
		}
	}
}

// openLine opens the line to the host, and says whether others can spoil it.
func openLine(want string) (l line, lossy bool, err error) {
	if want != "uart" && hasVirtio() {
		f, err := openPort()
		if err == nil || want == "virtio" {
			return f, false, err
		}
	}
	f, err := openUART()
	return f, true, err
}

func hasVirtio() bool {
	devices, _ := os.ReadDir("/sys/bus/virtio/devices")
	return len(devices) > 0
}

// openPort opens the virtio port by its name. The kernel adds ports from a work
// queue after the driver has loaded, and a kernel without CONFIG_NET has no
// uevents to wait for, so this looks until it is there.
func openPort() (line, error) {
	for deadline := time.Now().Add(portWait); ; time.Sleep(time.Millisecond) {
		if port := findPort(); port != "" {
			return openPath("/dev/"+port, "/sys/class/virtio-ports/"+port+"/dev")
		}
		if time.Now().After(deadline) {
			return -1, errors.New("open the virtio port: there is none named " + portName)
		}
	}
}

func findPort() string {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, n := range names {
		if b, err := os.ReadFile(n); err == nil && strings.TrimSpace(string(b)) == portName {
			return filepath.Base(filepath.Dir(n))
		}
	}
	return ""
}

// openPath opens a device node, and makes it first where devtmpfs does not.
func openPath(path, devFile string) (line, error) {
	l, err := openNode(path)
	if !errors.Is(err, os.ErrNotExist) {
		return l, err
	}
	var major, minor uint32
	b, err := os.ReadFile(devFile)
	if err != nil {
		return -1, fmt.Errorf("find the number of %s: %w", path, err)
	}
	if _, err := fmt.Sscanf(string(b), "%d:%d", &major, &minor); err != nil {
		return -1, fmt.Errorf("find the number of %s: %w", path, err)
	}
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return -1, fmt.Errorf("make %s: %w", path, err)
	}
	return openNode(path)
}

func openNode(path string) (line, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", path, err)
	}
	return line(fd), nil
}

// openUART opens the second UART as a line of plain bytes.
func openUART() (line, error) {
	l, err := openPath(uart, "/sys/class/tty/ttyS1/dev")
	if err != nil {
		return -1, err
	}
	term, err := unix.IoctlGetTermios(int(l), unix.TCGETS)
	if err != nil {
		return -1, fmt.Errorf("read the settings of %s: %w", uart, err)
	}
	term.Iflag, term.Oflag, term.Lflag = 0, 0, 0
	term.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	term.Cc[unix.VMIN], term.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(l), unix.TCSETS, term); err != nil {
		return -1, fmt.Errorf("set %s to plain bytes: %w", uart, err)
	}
	return l, nil
}
