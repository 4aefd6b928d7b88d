package overlayfs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A mapped is a device of the device mapper over a loop device, which fails when
// it is told to (Documentation/admin-guide/device-mapper).
type mapped struct {
	t       *suites.T
	under   *loop
	sectors uint64
	control int
	name    string
	path    string // /dev/dm-0
}

// dmHeader is struct dm_ioctl of include/uapi/linux/dm-ioctl.h.
type dmHeader struct {
	Version                 [3]uint32
	DataSize, DataStart     uint32
	TargetCount             uint32
	OpenCount               int32
	Flags, EventNr, Padding uint32
	Dev                     uint64
	Name                    [128]byte
	UUID                    [129]byte
	Data                    [7]byte
}

// dmTarget is struct dm_target_spec of the same; its parameters follow.
type dmTarget struct {
	Start, Length uint64
	Status        int32
	Next          uint32
	Type          [16]byte
}

// The requests are numbered in include/uapi/linux/dm-ioctl.h.
const (
	dmCreate  = 3
	dmRemove  = 4
	dmSuspend = 6
	dmLoad    = 9

	dmSuspendFlag = 1 << 1
	dmSkipLockFS  = 1 << 10
	dmNoFlush     = 1 << 11
)

// mapOver makes a device over a new image of the disk, which passes everything
// on, until the case ends.
func mapOver(t *suites.T, disk string) *mapped {
	t.Helper()
	t.Load("dm_mod", "dm_flakey")
	m := &mapped{t: t, name: "kplay"}
	var err error
	if m.control, err = unix.Open("/dev/mapper/control", unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		t.Skip("this kernel has no device mapper")
	}
	t.Cleanup(func() { unix.Close(m.control) })
	m.under = attach(t, t.Disk(disk))
	info, err := os.Stat(m.under.image)
	if err != nil {
		t.Fatal(err)
	}
	m.sectors = uint64(info.Size()) / 512
	h, err := m.request(dmCreate, 0, nil)
	if err != nil {
		t.Fatalf("make a mapped device: %v", err)
	}
	m.path = fmt.Sprintf("/dev/dm-%d", unix.Minor(h.Dev))
	t.Cleanup(func() {
		if _, err := m.request(dmRemove, 0, nil); err != nil {
			t.Errorf("remove the mapped device: %v", err)
		}
	})
	m.pass()
	return m
}

// pass has the device pass everything on.
func (m *mapped) pass() { m.t.Helper(); m.load("linear", m.under.path+" 0") }

// failAll has everything that is read or written fail.
func (m *mapped) failAll() { m.t.Helper(); m.load("error", "") }

// failWrites has everything that is written fail, and nothing that is read: the
// device is never up (device-mapper/dm-flakey.rst).
func (m *mapped) failWrites() {
	m.t.Helper()
	m.load("flakey", m.under.path+" 0 0 100000 1 error_writes")
}

// load gives the device another table. Nothing is flushed before, so that what is
// dirty meets the new one.
func (m *mapped) load(target, parameters string) {
	m.t.Helper()
	_, err := m.request(dmLoad, 0, &dmTable{target, parameters})
	if errors.Is(err, unix.EINVAL) && target != "linear" {
		m.t.Skipf("this kernel's device mapper has no %s target", target)
	}
	if err == nil {
		_, err = m.request(dmSuspend, dmSuspendFlag|dmSkipLockFS|dmNoFlush, nil)
	}
	if err == nil {
		_, err = m.request(dmSuspend, 0, nil)
	}
	if err != nil {
		m.t.Fatalf("map the device by %s: %v", target, err)
	}
}

// A dmTable is one target over the whole device.
type dmTable struct{ target, parameters string }

// request is one ioctl(2) on the device.
func (m *mapped) request(nr uintptr, flags uint32, table *dmTable) (dmHeader, error) {
	h := dmHeader{Version: [3]uint32{4, 0, 0}, Flags: flags}
	copy(h.Name[:], m.name)
	h.DataStart = uint32(binary.Size(h))
	var tail bytes.Buffer
	if table != nil {
		h.TargetCount = 1
		spec := dmTarget{Length: m.sectors}
		copy(spec.Type[:], table.target)
		if err := binary.Write(&tail, binary.LittleEndian, spec); err != nil {
			return h, err
		}
		tail.WriteString(table.parameters)
		tail.Write(make([]byte, 8-tail.Len()%8)) // ends in NUL, aligned
	}
	h.DataSize = h.DataStart + uint32(tail.Len())
	var all bytes.Buffer
	if err := binary.Write(&all, binary.LittleEndian, h); err != nil {
		return h, err
	}
	buf := append(all.Bytes(), tail.Bytes()...)
	const read, write = 2, 1
	code := uintptr(read|write)<<30 | uintptr(h.DataStart)<<16 | 0xfd<<8 | nr
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m.control), code, uintptr(unsafe.Pointer(&buf[0]))); errno != 0 {
		return h, errno
	}
	return h, binary.Read(bytes.NewReader(buf), binary.LittleEndian, &h)
}
