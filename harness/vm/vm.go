// Package vm runs machines: a QEMU process each, with the kernel's console, a
// line to the agent in the guest, and QEMU's own control channel. A machine can
// be frozen into a template, from which clones start. The package knows nothing
// about suites or verdicts.
//
// Every machine is throw-away: nothing it writes outlives it, it has no network
// and no disk, and it dies with the process that started it, however that ends.
package vm

import (
	"io"
	"os"
)

// An Accel is how QEMU executes the guest's instructions.
type Accel string

// The accelerators. That /dev/kvm exists or opens does not prove that a kernel
// runs under KVM; booting it does.
const (
	KVM Accel = "kvm" // the host's processor
	TCG Accel = "tcg" // translation; works everywhere, some ten times slower
)

// A Channel says which lines to the agent a machine has.
type Channel int

// The channels. With Either the guest takes the virtio port if its kernel knows
// virtio, else the UART.
const (
	Virtio Channel = iota // a virtio-serial port named PortName
	UART                  // the second 16550 UART, ttyS1 in Linux
	Either
)

// PortName is what the agent's virtio-serial port is called in the guest, in
// /sys/class/virtio-ports/*/name.
const PortName = "kplay.agent"

// A Spec is what a machine is made of.
type Spec struct {
	QEMU     string   // the program; empty means what Find finds
	Accel    Accel    //
	Kernel   string   // path of a bzImage, or of an ELF vmlinux with a PVH note
	Initrd   *os.File // the initramfs; read from its start; not closed
	Cmdline  string   // of the kernel
	Memory   int      // MiB
	CPUs     int      //
	Channel  Channel  //
	Dumpable bool     // a panic halts the machine, so that its memory can be dumped
	Watchdog bool     // an i6300ESB, which sends an NMI when the guest has opened it and does not feed it
	// RAM is the file the guest's memory lies in, Memory MiB long; nil for
	// memory of QEMU's own. Only a machine with one can be frozen.
	RAM     *os.File
	Console io.Writer // gets what the kernel writes to ttyS0; called from one goroutine
}

// A HostError says that this host could not run the machine: the kernel under
// test has no part in it.
type HostError struct {
	Deed string // "start QEMU"
	Err  error
}

func (e *HostError) Error() string { return e.Deed + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *HostError) Unwrap() error { return e.Err }
