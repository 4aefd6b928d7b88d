package kdbusclient

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Op is one of the interface's ioctl numbers.
type Op uint32

// The operations.
const (
	BusMake        Op = 0x40189500
	EndpointMake   Op = 0x40189510
	EndpointUpdate Op = 0x40189511
	Hello          Op = 0xc0609580
	Update         Op = 0x40189581
	Byebye         Op = 0x40189582
	Free           Op = 0x40209583
	ConnInfo       Op = 0x80389584
	BusCreatorInfo Op = 0x80389585
	List           Op = 0x80289586
	Send           Op = 0x40389590
	Recv           Op = 0x80409591
	NameAcquire    Op = 0x401895a0
	NameRelease    Op = 0x401895a1
	MatchAdd       Op = 0x402095b0
	MatchRemove    Op = 0x402095b1
)

// An OpInfo describes an operation.
type OpInfo struct {
	Op        Op
	Name      string
	Fixed     uint64 // bytes of its argument without items
	FlagsMask uint64 // the flags it takes, without Negotiate
}

// Ops are all operations.
var Ops = []OpInfo{
	{BusMake, "BUS_MAKE", 24, 3},
	{EndpointMake, "ENDPOINT_MAKE", 24, 3},
	{EndpointUpdate, "ENDPOINT_UPDATE", 24, 0},
	{Hello, "HELLO", 96, 0xf},
	{Update, "UPDATE", 24, 0},
	{Byebye, "BYEBYE", 24, 0},
	{Free, "FREE", 32, 0},
	{ConnInfo, "CONN_INFO", 56, 0},
	{BusCreatorInfo, "BUS_CREATOR_INFO", 56, 0},
	{List, "LIST", 40, 0xf},
	{Send, "SEND", 56, 1},
	{Recv, "RECV", 64, 7},
	{NameAcquire, "NAME_ACQUIRE", 24, 7},
	{NameRelease, "NAME_RELEASE", 24, 0},
	{MatchAdd, "MATCH_ADD", 32, 1},
	{MatchRemove, "MATCH_REMOVE", 32, 0},
}

func (o Op) String() string {
	for _, i := range Ops {
		if i.Op == o {
			return i.Name
		}
	}
	return "unknown operation"
}

// Ioctl gives a command. The kernel may write to it.
func Ioctl(fd int, op Op, c *Command) error {
	err := IoctlAt(fd, op, uintptr(unsafe.Pointer(&c.words[0])))
	runtime.KeepAlive(c)
	return err
}

// IoctlAt gives a command by its address, which may be any.
func IoctlAt(fd int, op Op, at uintptr) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(op), at); e != 0 {
		return e
	}
	return nil
}
