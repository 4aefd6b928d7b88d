package overlayfs

import (
	"maps"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// A trespass is something root of a user namespace does to what belongs to
// nobody it knows: with the rights of any other user, for its own do not reach
// there, and without copying up, for the copy could not have that owner
// (user_namespaces(7); fs/overlayfs/copy_up.c, ovl_copy_up_one).
type trespass struct {
	name, doc string
	do        func(*overlay) error
	want      unix.Errno // 0: it is allowed
}

// trespasses are done to these: open and closed in d, both of root outside, and
// fd, a directory of root outside.
var (
	theirs = []node{dir("d", file("open", "text").perm(0o666).foreign(), file("closed", "text").perm(0o600).foreign(), file("own", "text")),
		dir("fd", file("x", "text").perm(0o666)).perm(0o777).foreign()}
	trespasses = []trespass{
		{"read-open", "reads what all may read", func(o *overlay) error { return opened(unix.O_RDONLY)(o.at("d/open")) }, 0},
		{"read-closed", "does not read what others may not", func(o *overlay) error { return opened(unix.O_RDONLY)(o.at("d/closed")) }, unix.EACCES},
		{"open-for-writing", "does not copy up by opening", func(o *overlay) error { return opened(unix.O_WRONLY)(o.at("d/open")) }, unix.EOVERFLOW},
		{"truncate", "does not copy up by truncating", func(o *overlay) error { return unix.Truncate(o.at("d/open"), 0) }, unix.EOVERFLOW},
		{"open-closed-for-writing", "does not write what others may not", func(o *overlay) error { return opened(unix.O_WRONLY)(o.at("d/closed")) }, unix.EACCES},
		{"chmod", "does not change another's mode", func(o *overlay) error { return unix.Chmod(o.at("d/open"), 0o777) }, unix.EPERM},
		{"chown", "does not take another's file", func(o *overlay) error { return unix.Lchown(o.at("d/open"), 0, 0) }, unix.EPERM},
		{"utimes", "does not set another's times", func(o *overlay) error { return setTimes(o.at("d/open"), stamp) }, unix.EPERM},
		{"rename", "does not copy up by renaming", func(o *overlay) error { return unix.Rename(o.at("d/open"), o.at("d/new")) }, unix.EOVERFLOW},
		{"create-in", "does not copy up another's directory to make a file in it", func(o *overlay) error { return os.WriteFile(o.at("fd/new"), nil, 0o644) }, unix.EOVERFLOW},
		{"unlink-in", "does not copy up another's directory to remove from it", func(o *overlay) error { return unix.Unlink(o.at("fd/x")) }, unix.EOVERFLOW},
		{"set-attribute", "does not set an attribute of another's file", func(o *overlay) error { return unix.Setxattr(o.at("d/open"), accessACL, []byte(acl(0o640, 1, 4)), 0) }, unix.EPERM},
	}
)

func trespassCases() (cases []suites.Case) {
	for _, tr := range trespasses {
		cases = append(cases, confined{
			name:  "userns-foreign-" + tr.name,
			doc:   "Root of a user namespace " + tr.doc + ", if the owner has no ID there (user_namespaces(7); fs/overlayfs/copy_up.c, ovl_copy_up_one).",
			lower: theirs,
			inside: func(o *overlay) {
				if tr.name == "set-attribute" {
					needACL(o.t)
				}
				o.mountInside()
				if err := tr.do(o); tr.want == 0 {
					o.do(tr.name, err)
				} else {
					o.refused(tr.name, err, tr.want)
				}
				for _, name := range []string{"d/open", "d/closed", "fd"} {
					if st := o.stat(name); st.Uid != overflowID || st.Gid != overflowID {
						o.t.Errorf("%s is shown as %d:%d, want %d", name, st.Uid, st.Gid, overflowID)
					}
				}
			},
			outside: func(o *overlay) {
				upper, err := readTree(o.upper)
				o.do("read the upper layer", err)
				delete(upper, ".")
				delete(upper, "d") // copied up on the way
				if len(upper) > 0 {
					o.t.Errorf("the upper layer holds %v, want nothing but d", slices.Collect(maps.Keys(upper)))
				}
			},
		}.suitesCase())
	}
	return cases
}
