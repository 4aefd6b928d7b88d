// Package tinymod makes kernel modules out of a few bytes of machine code, in
// the guest, for the kernel that runs there, and loads them. It is how a case
// has the kernel do what no system call makes it do: trap, warn, never return.
//
// No headers, compiler or kernel-provided test module is needed. How the kernel
// lays out struct module and struct bug_entry is read from its BTF
// (Documentation/bpf/btf.rst); the version checks are waived as finit_module(2)
// allows with CONFIG_MODULE_FORCE_LOAD. Loading a module taints the kernel: O
// (out of tree), F (forced) and, where modules are signed, E (unsigned).
package tinymod

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrUnsupported is returned where the kernel, or its processor, cannot run a
// module of this package. The error's text names what is missing.
var ErrUnsupported = errors.New("cannot make a kernel module")

// A Module is a kernel module of one function, its init function.
type Module struct {
	Name  string // as lsmod shows it; shorter than 56 bytes
	Code  []byte // of the init function, x86-64; begins after its push %rbp
	Calls []Call
	Traps []Trap
}

// A Call is a rel32 operand in the code that is to hold the distance to a
// function the kernel exports.
type Call struct {
	At       int // offset of the operand in Code
	Function string
}

// A Trap is a ud2 instruction in the code that the kernel is to take for BUG()
// or, if Warn is set, for WARN() (include/asm-generic/bug.h).
type Trap struct {
	At   int // offset of the instruction in Code
	Line uint16
	Warn bool
}

// vmlinuxBTF is where the kernel shows its types, since Linux 5.4 with
// CONFIG_DEBUG_INFO_BTF.
const vmlinuxBTF = "/sys/kernel/btf/vmlinux"

// waived are the checks that a module made for a kernel by its own word fails.
const waived = unix.MODULE_INIT_IGNORE_MODVERSIONS | unix.MODULE_INIT_IGNORE_VERMAGIC

// A File is a module made for the running kernel, ready to load.
type File struct {
	name string
	fd   int
}

// Build makes the module. The error wraps ErrUnsupported where the kernel does
// not say how.
func (m Module) Build() (*File, error) {
	if runtime.GOARCH != "amd64" {
		return nil, fmt.Errorf("%w: the code is for x86-64, this is %s", ErrUnsupported, runtime.GOARCH)
	}
	if err := unix.Access("/proc/modules", unix.F_OK); err != nil {
		return nil, fmt.Errorf("%w: the kernel loads no modules", ErrUnsupported)
	}
	btf, err := os.ReadFile(vmlinuxBTF)
	if err != nil {
		return nil, fmt.Errorf("%w: the kernel does not show its types: %w", ErrUnsupported, err)
	}
	layouts, err := findStructs(btf, "module", "bug_entry")
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", vmlinuxBTF, err)
	}
	object, err := m.object(layouts["module"], layouts["bug_entry"])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return m.write(object)
}

func (m Module) write(object []byte) (*File, error) {
	fd, err := unix.MemfdCreate(m.Name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a file for module %s: %w", m.Name, err)
	}
	for len(object) > 0 {
		n, err := unix.Write(fd, object)
		if err != nil {
			return nil, fmt.Errorf("write module %s: %w", m.Name, err)
		}
		object = object[n:]
	}
	return &File{m.Name, fd}, nil
}

// Load has the kernel load the module, and so run its code. The error wraps the
// errno that the code returned in EAX, if it was negative; such a module is gone
// again.
//
// A kernel that died in a module's code should load no more of them: since
// Linux 6.5 the dead task's stack stays in the list of loads under way
// (kernel/module/main.c, idempotent_init_module), and the next load may follow
// it.
func (f *File) Load() error {
	if err := unix.FinitModule(f.fd, "", waived); err != nil {
		return fmt.Errorf("load module %s: %w", f.name, err)
	}
	return nil
}

// Close gives up the file; a module that was loaded stays.
func (f *File) Close() error { return unix.Close(f.fd) }

// FD is the descriptor to give to LoadRaw.
func (f *File) FD() int { return f.fd }

// LoadRaw is Load for the child of a raw fork: it neither allocates nor lets the
// Go scheduler run. args points to a zero byte.
//
//go:norace
//go:nosplit
func LoadRaw(fd int, args *byte) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_FINIT_MODULE, uintptr(fd), uintptr(unsafe.Pointer(args)), waived)
	return errno
}
