package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

// program is QEMU's name on Debian, Ubuntu and upstream; Fedora's qemu-kvm
// package carries the same program outside the path.
var programs = []string{"qemu-system-x86_64", "/usr/libexec/qemu-kvm"}

// Find returns the path of QEMU on this host.
func Find() (string, error) {
	for _, p := range programs {
		if path, err := exec.LookPath(p); err == nil {
			return path, nil
		}
	}
	return "", &HostError{"find QEMU", errors.New("there is no qemu-system-x86_64 in PATH: install it with" +
		" `apt-get install qemu-system-x86` or `dnf install qemu-system-x86-core`")}
}

// sandbox keeps a guest that breaks out of its machine from starting programs
// or gaining privileges (QEMU's manual, -sandbox).
var sandbox = []string{"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"}

// lean is what every machine is started with: no configuration files, no
// devices but those named, and an exit instead of a reboot.
var lean = []string{"-no-user-config", "-nodefaults", "-display", "none", "-no-reboot"}

// An inheritance is the files a QEMU process is given besides the standard ones.
type inheritance struct{ files []*os.File }

// firstInherited is the number os/exec gives the first of Cmd.ExtraFiles.
const firstInherited = 3

// fd adds a file and returns its number in the process.
func (i *inheritance) fd(f *os.File) int {
	i.files = append(i.files, f)
	return firstInherited + len(i.files) - 1
}

// path adds a file and returns a path by which the process can open it.
func (i *inheritance) path(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", i.fd(f)) }

// ends are QEMU's ends of the connections of a machine.
type ends struct{ qmp, console, virtio, uart *os.File }

// shape is the command line that boots and clones have in common: a clone takes
// over the devices' state of the machine it was cloned from, so the devices must
// be the same.
func (s Spec) shape(in *inheritance, e ends) []string {
	a := []string{
		"-machine", "pc,graphics=off,usb=off,vmport=off,dump-guest-core=off" + s.backend(),
		"-accel", string(s.Accel), "-cpu", s.cpu(),
		"-smp", strconv.Itoa(s.CPUs), "-m", strconv.Itoa(s.Memory),
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", in.fd(e.qmp)), "-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", in.fd(e.console)), "-serial", "chardev:console",
	}
	if s.Channel != UART {
		a = append(a, "-chardev", fmt.Sprintf("socket,id=virtio,fd=%d", in.fd(e.virtio)),
			"-device", "virtio-serial-pci,max_ports=2", "-device", "virtserialport,chardev=virtio,name="+PortName)
	}
	if s.Channel != Virtio {
		a = append(a, "-chardev", fmt.Sprintf("socket,id=uart,fd=%d", in.fd(e.uart)), "-serial", "chardev:uart")
	}
	if s.Dumpable {
		a = append(a, "-device", "pvpanic", "-action", "panic=pause", "-device", "vmcoreinfo")
	}
	if s.Watchdog {
		a = append(a, "-device", "i6300esb", "-action", "watchdog=inject-nmi")
	}
	return a
}

// backend names the memory backend where the guest's memory is a file.
func (s Spec) backend() string {
	if s.RAM == nil {
		return ""
	}
	return ",memory-backend=ram"
}

// memory has the guest's memory lie in the spec's file. Shared, what the guest
// writes goes into the file; private, it stays with the machine.
func (s Spec) memory(in *inheritance, share string) []string {
	if s.RAM == nil {
		return nil
	}
	return []string{"-object", fmt.Sprintf("memory-backend-file,id=ram,size=%dM,mem-path=%s,share=%s", s.Memory, in.path(s.RAM), share)}
}

// boot is the command line of a machine that starts from its kernel.
func (s Spec) boot(in *inheritance, e ends) []string {
	a := append(s.memory(in, "on"), s.shape(in, e)...)
	return append(a, "-kernel", s.Kernel, "-initrd", in.path(s.Initrd), "-append", s.Cmdline)
}

// clone is the command line of a machine that waits for a template's state.
func (s Spec) clone(in *inheritance, e ends, share string) []string {
	a := append(s.memory(in, share), s.shape(in, e)...)
	return append(a, "-incoming", "defer", "-S")
}

// Emulated is the processor under TCG, the plainest model: max costs a boot 1.14
// to 1.29 times as much. It goes without CMPXCHG16B, which QEMU 7.2 emulates so that some
// kernels double-fault in their memory allocator (seen with Debian's 6.12.95
// cloud kernel, in kmem_cache_alloc_noprof, several times a run); no kernel needs
// it.
const Emulated = "qemu64,-cx16"

func (s Spec) cpu() string {
	if s.Accel == KVM {
		return "host"
	}
	return Emulated
}
