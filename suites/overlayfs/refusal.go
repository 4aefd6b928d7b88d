package overlayfs

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A refusal is a mount that must not come about. Of the options $l, $m, $u, $w
// and $f stand for two lower layers, the upper layer, the work directory, and a
// file.
type refusal struct {
	name    string
	options string
	want    []unix.Errno
	needs   string // the option the kernel must have; empty for none
	doc     string
}

// The errors of refusals that come in several. A layer that is no directory is
// EINVAL in 6.1 and 6.12, and ENOTDIR where the path is looked up as one; before
// 4.0 the colons are a part of a path that is not there.
var (
	invalid      = []unix.Errno{unix.EINVAL}
	notDirectory = []unix.Errno{unix.EINVAL, unix.ENOTDIR}
	missing      = []unix.Errno{unix.ENOENT}
	emptyName    = []unix.Errno{unix.EINVAL, unix.ENOENT}
	overlapping  = []unix.Errno{unix.ELOOP}
)

// refusals are mounted by themselves; the layers they name are those of run.
var refusals = []refusal{
	{"without-lower", "upperdir=$u,workdir=$w", invalid, "",
		"A mount needs a lower layer (overlayfs.rst, upper and lower)"},
	{"without-work", "lowerdir=$l,upperdir=$u", invalid, "",
		"An upper layer needs a work directory (overlayfs.rst, upper and lower)"},
	{"without-upper-one-lower", "lowerdir=$l", invalid, "",
		"Without upper layer there must be two lower ones (fs/overlayfs/super.c, ovl_get_lowerstack)"},
	{"missing-lower", "lowerdir=$l/none,upperdir=$u,workdir=$w", missing, "",
		"A lower layer must be there (mount(2))"},
	{"missing-upper", "lowerdir=$l,upperdir=$u/none,workdir=$w", missing, "",
		"The upper layer must be there (mount(2))"},
	{"missing-work", "lowerdir=$l,upperdir=$u,workdir=$w/none", missing, "",
		"The work directory must be there (mount(2))"},
	{"lower-is-file", "lowerdir=$f,upperdir=$u,workdir=$w", notDirectory, "",
		"A lower layer must be a directory (overlayfs.rst, upper and lower)"},
	{"upper-is-file", "lowerdir=$l,upperdir=$f,workdir=$w", notDirectory, "",
		"The upper layer must be a directory (overlayfs.rst, upper and lower)"},
	{"work-is-file", "lowerdir=$l,upperdir=$u,workdir=$f", notDirectory, "",
		"The work directory must be a directory (overlayfs.rst, upper and lower)"},
	{"work-on-other-file-system", "lowerdir=$l,upperdir=$u,workdir=/dev", invalid, "",
		"The work directory must be on the file system of the upper layer (overlayfs.rst, upper and lower)"},
	{"work-is-upper", "lowerdir=$l,upperdir=$u,workdir=$u", invalid, "",
		"The work directory must not be the upper layer (fs/overlayfs/super.c, ovl_workdir_ok)"},
	{"work-in-upper", "lowerdir=$l,upperdir=$u,workdir=$u/d", invalid, "",
		"The work directory must not be in the upper layer (fs/overlayfs/super.c, ovl_workdir_ok)"},
	{"upper-in-work", "lowerdir=$l,upperdir=$u/d,workdir=$u", invalid, "",
		"The upper layer must not be in the work directory (fs/overlayfs/super.c, ovl_workdir_ok)"},
	{"unknown-option", "lowerdir=$l,upperdir=$u,workdir=$w,kplay=on", invalid, "",
		"An option the kernel does not know is refused (mount(2))"},
	{"option-without-value", "lowerdir,upperdir=$u,workdir=$w", invalid, "",
		"A layer option without a value is refused (mount(2))"},
	{"empty-lower-between", "lowerdir=$l::$m,upperdir=$u,workdir=$w", emptyName, "",
		"An empty name between two layers is refused (overlayfs.rst, multiple lower layers)"},
	{"empty-lower-at-end", "lowerdir=$l:,upperdir=$u,workdir=$w", emptyName, "",
		"An empty name after the last layer is refused (overlayfs.rst, multiple lower layers)"},
	{"empty-lower-at-start", "lowerdir=:$l,upperdir=$u,workdir=$w", emptyName, "",
		"An empty name before the first layer is refused (overlayfs.rst, multiple lower layers)"},
	{"bad-redirect-dir", "lowerdir=$l,upperdir=$u,workdir=$w,redirect_dir=maybe", invalid, "redirect_dir",
		"A value redirect_dir does not have is refused (overlayfs.rst, renaming directories)"},
	{"bad-index", "lowerdir=$l,upperdir=$u,workdir=$w,index=maybe", invalid, "index",
		"A value index does not have is refused (overlayfs.rst, sharing and copying layers, and non-standard behavior)"},
	{"bad-xino", "lowerdir=$l,upperdir=$u,workdir=$w,xino=maybe", invalid, "xino",
		"A value xino does not have is refused (overlayfs.rst, overlay objects)"},
	{"bad-metacopy", "lowerdir=$l,upperdir=$u,workdir=$w,metacopy=maybe", invalid, "metacopy",
		"A value metacopy does not have is refused (overlayfs.rst, metadata only copy up)"},
	{"metacopy-without-redirect", "lowerdir=$l,upperdir=$u,workdir=$w,metacopy=on,redirect_dir=off", invalid, "metacopy",
		"metacopy=on with redirect_dir=off is a conflict (overlayfs.rst, metadata only copy up)"},
	{"nfs-export-with-metacopy", "lowerdir=$l,upperdir=$u,workdir=$w,nfs_export=on,metacopy=on", invalid, "metacopy",
		"nfs_export=on with metacopy=on is a conflict (overlayfs.rst, NFS export)"},
	{"nfs-export-without-index", "lowerdir=$l,upperdir=$u,workdir=$w,nfs_export=on,index=off", invalid, "nfs_export",
		"nfs_export=on with index=off is a conflict where there is an upper layer (overlayfs.rst, NFS export)"},
	{"bad-nfs-export", "lowerdir=$l,upperdir=$u,workdir=$w,nfs_export=maybe", invalid, "nfs_export",
		"A value nfs_export does not have is refused (overlayfs.rst, NFS export)"},
	{"bad-uuid", "lowerdir=$l,upperdir=$u,workdir=$w,uuid=maybe", invalid, "",
		"A value uuid does not have is refused (overlayfs.rst, UUID and fsid)"},
	{"metacopy-with-nofollow", "lowerdir=$l,upperdir=$u,workdir=$w,metacopy=on,redirect_dir=nofollow", invalid, "metacopy",
		"metacopy=on with redirect_dir=nofollow is a conflict (overlayfs.rst, metadata only copy up)"},
	{"metacopy-with-follow", "lowerdir=$l,upperdir=$u,workdir=$w,metacopy=on,redirect_dir=follow", invalid, "metacopy",
		"metacopy=on with redirect_dir=follow is a conflict where there is an upper layer (overlayfs.rst, metadata only copy up)"},
	{"userxattr-with-redirect", "lowerdir=$l,upperdir=$u,workdir=$w,userxattr,redirect_dir=on", invalid, "",
		"userxattr with redirect_dir=on is a conflict: user attributes are anyone's to set (fs/overlayfs/super.c, ovl_parse_opt)"},
	{"userxattr-with-metacopy", "lowerdir=$l,upperdir=$u,workdir=$w,userxattr,metacopy=on", invalid, "metacopy",
		"userxattr with metacopy=on is a conflict: user attributes are anyone's to set (fs/overlayfs/super.c, ovl_parse_opt)"},
	{"lower-twice-of-three", "lowerdir=$l:$m:$l,upperdir=$u,workdir=$w", overlapping, "",
		"A directory cannot be two layers, with another between them either (overlayfs.rst, sharing and copying layers; since 5.2)"},
	{"same-lower-twice", "lowerdir=$l:$l,upperdir=$u,workdir=$w", overlapping, "",
		"A directory cannot be two layers (overlayfs.rst, sharing and copying layers; since 5.2)"},
	{"lower-is-upper", "lowerdir=$u,upperdir=$u,workdir=$w", overlapping, "",
		"A directory cannot be a lower and the upper layer (overlayfs.rst, sharing and copying layers; since 5.2)"},
	{"lower-in-lower", "lowerdir=$l:$l/d,upperdir=$u,workdir=$w", overlapping, "",
		"A lower layer cannot be inside another (overlayfs.rst, sharing and copying layers; since 5.2)"},
	{"lower-in-upper", "lowerdir=$u/d,upperdir=$u,workdir=$w", overlapping, "",
		"A lower layer cannot be inside the upper one (overlayfs.rst, sharing and copying layers; since 5.2)"},
}

