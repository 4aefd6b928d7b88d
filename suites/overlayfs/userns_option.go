package overlayfs

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// usernsOptions are what a mount in a user namespace may be asked for. What needs
// attributes of the overlay's own is refused or done without.
var usernsOptions = []struct {
	name    string
	options string
	refuse  bool
	needs   string // the option lacks() knows it by
}{
	{"redirect", "redirect_dir=on", false, "redirect_dir"},
	{"metacopy", "metacopy=on", false, "metacopy"},
	{"index", "index=on", false, "index"},
	{"nfs-export", "nfs_export=on", false, "nfs_export"},
	{"xino", "xino=on", false, "xino"},
	{"userxattr-redirect", "userxattr,redirect_dir=on", true, "redirect_dir"},
	{"userxattr-metacopy", "userxattr,metacopy=on", true, "metacopy"},
	{"userxattr-index", "userxattr,index=on", false, "index"},
	{"userxattr-nfs-export", "userxattr,nfs_export=on", false, "nfs_export"},
	{"userxattr-xino", "userxattr,xino=on", false, "xino"},
}

func usernsOptionCases() (cases []suites.Case) {
	for _, u := range usernsOptions {
		promise := " is refused or does no harm"
		if u.refuse {
			promise = " is refused, for user attributes are anyone's to set"
		}
		cases = append(cases, ownFSCase("userns-option-"+u.name,
			"In a user namespace "+u.options+promise+" (overlayfs.rst, user xattr; fs/overlayfs/super.c, ovl_make_workdir).",
			func(t *suites.T) {
				o := onOwnFS(t, lower(dir("d", file("x", "lower")), file("a", "lower"), file("b", "lower"), file("c", "lower")))
				if lacks(t, u.needs) {
					t.Skipf("this kernel's overlayfs has no %s", u.needs)
				}
				if !mountsInside(t) {
					t.Skip("this kernel's overlayfs is not mounted in user namespaces (5.11)")
				}
				o.options = strings.Split(u.options, ",")
				if err := o.mount(); err != nil || u.refuse {
					o.refused("mount", err, unix.EINVAL, unix.EPERM)
					o.options = nil
					o.do("mount without", o.mount())
				}
				o.chmod("a", 0o600)
				o.unlink("b")
				o.link("c", "e")
				o.write("e", "changed")
				d := "d"
				if err := unix.Rename(o.at("d"), o.at("r")); err == nil {
					d = "r"
				} else {
					o.refused("rename a directory", err, unix.EXDEV)
				}
				o.shows(dir(d, file("x", "lower")), file("a", "lower").perm(0o600), file("c", "changed"), file("e", "changed"))
			}))
	}
	return cases
}
