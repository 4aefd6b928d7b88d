package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// mappedNS is a user namespace in which the IDs of inside stand for those of
// outside: on a mount that is mapped by it, a file of the first on the disk is
// one of the second (mount_setattr(2), ID-mapped mounts).
func mappedNS(inside, outside int) (*os.File, error) {
	// The tracer is the thread that starts the process; it must live until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ids := []syscall.SysProcIDMap{{ContainerID: inside, HostID: outside, Size: idCount}}
	cmd := exec.Command("/proc/self/exe")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids,
		Ptrace: true, // so that it stops before it runs anything
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a process in a user namespace: %w", err)
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/user", cmd.Process.Pid))
	if killed := cmd.Process.Kill(); killed != nil {
		err = errors.Join(err, killed)
	}
	cmd.Wait()
	return ns, err
}

// mapTo attaches at target what is at path, with the IDs on the disk from inside
// on shown as those from outside on.
func mapTo(path, target string, inside, outside int) error {
	ns, err := mappedNS(inside, outside)
	if err != nil {
		return err
	}
	defer ns.Close()
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("clone the mount of %s: %w", path, err)
	}
	defer unix.Close(tree)
	attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd())}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, attr); err != nil {
		return fmt.Errorf("map the IDs of a mount: %w", err)
	}
	return unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

// needIDMaps skips the case where the layers' file system cannot be mapped, as
// tmpfs can be since 6.3: it is tried without an overlay.
func needIDMaps(t *suites.T) {
	t.Helper()
	dir := t.TempDir()
	err := mapTo(dir, dir, idBase, 0)
	switch {
	case errors.Is(err, unix.ENOSYS):
		t.Skip("this kernel has no mount_setattr (5.12)")
	case errors.Is(err, unix.EINVAL):
		t.Skip("this kernel's tmpfs is not mounted with mapped IDs (6.3)")
	case err != nil:
		t.Fatalf("map a mount of tmpfs: %v", err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatalf("unmount the probe: %v", err)
	}
}

// attachMapped has path seen at a new place, where the IDs on the disk from idBase
// on are those from 0 on.
func (o *overlay) attachMapped(path string) string {
	o.t.Helper()
	at := o.layer("mapped-"+filepath.Base(path), nil)
	o.do("map a layer", mapTo(path, at, idBase, 0))
	o.t.Cleanup(func() { o.do("unmount a mapped layer", unix.Unmount(at, 0)) })
	return at
}

// mapLowers has the lower layers on mapped mounts.
func mapLowers(o *overlay) {
	o.t.Helper()
	for i, l := range o.lowers {
		o.do("give a layer away", os.Lchown(l, idBase, idBase))
		o.lowers[i] = o.attachMapped(l)
	}
}

// mapUpper has the upper layer and the work directory on a mapped mount of
// their own, with nodes, which are as they are on the disk.
func mapUpper(nodes ...node) part {
	return func(o *overlay) {
		o.t.Helper()
		disk := o.layer("writable", []node{dir("upper", nodes...).owned(idBase, idBase), dir("work").owned(idBase, idBase)})
		o.do("give a directory away", os.Lchown(disk, idBase, idBase))
		at := o.attachMapped(disk)
		o.upper, o.work = at+"/upper", at+"/work"
	}
}

// unmapped is the upper layer where mapUpper has put it, as it is on the disk.
func (o *overlay) unmapped() string { return filepath.Join(o.dir, "writable", "upper") }

// idmapDeedCases have every deed done on layers with mapped IDs.
func idmapDeedCases() (cases []suites.Case) {
	for _, d := range deeds {
		for _, on := range []struct {
			name, doc    string
			lower, upper bool
		}{
			{"lower", "the lower layer", true, false},
			{"upper", "the upper layer", false, true},
			{"layers", "all layers", true, true},
		} {
			cases = append(cases, suites.Case{
				Name: "idmapped-" + on.name + "-" + d.name,
				Doc:  "With " + on.doc + " on a mount that maps IDs, the overlay " + d.doc + ", with the owners that shows (mount_setattr(2), ID-mapped mounts; overlayfs since 5.19).",
				Long: !on.lower || !on.upper,
				Run:  func(t *suites.T) { d.mapped(t, on.lower, on.upper) },
			})
		}
	}
	return cases
}

func (d deed) mapped(t *suites.T, lowers, uppers bool) {
	needIDMaps(t)
	var parts []part
	if lowers {
		parts = append(parts, lower(shifted(d.lower)...), mapLowers)
	} else {
		parts = append(parts, lower(d.lower...))
	}
	if uppers {
		parts = append(parts, mapUpper(shifted(d.upper)...))
	} else {
		parts = append(parts, upper(d.upper...))
	}
	o := newOverlay(t, parts...)
	d.inside(o)
	o.upperHolds(d.holds...)
	if uppers {
		o.compare("upper layer on the disk", o.unmapped(), shifted(d.holds))
	}
}