func refusalCases() (cases []suites.Case) {
	for _, r := range refusals {
		cases = append(cases, suites.Case{
			Name: "mount-refused-" + r.name,
			Doc:  r.doc + ", and refusing it leaves the layers free for another.",
			Run:  r.run,
		})
	}
	return cases
}

func (r refusal) run(t *suites.T) {
	if r.needs != "" && lacks(t, r.needs) {
		t.Skipf("this kernel's overlayfs has no %s", r.needs)
	}
	if strings.Contains(r.options, ":") && !severalLowers(t) {
		t.Skip("this kernel's overlayfs takes one lower layer only")
	}
	o := layers(t, lower(file("a", "lower"), dir("d")), lower(dir("m")), upper(file("u", "upper"), dir("d")))
	data := strings.NewReplacer("$l", o.lowers[0], "$m", o.lowers[1], "$u", o.upper, "$w", o.work,
		"$f", o.inLower("a")).Replace(r.options)
	err := unix.Mount("overlay", o.merged, fsType(t), 0, data)
	if err == nil {
		o.mounted = true
		if r.want[0] == unix.ELOOP && lacks(t, "metacopy") {
			t.Skip("this kernel's overlayfs does not look for layers that overlap (5.2)")
		}
	}
	o.refused("mount with "+r.options, err, r.want...)
	if o.mounted {
		return
	}
	o.lowers, o.before = o.lowers[:1], o.before[:1]
	o.do("mount after a refusal", o.mount())
	o.shows(file("a", "lower"), file("u", "upper"), dir("d"))
}
