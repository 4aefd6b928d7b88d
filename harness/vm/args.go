package vm

import (
	"errors"
	"fmt"
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

// Descriptor numbers in the QEMU process, in the order of Machine.files.
const (
	fdInitrd = 3 + iota
	fdQMP
	fdConsole
	fdVirtio
	fdUART
)

func (s Spec) args(sandboxed bool) []string {
	a := append([]string{}, lean...)
	if sandboxed {
		a = append(a, sandbox...)
	}
	a = append(a,
		"-machine", "pc,graphics=off,usb=off,vmport=off,dump-guest-core=off",
		"-accel", string(s.Accel), "-cpu", s.cpu(),
		"-smp", strconv.Itoa(s.CPUs), "-m", strconv.Itoa(s.Memory),
		"-kernel", s.Kernel, "-initrd", fmt.Sprintf("/proc/self/fd/%d", fdInitrd), "-append", s.Cmdline,
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d,server=on,wait=off", fdQMP), "-mon", "chardev=qmp,mode=control",
		"-chardev", fmt.Sprintf("socket,id=console,fd=%d", fdConsole), "-serial", "chardev:console",
	)
	if s.Channel != UART {
		a = append(a, "-chardev", fmt.Sprintf("socket,id=virtio,fd=%d", fdVirtio),
			"-device", "virtio-serial-pci,max_ports=2", "-device", "virtserialport,chardev=virtio,name="+PortName)
	}
	if s.Channel != Virtio {
		a = append(a, "-chardev", fmt.Sprintf("socket,id=uart,fd=%d", fdUART), "-serial", "chardev:uart")
	}
	return a
}

// cpu is the plainest model under TCG: max costs a boot 1.14 to 1.29 times as
// much there.
func (s Spec) cpu() string {
	if s.Accel == KVM {
		return "host"
	}
	return "qemu64"
}
