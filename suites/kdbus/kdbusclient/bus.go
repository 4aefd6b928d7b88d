package kdbusclient

import (
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Mount mounts a new domain, which knows of no other, on dir.
func Mount(dir string) error { return unix.Mount(FSType, dir, FSType, 0, "") }

// Open opens a node of a kdbusfs as clients do: to read and write, not inherited.
func Open(path string) (fd int, err error) {
	return unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
}

// A BusSpec says what bus is to be made.
type BusSpec struct {
	Name   string // begins with the effective user ID and a dash
	Flags  uint64
	Bloom  BloomParameter
	Attach uint64 // what BUS_CREATOR_INFO may tell of the creator
}

// Items are those of the BUS_MAKE command.
func (s BusSpec) Items() []Item {
	items := []Item{Bloom(s.Bloom.Size, s.Bloom.Hashes)}
	if s.Attach != 0 {
		items = append(items, Words(ItemAttachSend, s.Attach))
	}
	return append(items, Text(ItemMakeName, s.Name))
}

// MakeBus makes a bus by a fresh descriptor of a domain's control file, which then
// keeps the bus alive.
func MakeBus(control int, s BusSpec) error {
	return Ioctl(control, BusMake, Encode(Cmd{Flags: s.Flags}, s.Items()...))
}

// A Bus is one that this process has made.
type Bus struct {
	FD   int    // keeps it alive
	Dir  string // where its endpoints are
	Name string
}

// NewBus makes a bus in the domain mounted on root.
func NewBus(root string, s BusSpec) (*Bus, error) {
	fd, err := Open(filepath.Join(root, "control"))
	if err != nil {
		return nil, fmt.Errorf("open control: %w", err)
	}
	if err := MakeBus(fd, s); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Bus{FD: fd, Dir: filepath.Join(root, s.Name), Name: s.Name}, nil
}

// Path is where an endpoint of the bus is; the default one is called bus.
func (b *Bus) Path(endpoint string) string { return filepath.Join(b.Dir, endpoint) }

// Close ends the bus, and with it all connections.
func (b *Bus) Close() error { return unix.Close(b.FD) }

// MakeEndpoint makes a custom endpoint by a fresh descriptor of the default one,
// which then keeps the endpoint alive.
func MakeEndpoint(fd int, name string, flags uint64) error {
	return Ioctl(fd, EndpointMake, Encode(Cmd{Flags: flags}, Text(ItemMakeName, name)))
}

// UpdateEndpoint replaces the policy of a custom endpoint: NAME items, each
// followed by its POLICY_ACCESS items.
func UpdateEndpoint(fd int, policy ...Item) error {
	return Ioctl(fd, EndpointUpdate, Encode(Cmd{}, policy...))
}
