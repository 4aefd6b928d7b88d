package overlayfs

import (
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A right is something a task may do to nodes in a directory, or may not, by
// their attributes and its own credentials: on an overlay, before and after they
// are copied up, as on one file system (overlayfs.rst, permission model, rule 1).
type right struct {
	name, doc string
	nodes     []node
	task      task
	do        func(dir string) error
	want      unix.Errno // 0: it may
	sysctl    string     // of fs, set to 1; empty for none
}

// stranger is a user with no rights but everybody's.
var stranger = task{uid: nobody, gid: nobody}

// member is stranger in one more group.
var member = task{uid: nobody, gid: nobody, groups: []int{77}}

// lacking is root without some capabilities.
func lacking(caps ...int) task { return task{without: caps} }

// notOwned is a file of a user that is neither root nor nobody.
func notOwned(name string) node { return file(name, "text").owned(5, 77) }

var groupRights = []right{
	{"group-read", "reads by a supplementary group (credentials(7))", []node{notOwned("a").perm(0o640)}, member,
		func(d string) error { return opened(unix.O_RDONLY)(d + "/a") }, 0, ""},
	{"group-write", "writes by a supplementary group (credentials(7))", []node{notOwned("a").perm(0o660)}, member,
		func(d string) error { return opened(unix.O_RDWR)(d + "/a") }, 0, ""},
	{"group-denied-by-owner-bits", "is denied as the owner what the group may (path_resolution(7))", []node{file("a", "").owned(nobody, 77).perm(0o060)}, member,
		func(d string) error { return opened(unix.O_RDONLY)(d + "/a") }, unix.EACCES, ""},
	{"group-denied-by-group-bits", "is denied as one of the group what others may (path_resolution(7))", []node{notOwned("a").perm(0o604)}, member,
		func(d string) error { return opened(unix.O_RDONLY)(d + "/a") }, unix.EACCES, ""},
	{"chgrp-to-own", "gives its own file to a group it is in, which clears set-ID bits (chown(2))", []node{file("a", "").owned(nobody, nobody).perm(0o6755)}, member,
		func(d string) error { return unix.Lchown(d+"/a", -1, 77) }, 0, ""},
	{"chgrp-to-other", "does not give its own file to a group it is not in (chown(2))", []node{file("a", "").owned(nobody, nobody)}, stranger,
		func(d string) error { return unix.Lchown(d+"/a", -1, 77) }, unix.EPERM, ""},
	{"chown-own-to-other", "does not give its own file away (chown(2))", []node{file("a", "").owned(nobody, nobody)}, stranger,
		func(d string) error { return unix.Lchown(d+"/a", 5, -1) }, unix.EPERM, ""},
	{"chmod-setgid-of-other-group", "does not set set-group-ID for a group it is not in (chmod(2))", []node{file("a", "").owned(nobody, 77)}, stranger,
		func(d string) error { return unix.Chmod(d+"/a", 0o2755) }, 0, ""},
	{"chmod-setgid-of-own-group", "sets set-group-ID for a group it is in (chmod(2))", []node{file("a", "").owned(nobody, 77)}, member,
		func(d string) error { return unix.Chmod(d+"/a", 0o2755) }, 0, ""},
	{"create-setgid-in-setgid-directory", "makes a file in a set-group-ID directory whose group it is not in (inode(7))", []node{dir("s").perm(0o2777).owned(0, 77)}, stranger,
		func(d string) error { return unix.Mknod(d+"/s/new", unix.S_IFREG|0o2775, 0) }, 0, ""},
	{"mkdir-in-setgid-directory", "makes a directory in a set-group-ID directory (inode(7))", []node{dir("s").perm(0o2777).owned(0, 77)}, stranger,
		func(d string) error { return unix.Mkdir(d+"/s/new", 0o755) }, 0, ""},
	{"move-into-setgid-directory", "moves its file into a set-group-ID directory (rename(2))", []node{file("a", "").owned(nobody, nobody), dir("s").perm(0o2777).owned(0, 77)}, stranger,
		func(d string) error { return unix.Rename(d+"/a", d+"/s/a") }, 0, ""},
}

var ownerRights = []right{
	{"sticky-owner-of-directory", "removes another's file from its own sticky directory (unlink(2))", []node{dir("s", notOwned("a")).perm(0o1777).owned(nobody, nobody)}, stranger,
		func(d string) error { return unix.Unlink(d + "/s/a") }, 0, ""},
	{"sticky-rename-over", "does not replace another's file in a sticky directory (rename(2))", []node{dir("s", notOwned("a"), file("b", "").owned(nobody, nobody)).perm(0o1777)}, stranger,
		func(d string) error { return unix.Rename(d+"/s/b", d+"/s/a") }, unix.EPERM, ""},
	{"sticky-exchange", "does not exchange its file with another's in a sticky directory (rename(2))", []node{dir("s", notOwned("a"), file("b", "").owned(nobody, nobody)).perm(0o1777)}, stranger,
		func(d string) error { return rename2(d+"/s/b", d+"/s/a", unix.RENAME_EXCHANGE) }, unix.EPERM, ""},
	{"sticky-rmdir", "does not remove another's directory from a sticky one (rmdir(2))", []node{dir("s", dir("a").owned(5, 77)).perm(0o1777)}, stranger,
		func(d string) error { return unix.Rmdir(d + "/s/a") }, unix.EPERM, ""},
	{"directory-not-writable", "makes nothing in a directory it may not write (open(2))", []node{dir("s").perm(0o755)}, stranger,
		func(d string) error { return unix.Mkdir(d+"/s/new", 0o755) }, unix.EACCES, ""},
	{"directory-not-searchable", "does not look up names in a directory it may not search (path_resolution(7))", []node{dir("s", file("a", "").perm(0o666)).perm(0o766)}, stranger,
		func(d string) error { return unix.Access(d+"/s/a", unix.F_OK) }, unix.EACCES, ""},
	{"utimes-now-by-writer", "sets the times to now where it may write (utimensat(2))", []node{notOwned("a").perm(0o666)}, stranger,
		func(d string) error { return unix.UtimesNanoAt(unix.AT_FDCWD, d+"/a", nil, 0) }, 0, ""},
	{"utimes-by-writer", "does not set other times where it may only write (utimensat(2))", []node{notOwned("a").perm(0o666)}, stranger,
		func(d string) error { return setTimes(d+"/a", stamp.Add(time.Hour)) }, unix.EPERM, ""},
	{"chmod-by-writer", "does not change a mode where it may only write (chmod(2))", []node{notOwned("a").perm(0o666)}, stranger,
		func(d string) error { return unix.Chmod(d+"/a", 0o777) }, unix.EPERM, ""},
	{"truncate-by-reader", "does not truncate what it may only read (truncate(2))", []node{notOwned("a").perm(0o644)}, stranger,
		func(d string) error { return unix.Truncate(d+"/a", 0) }, unix.EACCES, ""},
	{"open-truncating-by-reader", "does not truncate by opening what it may only read (open(2))", []node{notOwned("a").perm(0o644)}, stranger,
		func(d string) error { return opened(unix.O_RDONLY | unix.O_TRUNC)(d + "/a") }, unix.EACCES, ""},
	{"security-attribute", "sets no security attribute (xattr(7))", []node{file("a", "").owned(nobody, nobody)}, stranger,
		func(d string) error { return unix.Setxattr(d+"/a", "security.kplay", []byte("x"), 0) }, unix.EPERM, ""},
	{"protected-hardlink", "links no file it may not write, with protected_hardlinks (proc(5))", []node{notOwned("a").perm(0o644)}, stranger,
		func(d string) error { return unix.Link(d+"/a", d+"/b") }, unix.EPERM, "protected_hardlinks"},
	{"protected-symlink", "follows no link of another in a sticky directory, with protected_symlinks (proc(5))", []node{file("a", ""), dir("s", symlink("l", "../a").owned(5, 77)).perm(0o1777)}, stranger,
		func(d string) error { return opened(unix.O_RDONLY)(d + "/s/l") }, unix.EACCES, "protected_symlinks"},
	{"protected-regular", "opens no file of another to create it in a sticky directory, with protected_regular (proc(5))", []node{dir("s", notOwned("a").perm(0o666)).perm(0o1777)}, stranger,
		func(d string) error { return opened(unix.O_WRONLY | unix.O_CREAT)(d + "/s/a") }, unix.EACCES, "protected_regular"},
	{"protected-fifo", "opens no FIFO of another to create it in a sticky directory, with protected_fifos (proc(5))", []node{dir("s", fifo("a").perm(0o666).owned(5, 77)).perm(0o1777)}, stranger,
		func(d string) error { return opened(unix.O_RDWR | unix.O_CREAT)(d + "/s/a") }, unix.EACCES, "protected_fifos"},
	{"real-user", "is asked as its real user (access(2))", []node{file("a", "").perm(0o600)}, task{uid: nobody, real: true},
		func(d string) error { return unix.Access(d+"/a", unix.R_OK) }, unix.EACCES, ""},
	{"effective-user", "is asked as its effective user (access(2), AT_EACCESS)", []node{file("a", "").perm(0o600)}, task{uid: nobody, real: true},
		func(d string) error { return unix.Faccessat2(unix.AT_FDCWD, d+"/a", unix.R_OK, unix.AT_EACCESS) }, 0, ""},
	{"file-system-user", "reads as its file system user (setfsuid(2))", []node{file("a", "").perm(0o600)}, task{uid: nobody, fsuid: true},
		func(d string) error { return opened(unix.O_RDONLY)(d + "/a") }, unix.EACCES, ""},
	{"file-system-user-creates", "makes files of its file system user (setfsuid(2))", []node{dir("s").perm(0o777)}, task{uid: nobody, fsuid: true},
		func(d string) error { return os.WriteFile(d+"/s/new", nil, 0o644) }, 0, ""},
}

// capabilityRights are what root does without a capability (capabilities(7)).
// That the mounter has it makes no difference.
var capabilityRights = []right{
	{"dac-read", "does not read what its mode forbids, without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH", []node{notOwned("a").perm(0o600)}, lacking(unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH),
		func(d string) error { return opened(unix.O_RDONLY)(d + "/a") }, unix.EACCES, ""},
	{"dac-read-search", "reads what its mode forbids, with CAP_DAC_READ_SEARCH alone", []node{notOwned("a").perm(0)}, lacking(unix.CAP_DAC_OVERRIDE),
		func(d string) error { return opened(unix.O_RDONLY)(d + "/a") }, 0, ""},
	{"dac-write", "does not write what its mode forbids, without CAP_DAC_OVERRIDE", []node{notOwned("a").perm(0o644)}, lacking(unix.CAP_DAC_OVERRIDE),
		func(d string) error { return opened(unix.O_WRONLY)(d + "/a") }, unix.EACCES, ""},
	{"dac-directory", "makes nothing in another's directory, without CAP_DAC_OVERRIDE", []node{dir("s").perm(0o755).owned(5, 77)}, lacking(unix.CAP_DAC_OVERRIDE),
		func(d string) error { return unix.Mkdir(d+"/s/new", 0o755) }, unix.EACCES, ""},
	{"dac-execute", "executes nothing that has no execute bit, with all capabilities", []node{file("a", script).perm(0o666)}, task{},
		func(d string) error { return run(d + "/a") }, unix.EACCES, ""},
	{"fowner-chmod", "does not change another's mode, without CAP_FOWNER", []node{notOwned("a")}, lacking(unix.CAP_FOWNER),
		func(d string) error { return unix.Chmod(d+"/a", 0o600) }, unix.EPERM, ""},
	{"fowner-utimes", "does not set another's times, without CAP_FOWNER", []node{notOwned("a")}, lacking(unix.CAP_FOWNER),
		func(d string) error { return setTimes(d+"/a", stamp.Add(time.Hour)) }, unix.EPERM, ""},
	{"fowner-noatime", "does not open another's file with O_NOATIME, without CAP_FOWNER", []node{notOwned("a")}, lacking(unix.CAP_FOWNER),
		func(d string) error { return opened(unix.O_RDONLY | unix.O_NOATIME)(d + "/a") }, unix.EPERM, ""},
	{"fowner-sticky", "does not remove another's file from another's sticky directory, without CAP_FOWNER", []node{dir("s", notOwned("a")).perm(0o1777).owned(5, 77)}, lacking(unix.CAP_FOWNER),
		func(d string) error { return unix.Unlink(d + "/s/a") }, unix.EPERM, ""},
	{"chown-other", "does not change the owner, without CAP_CHOWN", []node{notOwned("a")}, lacking(unix.CAP_CHOWN),
		func(d string) error { return unix.Lchown(d+"/a", 7, 8) }, unix.EPERM, ""},
	{"fsetid-write", "clears set-ID bits by a write, without CAP_FSETID", []node{file("a", "text").perm(0o6777)}, lacking(unix.CAP_FSETID),
		func(d string) error {
			return withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "T") })(d + "/a")
		}, 0, ""},
	{"fsetid-truncate", "clears set-ID bits by truncating, without CAP_FSETID", []node{file("a", "text").perm(0o6777)}, lacking(unix.CAP_FSETID),
		func(d string) error { return unix.Truncate(d+"/a", 1) }, 0, ""},
	{"fsetid-chmod", "does not set set-group-ID for a group it is not in, without CAP_FSETID", []node{file("a", "text").owned(0, 77)}, lacking(unix.CAP_FSETID),
		func(d string) error { return unix.Chmod(d+"/a", 0o2755) }, 0, ""},
	{"mknod", "makes no device, without CAP_MKNOD", []node{dir("s")}, lacking(unix.CAP_MKNOD),
		func(d string) error { return unix.Mknod(d+"/s/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) }, unix.EPERM, ""},
	{"trusted-attribute-set", "sets no trusted attribute, without CAP_SYS_ADMIN", []node{file("a", "text")}, lacking(unix.CAP_SYS_ADMIN),
		func(d string) error { return unix.Setxattr(d+"/a", "trusted.x", []byte("x"), 0) }, unix.EPERM, ""},
	{"trusted-attribute-get", "gets no trusted attribute, without CAP_SYS_ADMIN", []node{file("a", "text").xattr("trusted.x", "1")}, lacking(unix.CAP_SYS_ADMIN),
		func(d string) error { _, err := getXattr(d+"/a", "trusted.x"); return err }, unix.ENODATA, ""},
	{"trusted-attribute-remove", "removes no trusted attribute, without CAP_SYS_ADMIN", []node{file("a", "text").xattr("trusted.x", "1")}, lacking(unix.CAP_SYS_ADMIN),
		func(d string) error { return unix.Removexattr(d+"/a", "trusted.x") }, unix.EPERM, ""},
	{"setfcap", "gives no file capabilities, without CAP_SETFCAP", []node{file("a", "text")}, lacking(unix.CAP_SETFCAP),
		func(d string) error { return unix.Setxattr(d+"/a", capability, []byte(netRaw()), 0) }, unix.EPERM, ""},
	{"setfcap-remove", "takes no file capabilities away, without CAP_SETFCAP", []node{file("a", "text").xattr(capability, netRaw())}, lacking(unix.CAP_SETFCAP),
		func(d string) error { return unix.Removexattr(d+"/a", capability) }, unix.EPERM, ""},
	{"linux-immutable", "makes nothing immutable, without CAP_LINUX_IMMUTABLE", []node{file("a", "text")}, lacking(unix.CAP_LINUX_IMMUTABLE),
		func(d string) error { return setFlags(d+"/a", unix.STATX_ATTR_IMMUTABLE) }, unix.EPERM, ""},
	{"lease", "takes no lease on another's file, without CAP_LEASE", []node{notOwned("a")}, lacking(unix.CAP_LEASE),
		func(d string) error {
			return withFd(unix.O_RDONLY, func(fd int) error {
				_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
				return err
			})(d + "/a")
		}, unix.EACCES, ""},
}

func rightCases() (cases []suites.Case) {
	for _, of := range []struct {
		who    string
		rights []right
	}{{"A user", groupRights}, {"A task", ownerRights}, {"Root", capabilityRights}} {
		for _, r := range of.rights {
			cases = append(cases, suites.Case{
				Name: "right-" + r.name,
				Doc:  of.who + " " + r.doc + ", before and after a copy-up as on one file system (overlayfs.rst, permission model, rule 1).",
				Run:  func(t *suites.T) { r.run(t, false); r.run(t, true) },
			})
		}
	}
	return cases
}

func (r right) run(t *suites.T, copiedUp bool) {
	o := newOverlay(t, lower(dir("d", r.nodes...).perm(0o777)))
	plain := o.layer("plain", r.nodes)
	o.do("open the directory", os.Chmod(plain, 0o777))
	if r.sysctl != "" {
		o.setSysctl("fs/"+r.sysctl, "1")
	}
	when := "before the copy-up"
	if copiedUp {
		when = "after the copy-up"
		o.copyUp("d")
	}
	expected := r.task.run(func() error { return r.do(plain) })
	if r.want == 0 && expected != nil || r.want != 0 && !errors.Is(expected, r.want) {
		t.Skipf("on one file system it is %v here", outcome(expected))
	}
	err := r.task.run(func() error { return r.do(o.at("d")) })
	if r.want != 0 {
		o.refused(when, err, r.want)
	} else {
		o.do(when, err)
	}
	if r.want != 0 && !copiedUp {
		o.upperHolds()
	}
	r.compare(o, when, plain)
}

// compare wants the overlay to show what the plain directory does.
func (r right) compare(o *overlay, when, plain string) {
	o.t.Helper()
	want, err := readTree(plain)
	o.do("read the plain directory", err)
	o.everyView(func(v view) {
		o.t.Helper()
		got, err := readTree(o.at("d"))
		o.do("read the overlay", err)
		compareTrees(got, want, true, func(path, format string, args ...any) {
			o.t.Helper()
			o.t.Errorf(when+", "+string(v)+": "+path+": "+format, args...)
		})
	})
}

// copyUp copies up all there is under name, without a change.
func (o *overlay) copyUp(name string) {
	o.t.Helper()
	tr, err := readTree(o.at(name))
	o.do("read what is to be copied up", err)
	for path, f := range tr {
		o.do("copy up", setTimes(filepath.Join(o.at(name), path), time.Unix(f.Mtim.Unix())))
	}
}

// setSysctl sets a value of the kernel until the case ends.
func (o *overlay) setSysctl(name, value string) {
	o.t.Helper()
	path := "/proc/sys/" + name
	was, err := os.ReadFile(path)
	if err != nil {
		o.t.Skipf("this kernel has no %s", name)
	}
	o.t.Cleanup(func() { o.do("set "+name+" back", os.WriteFile(path, was, 0)) })
	o.do("set "+name, os.WriteFile(path, []byte(value), 0))
}
