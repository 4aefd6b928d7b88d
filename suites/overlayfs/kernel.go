package overlayfs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// parameters names the module parameter that comes with an option (modinfo
// overlay). Its file tells whether the kernel has the option.
var parameters = map[string]string{
	"redirect_dir": "redirect_dir", // 4.10
	"index":        "index",        // 4.13
	"nfs_export":   "nfs_export",   // 4.16
	"xino":         "xino_auto",    // 4.17
	"metacopy":     "metacopy",     // 4.19
}

// lacks reports whether the kernel is without a mount option: by the module
// parameter, a witness other than the mount itself.
func lacks(t *suites.T, option string) bool {
	parameter, ok := parameters[option]
	if !ok {
		return false
	}
	if _, err := os.Stat("/sys/module/overlay"); err != nil {
		t.Skip("no /sys/module/overlay to say which options this kernel has")
	}
	_, err := os.Stat("/sys/module/overlay/parameters/" + parameter)
	return err != nil
}

// fsType is the name to mount by: "overlayfs" until the release candidates of
// 3.18, "overlay" since.
func fsType(t *suites.T) string {
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatalf("read the known file systems: %v", err)
	}
	for _, name := range []string{"overlay", "overlayfs"} {
		if slices.Contains(strings.Fields(string(known)), name) {
			return name
		}
	}
	t.Skip("this kernel has no overlayfs")
	return ""
}

// severalLowers reports whether the kernel takes several lower layers, as it does
// since 4.0. Before, the colon was a part of a path that is not there.
func severalLowers(t *suites.T) bool {
	dir := t.TempDir()
	var paths []string
	for _, name := range []string{"a", "b", "m"} {
		path := filepath.Join(dir, name)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if unix.Mount("overlay", paths[2], fsType(t), 0, "lowerdir="+paths[0]+":"+paths[1]) != nil {
		return false
	}
	return unix.Unmount(paths[2], 0) == nil
}

// has reports whether the kernel has a function of that name: the witness for
// what shows in nothing but the mount that is being tested. A kernel that does
// not list its functions is taken to have all of them.
func has(t *suites.T, function string) bool {
	t.Helper()
	list, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		return true
	}
	name := []byte(" " + function)
	return bytes.Contains(list, append(name, '\n')) || bytes.Contains(list, append(name, '\t'))
}

// nobody is a user without privileges, and a group.
const nobody = 1000

// as calls f as an unprivileged user with the effective and the file system
// identity of a thread of its own, which ends with f.
func as(uid, gid int, f func() error) error {
	return onThread(func() error {
		err := errors.Join(setres(unix.SYS_SETRESGID, gid, gid), setres(unix.SYS_SETRESUID, uid, uid))
		if err != nil {
			return err
		}
		return f()
	})
}

// onThread calls f in a thread of its own, which ends with f.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		// Never unlocked: the thread must not run anything else.
		runtime.LockOSThread()
		done <- f()
	}()
	return <-done
}

// setres sets an identity of this thread alone, by setresuid(2) or setresgid(2);
// package syscall has all threads of a process take it.
func setres(call uintptr, id, saved int) error {
	if _, _, e := unix.RawSyscall(call, uintptr(id), uintptr(id), uintptr(saved)); e != 0 {
		return e
	}
	return nil
}

// powerless calls f on a thread of its own that is root without the capabilities
// to override permissions.
func powerless(f func() error) error {
	return without([]int{unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH}, f)
}

// without calls f on a thread that has given up capabilities, which ends with f.
func without(capabilities []int, f func() error) error {
	return onThread(func() error {
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		if err := unix.Capget(&head, &caps[0]); err != nil {
			return fmt.Errorf("get the capabilities: %w", err)
		}
		for _, c := range capabilities {
			caps[c/32].Effective &^= 1 << (c % 32)
		}
		if err := unix.Capset(&head, &caps[0]); err != nil {
			return fmt.Errorf("drop capabilities: %w", err)
		}
		return f()
	})
}
