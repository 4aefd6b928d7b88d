package selftest

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/selftest/tinymod"
)

// Machine code for the kernel to run, x86-64.
var (
	// ret ends a module's init with -ECANCELED, so that the module goes away.
	ret = []byte{0xb8, 0x83, 0xff, 0xff, 0xff, 0x5d, 0xc3} // mov $-125,%eax; pop %rbp; ret

	readNull    = []byte{0x31, 0xc0, 0x8b, 0x00}                   // xor %eax,%eax; mov (%rax),%eax
	readNowhere = []byte{0x31, 0xc0, 0x0f, 0xba, 0xe8, 0x1f, 0x48, // xor %eax,%eax; bts $31,%eax;
		0xc1, 0xe0, 0x20, 0x8b, 0x00} // shl $32,%rax; mov (%rax),%eax: an address that is not canonical
	invalid    = []byte{0x0f, 0x0b}                               // ud2
	recurse    = []byte{0xe8, 0xfb, 0xff, 0xff, 0xff}             // 1: call 1b
	noHandlers = []byte{0x6a, 0, 0x6a, 0, 0x0f, 0x01, 0x1c, 0x24, // push $0; push $0; lidt (%rsp);
		0xcc} // int3
	spinOn   = []byte{0xeb, 0xfe}                                     // 1: jmp 1b
	haltDeaf = []byte{0xfa, 0xf4, 0xeb, 0xfd}                         // cli; 1: hlt; jmp 1b
	sleepOn  = []byte{0xbf, 0xff, 0xff, 0xff, 0x7f, 0xe8, 0, 0, 0, 0} // mov $0x7fffffff,%edi; call msleep
)

// The modules. A trap's line is what the kernel names as its source.
var (
	nullModule   = tinymod.Module{Name: "selftest_null", Code: readNull}
	gpfModule    = tinymod.Module{Name: "selftest_gpf", Code: readNowhere}
	ud2Module    = tinymod.Module{Name: "selftest_ud2", Code: invalid}
	bugModule    = tinymod.Module{Name: "selftest_bug", Code: invalid, Traps: []tinymod.Trap{{Line: 21}}}
	warnModule   = tinymod.Module{Name: "selftest_warn", Code: slices.Concat(invalid, ret), Traps: []tinymod.Trap{{Line: 42, Warn: true}}}
	stackModule  = tinymod.Module{Name: "selftest_stack", Code: recurse}
	tripleModule = tinymod.Module{Name: "selftest_triple", Code: noHandlers}
	spinModule   = tinymod.Module{Name: "selftest_spin", Code: spinOn}
	deafModule   = tinymod.Module{Name: "selftest_deaf", Code: haltDeaf}
	sleepModule  = tinymod.Module{Name: "selftest_sleep", Code: sleepOn, Calls: []tinymod.Call{{At: 6, Function: "msleep"}}}
)

// traps are the cases that have the kernel complain about itself. They load
// modules, which taints the kernel. One that must fail or crash although it
// says that it passed has a child process die in its place.
var traps = []ending{
	{suites.Case{
		Name: "warn",
		Doc:  "A case during which the kernel warns fails, although it says that it passed.",
		Run:  func(t *suites.T) { load(t, warnModule) },
	}, Expectation{"FAIL", "WARNING"}},
	{suites.Case{
		Name:    "oops",
		Doc:     "A case whose thread dies of a NULL pointer in the kernel crashed; the kernel goes on.",
		Timeout: 5 * time.Second,
		Run:     func(t *suites.T) { load(t, nullModule) },
	}, Expectation{"CRASH", "NULL pointer dereference"}},
	{suites.Case{
		Name: "oops-and-pass",
		Doc:  "A case crashed if a process it started died of an oops, although it says that it passed.",
		Run:  func(t *suites.T) { loadInChild(t, nullModule) },
	}, Expectation{"CRASH", "NULL pointer dereference"}},
	{suites.Case{
		Name: "general-protection",
		Doc:  "A case during which the kernel uses an address that is not canonical crashed.",
		Run:  func(t *suites.T) { loadInChild(t, gpfModule) },
	}, Expectation{"CRASH", "general protection fault"}},
	{suites.Case{
		Name: "invalid-opcode",
		Doc:  "A case during which the kernel meets an instruction that is none crashed.",
		Run:  func(t *suites.T) { loadInChild(t, ud2Module) },
	}, Expectation{"CRASH", "invalid opcode"}},
	{suites.Case{
		Name: "bug",
		Doc:  "A case during which the kernel reaches a BUG() crashed.",
		Run:  func(t *suites.T) { loadInChild(t, bugModule) },
	}, Expectation{"CRASH", "kernel BUG at"}},
	{suites.Case{
		Name: "stack-overflow",
		Doc:  "A case during which the kernel overruns its stack crashed, by a double fault and a panic.",
		Run:  func(t *suites.T) { load(t, stackModule) },
	}, Expectation{"CRASH", "stack"}},
	{suites.Case{
		Name: "triple-fault",
		Doc:  "A machine that resets at a triple fault, without a word, is lost to the harness.",
		Run:  func(t *suites.T) { load(t, tripleModule) },
	}, Expectation{"ERROR", ""}},
	{suites.Case{
		Name: "after-traps",
		Doc:  "The case after those that damaged the kernel gets its own verdict, on a kernel without their taint.",
		Run:  pass,
	}, Expectation{"PASS", ""}},
}

// load has the kernel run the module's code in this thread, and expects it to
// return as ret does, if at all.
func load(t *suites.T, m tinymod.Module) {
	t.Helper()
	if err := build(t, m).Load(); !errors.Is(err, unix.ECANCELED) {
		t.Errorf("load module %s: %v, want %v from its code", m.Name, err, unix.ECANCELED)
	}
}

// loadInChild has the kernel run the module's code in a process that is to die
// of it.
func loadInChild(t *suites.T, m tinymod.Module) {
	t.Helper()
	pid, err := forkAndLoad(build(t, m).FD(), new(byte))
	if err != nil {
		t.Fatalf("fork: %v", err)
	}
	var ws unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &ws, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil || !ws.Signaled() {
		t.Errorf("the process that loaded %s: %v, status %#x; want it dead", m.Name, err, int(ws))
	}
}

func build(t *suites.T, m tinymod.Module) *tinymod.File {
	t.Helper()
	f, err := m.Build()
	if errors.Is(err, tinymod.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// forkAndLoad forks without the Go runtime's knowledge, so the child makes raw
// system calls only; if the code returns, it exits with the errno.
//
//go:norace
//go:nosplit
func forkAndLoad(fd int, args *byte) (int, error) {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	if pid == 0 {
		errno = tinymod.LoadRaw(fd, args)
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
		}
	}
	return int(pid), nil
}
