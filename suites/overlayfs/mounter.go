package overlayfs

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A mounter has mounted the overlay with less than all rights. What the overlay
// does in its layers it does with those, whoever asks for it (overlayfs.rst,
// permission model, rule 2): root is refused, too, nothing is half done, and a
// mounter with all rights makes it work.
type mounter struct {
	name, doc string
	task      task
	nodes     []node // in the lower layer
	do        func(*overlay) error
	want      unix.Errno // 0: it works
	holds     []node     // the upper layer afterwards
	readOnly  bool       // without upper layer, whose work directory takes CAP_DAC_OVERRIDE
}

// outsider is a user who may mount, and no more; squatter one who may enter the
// work directory, too.
var (
	outsider = task{uid: nobody, gid: nobody, with: []int{unix.CAP_SYS_ADMIN}}
	squatter = task{uid: nobody, gid: nobody, with: []int{unix.CAP_SYS_ADMIN, unix.CAP_DAC_OVERRIDE}}
)

var mounters = []mounter{
	{"without-chown", "copies up no file of another, without CAP_CHOWN", lacking(unix.CAP_CHOWN), []node{notOwned("a")},
		func(o *overlay) error { return unix.Chmod(o.at("a"), 0o600) }, unix.EPERM, nil, false},
	{"without-chown-own", "copies up its own file, without CAP_CHOWN", lacking(unix.CAP_CHOWN), []node{file("a", "text")},
		func(o *overlay) error { return unix.Chmod(o.at("a"), 0o600) }, 0, []node{file("a", "text").perm(0o600)}, false},
	{"without-fowner", "sets no times of another's file, without CAP_FOWNER", lacking(unix.CAP_FOWNER), []node{notOwned("a")},
		func(o *overlay) error { return setTimes(o.at("a"), stamp.Add(time.Hour)) }, unix.EPERM, []node{notOwned("a")}, false},
	{"without-mknod", "copies up no device, without CAP_MKNOD", lacking(unix.CAP_MKNOD), []node{device("null", unix.S_IFCHR, 1, 3)},
		func(o *overlay) error { return unix.Chmod(o.at("null"), 0o600) }, unix.EPERM, nil, false},
	{"without-mknod-creates", "makes no device, without CAP_MKNOD", lacking(unix.CAP_MKNOD), []node{file("a", "")},
		func(o *overlay) error {
			return unix.Mknod(o.at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
		}, unix.EPERM, nil, false},
	{"without-mknod-whiteout", "makes whiteouts, without CAP_MKNOD (fs/namei.c, vfs_mknod; since 5.8)", lacking(unix.CAP_MKNOD), []node{file("a", "")},
		func(o *overlay) error { return unix.Unlink(o.at("a")) }, 0, []node{whiteout("a")}, false},
	{"without-setfcap", "copies up no file with capabilities, without CAP_SETFCAP", lacking(unix.CAP_SETFCAP), []node{file("a", "text").xattr(capability, netRaw())},
		func(o *overlay) error { return setTimes(o.at("a"), stamp) }, unix.EPERM, nil, false},
	{"without-dac-read", "reads no file whose mode forbids it, without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH", lacking(unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH), []node{notOwned("a").perm(0o600)},
		func(o *overlay) error { return opened(unix.O_RDONLY)(o.at("a")) }, unix.EACCES, nil, true},
	{"without-dac-access", "says that no file may be used whose mode forbids it, without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH", lacking(unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH), []node{notOwned("a").perm(0o600)},
		func(o *overlay) error { return unix.Access(o.at("a"), unix.R_OK) }, unix.EACCES, nil, true},
	{"without-dac-search", "looks nothing up in a directory whose mode forbids it, without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH", lacking(unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH), []node{dir("d", file("x", "")).perm(0o700).owned(5, 77)},
		func(o *overlay) error { return unix.Access(o.at("d/x"), unix.F_OK) }, unix.EACCES, nil, true},
	{"without-dac-list", "lists no directory whose mode forbids it, without CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH", lacking(unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH), []node{dir("d", file("x", "")).perm(0o700).owned(5, 77)},
		func(o *overlay) error { _, err := os.ReadDir(o.at("d")); return err }, unix.EACCES, nil, true},
	{"outsider-reads-open", "reads what all may read, with CAP_SYS_ADMIN alone", outsider, []node{file("a", "text").perm(0o644)},
		func(o *overlay) error { return opened(unix.O_RDONLY)(o.at("a")) }, 0, nil, true},
	{"outsider-reads-closed", "reads no file of root that others may not, with CAP_SYS_ADMIN alone", outsider, []node{file("a", "text").perm(0o600)},
		func(o *overlay) error { return opened(unix.O_RDONLY)(o.at("a")) }, unix.EACCES, nil, true},
	{"squatter-copies-up", "copies up no file of root, with CAP_SYS_ADMIN and CAP_DAC_OVERRIDE alone", squatter, []node{file("a", "text").perm(0o644)},
		func(o *overlay) error { return unix.Chmod(o.at("a"), 0o600) }, unix.EPERM, nil, false},
	{"squatter-copies-own", "copies up its own file, with CAP_SYS_ADMIN and CAP_DAC_OVERRIDE alone", squatter, []node{file("a", "text").owned(nobody, nobody)},
		func(o *overlay) error { return unix.Chmod(o.at("a"), 0o600) }, 0, []node{file("a", "text").perm(0o600).owned(nobody, nobody)}, false},
	{"squatter-removes", "removes what is in the upper layer's own directory, with CAP_SYS_ADMIN and CAP_DAC_OVERRIDE alone", squatter, []node{file("a", "text")},
		func(o *overlay) error { return unix.Unlink(o.at("a")) }, 0, []node{whiteout("a").owned(nobody, nobody)}, false},
}

func mounterCases() (cases []suites.Case) {
	for _, m := range mounters {
		cases = append(cases, suites.Case{
			Name: "mounter-" + m.name,
			Doc:  "The mounter's rights count in the layers: the overlay " + m.doc + " (overlayfs.rst, permission model, rule 2; capabilities(7)).",
			Run:  m.run,
		})
	}
	return append(cases, mounterCasesApart...)
}

func (m mounter) run(t *suites.T) {
	parts := []part{lower(m.nodes...)}
	if m.readOnly {
		parts = append(parts, lower(), readOnly)
	}
	all := newOverlay(t, parts...)
	all.do("do it with a mounter of all rights", m.do(all))

	o := layers(t, parts...)
	for _, path := range []string{o.dir + "/upper", o.dir + "/work"} {
		o.do("give a layer to the mounter", os.Lchown(path, m.task.uid, m.task.gid))
	}
	o.do("mount with fewer rights", m.task.run(o.mount))
	err := m.do(o)
	if !m.readOnly {
		o.upperHolds(m.holds...)
	}
	if m.want == 0 {
		o.do("do it", err)
		return
	}
	o.refused("do it", err, m.want)
	o.unmount()
	o.do("mount with all rights", o.mount())
	o.shows(m.nodes...)
}

var mounterCasesApart = []suites.Case{
	{
		Name: "mounter-outsider-of-work",
		Doc:  "The work directory is closed to all, so that without CAP_DAC_OVERRIDE no overlay with an upper layer is mounted: EACCES (fs/overlayfs/super.c, ovl_workdir_create).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower").owned(nobody, nobody)))
			o.do("give the layers away", errors.Join(os.Lchown(o.upper, nobody, nobody), os.Lchown(o.work, nobody, nobody)))
			o.refused("mount", outsider.run(o.mount), unix.EACCES)
			o.do("mount with all rights", o.mount())
			o.shows(file("a", "lower").owned(nobody, nobody))
		},
	},
	{
		Name: "mounter-without-sys-admin",
		Doc:  "Without CAP_SYS_ADMIN no overlay is mounted: EPERM (mount(2)).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")))
			o.refused("mount", lacking(unix.CAP_SYS_ADMIN).run(o.mount), unix.EPERM)
			o.do("mount with it", o.mount())
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "mounter-rights-of-mount-time",
		Doc:  "The mounter's rights are those of the time of the mount: those of who asks later do not count in the layers (overlayfs.rst, permission model).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(dir("d", file("a", "lower").owned(5, 77), file("b", "")).owned(5, 77).perm(0o777), file("c", "").owned(5, 77).perm(0o666)))
			poor := lacking(unix.CAP_SYS_ADMIN, unix.CAP_CHOWN, unix.CAP_FOWNER, unix.CAP_MKNOD, unix.CAP_SETFCAP)
			o.do("change without capabilities", poor.run(func() error {
				if err := os.RemoveAll(o.at("d")); err != nil {
					return err
				}
				if err := unix.Mkdir(o.at("d"), 0o755); err != nil {
					return err
				}
				return withFd(unix.O_WRONLY, func(fd int) error { return writeAll(fd, "new") })(o.at("c"))
			}))
			o.shows(dir("d"), file("c", "new").owned(5, 77).perm(0o666))
			o.upperHolds(dir("d").opaque(), file("c", "new").owned(5, 77).perm(0o666))
		},
	},
}
