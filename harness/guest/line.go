package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// portName is what the host calls the agent's virtio-serial port.
const portName = "kplay.agent"

// uart is the line of a kernel without virtio.
const uart = "/dev/ttyS1"

// portWait bounds, by the guest's clock, the wait for the virtio port of a
// kernel that has a virtio bus with something on it.
const portWait = 20 * time.Second

// openLine opens the line to the host, and says whether others can spoil it.
func openLine(want string) (line *os.File, lossy bool, err error) {
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
func openPort() (*os.File, error) {
	for deadline := time.Now().Add(portWait); ; time.Sleep(time.Millisecond) {
		if port := findPort(); port != "" {
			return openPath("/dev/"+port, "/sys/class/virtio-ports/"+port+"/dev")
		}
		if time.Now().After(deadline) {
			return nil, errors.New("open the virtio port: there is none named " + portName)
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
func openPath(path, devFile string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	var major, minor uint32
	b, err := os.ReadFile(devFile)
	if err != nil {
		return nil, fmt.Errorf("find the number of %s: %w", path, err)
	}
	if _, err := fmt.Sscanf(string(b), "%d:%d", &major, &minor); err != nil {
		return nil, fmt.Errorf("find the number of %s: %w", path, err)
	}
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(major, minor))); err != nil {
		return nil, fmt.Errorf("make %s: %w", path, err)
	}
	return os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
}

// openUART opens the second UART as a line of plain bytes.
func openUART() (*os.File, error) {
	f, err := openPath(uart, "/sys/class/tty/ttyS1/dev")
	if err != nil {
		return nil, fmt.Errorf("open the second UART: %w", err)
	}
	term, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read the settings of %s: %w", uart, err)
	}
	term.Iflag, term.Oflag, term.Lflag = 0, 0, 0
	term.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	term.Cc[unix.VMIN], term.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, term); err != nil {
		return nil, fmt.Errorf("set %s to plain bytes: %w", uart, err)
	}
	return f, nil
}
