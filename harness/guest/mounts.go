package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

type mount struct {
	fstype, dir string
	flags       uintptr
	data        string
	must        bool // the agent cannot work without it
}

// mounts are the agent's own file systems. devtmpfs is optional: the initramfs
// carries the device nodes that are needed before it.
var mounts = []mount{
	{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "", true},
	{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, "", false},
	{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755", false},
	{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755", false},
	{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777", false},
}

func mountAll() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.dir, 0o755); err != nil && m.must {
			return err
		}
		err := unix.Mount(m.fstype, m.dir, m.fstype, m.flags, m.data)
		if err != nil && err != unix.EBUSY && m.must {
			return fmt.Errorf("mount %s on %s: %w", m.fstype, m.dir, err)
		}
	}
	return nil
}
