package overlayfs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// execCases run programs that have rights of their own (execve(2)).
var execCases = []suites.Case{
	{
		Name: "exec-set-user-id",
		Doc:  "A set-ID program of the overlay runs as its owner and group, before and after it is copied up, and not with nosuid (execve(2), mount(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(program("a").perm(0o6755).owned(5, 77)))
			o.runsAs("before the copy-up", "Uid", "5")
			o.runsAs("before the copy-up", "Gid", "77")
			o.copyUp("a")
			o.runsAs("after the copy-up", "Uid", "5")
			o.runsAs("after the copy-up", "Gid", "77")
			o.do("remount with nosuid", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID, ""))
			o.runsAs("with nosuid", "Uid", fmt.Sprint(nobody))
			o.do("remount without", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
			o.do("chown", unix.Lchown(o.at("a"), 6, 77))
			o.runsAs("after a change of owner", "Uid", fmt.Sprint(nobody))
		},
	},
	{
		Name: "exec-set-user-id-on-nosuid-layers",
		Doc:  "nosuid of a layer's own mount does not count in the overlay (mount(2)).",
		Run: func(t *suites.T) {
			o := layers(t, lower(program("a").perm(0o4755).owned(5, 77)))
			o.bind(o.lowers[0], unix.MS_NOSUID)
			o.do("mount", o.mount())
			o.runsAs("from a nosuid layer", "Uid", "5")
		},
	},
	{
		Name: "exec-capability",
		Doc:  "A program of the overlay has its file's capabilities, before and after it is copied up, not with nosuid and not after a write (capabilities(7)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(program("a").perm(0o755).xattr(capability, netRaw())))
			const with, without = "0000000000002000", "0000000000000000"
			o.runsAs("before the copy-up", "CapPrm", with)
			o.copyUp("a")
			o.runsAs("after the copy-up", "CapPrm", with)
			o.remount()
			o.runsAs("after a mount cycle", "CapPrm", with)
			o.do("remount with nosuid", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID, ""))
			o.runsAs("with nosuid", "CapPrm", without)
			o.do("remount without", unix.Mount("", o.merged, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
			o.do("write", withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "\x7f") })(o.at("a")))
			o.runsAs("after a write", "CapPrm", without)
		},
	},
	{
		Name: "exec-unlinked",
		Doc:  "A program is run by a descriptor after its name is gone, from the lower and from the upper layer (execveat(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(program("a").perm(0o755), program("b").perm(0o755)))
			o.copyUp("b")
			for _, name := range []string{"a", "b"} {
				f, err := os.Open(o.at(name))
				o.do("open", err)
				o.unlink(name)
				cmd := exec.Command("/proc/self/fd/3")
				cmd.ExtraFiles = []*os.File{f}
				o.do("run "+name+" without a name", cmd.Start())
				o.do("kill it", cmd.Process.Kill())
				cmd.Wait()
				o.do("close", f.Close())
			}
			o.shows()
		},
	},
	confined{
		name:  "userns-exec-set-user-id",
		doc:   "In a user namespace a set-ID program runs as its owner there, from a lower layer and copied up (execve(2), user_namespaces(7)).",
		lower: []node{program("a").perm(0o4755).owned(5, 77)},
		inside: func(o *overlay) {
			o.mountInside()
			o.runsAs("before the copy-up", "Uid", "5")
			o.copyUp("a")
			o.runsAs("after the copy-up", "Uid", "5")
		},
		holds: []node{program("a").perm(0o4755).owned(5, 77)},
	}.suitesCase(),
	confined{
		name:  "userns-exec-capability",
		doc:   "In a user namespace a program has the capabilities that are the namespace's, from a lower layer and copied up (capabilities(7), namespaced file capabilities).",
		lower: []node{program("a").perm(0o755).xattr(capability, netRawOf(idBase))},
		inside: func(o *overlay) {
			o.mountInside()
			o.runsAs("before the copy-up", "CapPrm", "0000000000002000")
			o.copyUp("a")
			o.runsAs("after the copy-up", "CapPrm", "0000000000002000")
		},
		holds: []node{program("a").perm(0o755).xattr(capability, netRawOf(idBase))},
	}.suitesCase(),
}

// program is a file that can be run, and waits.
func program(name string) node { return file(name, string(waiting())) }

// pausing is what the kernel says of a process that runs a program, when it has
// come to pause(2); the case's deadline bounds the wait. Start returns when
// execve(2) closes descriptors, which is before it gives the process the program's
// rights (fs/exec.c, begin_new_exec).
func pausing(pid int) (status []byte, err error) {
	for {
		status, err = os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || bytes.HasPrefix(status, []byte("Name:\ta\n")) && bytes.Contains(status, []byte("\nState:\tS")) {
			return status, err
		}
		time.Sleep(time.Millisecond)
	}
}

// runsAs has a user without rights run the program "a", and wants a field of what
// the kernel says of the process (proc(5), /proc/pid/status): of IDs, the
// effective one.
func (o *overlay) runsAs(when, field, want string) {
	o.t.Helper()
	if runtime.GOARCH != "amd64" {
		o.t.Skip("the program is for x86-64")
	}
	cmd := exec.Command(o.at("a"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	o.do(when+": run the program", cmd.Start())
	text, err := pausing(cmd.Process.Pid)
	o.do("kill the program", cmd.Process.Kill())
	cmd.Wait()
	o.do("read what the kernel says", err)
	for line := range strings.Lines(string(text)) {
		name, values, _ := strings.Cut(line, ":")
		if name != field {
			continue
		}
		all := strings.Fields(values)
		if got := all[min(1, len(all)-1)]; got != want {
			o.t.Errorf("%s: %s is %s, want %s", when, field, got, want)
		}
		return
	}
	o.t.Errorf("%s: the kernel says nothing of %s", when, field)
}
