package overlayfs

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// userPrivate is how the names of the overlay's own attributes begin with
// userxattr.
const userPrivate = "user.overlay."

// usernsAttrCases are about the attributes of overlays in a user namespace: those
// in which they keep their state, and those that name users.
var usernsAttrCases = []suites.Case{
	ownFSCase("userns-opaque",
		"With userxattr a directory made over a removed one is marked in a user attribute, and shows nothing of it (overlayfs.rst, user xattr).",
		func(t *suites.T) {
			o := onOwnFS(t, userXattrs, lower(dir("d", file("a", ""), dir("s", file("b", "")))))
			o.mountInside("userxattr")
			o.do("remove d", os.RemoveAll(o.at("d")))
			o.mkdir("d")
			o.write("d/new", "new")
			o.shows(dir("d", file("new", "new")))
			o.upperHolds(dir("d", file("new", "new")).xattr(userPrivate+"opaque", "y"))
		}),
	ownFSCase("userns-opaque-without-attributes",
		"Where the overlay may set no attribute of its own, a directory is not made over a removed one rather than show what that held (fs/overlayfs/dir.c, ovl_set_opaque_xerr).",
		func(t *suites.T) {
			o := onOwnFS(t, lower(dir("d", file("a", "")), dir("e")))
			o.mountInside()
			o.unlink("d/a")
			if err := unix.Rmdir(o.at("d")); err != nil {
				o.refused("rmdir", err, unix.EIO, unix.EPERM, unix.EOPNOTSUPP)
			} else if err := unix.Mkdir(o.at("d"), 0o755); err != nil {
				o.refused("mkdir over the removed directory", err, unix.EIO, unix.EPERM, unix.EOPNOTSUPP)
			}
			o.everyView(func(v view) {
				if entries, err := os.ReadDir(o.at("d")); err == nil && len(entries) > 0 || err != nil && !os.IsNotExist(err) {
					t.Errorf("%s: d lists %v (%v), want nothing", v, entries, err)
				}
			})
		}),
	ownFSCase("userns-state-in-user-attributes",
		"With userxattr what was copied up, and a directory that holds such files, are marked in user attributes, which are not listed through the overlay (overlayfs.rst, user xattr and inode properties).",
		func(t *suites.T) {
			o := onOwnFS(t, userXattrs, lower(file("a", "lower"), file("b", "lower")))
			o.mountInside("userxattr")
			o.mkdir("p")
			o.rename("a", "p/a")
			o.chmod("b", 0o600)
			for path, name := range map[string]string{"p": "impure", "p/a": "origin", "b": "origin"} {
				_, err := getXattr(o.inUpper(path), userPrivate+name)
				o.do("read the mark in the upper layer", err)
				if names, err := listXattrs(o.at(path)); err != nil || len(names) > 0 {
					t.Errorf("%s lists %q (%v), want nothing", path, names, err)
				}
			}
			o.shows(file("b", "lower").perm(0o600), dir("p", file("a", "lower")))
		}),
	ownFSCase("userns-opaque-and-whiteouts-below",
		"With userxattr marks in user attributes of a lower layer count: an opaque directory, and a whiteout that is a plain file where the kernel has those (overlayfs.rst, user xattr, and whiteouts and opaque directories).",
		func(t *suites.T) {
			o := onOwnFS(t, userXattrs,
				lower(dir("o", file("top", "")).xattr(userPrivate+"opaque", "y"),
					dir("w", file("a", "").xattr(userPrivate+"whiteout", "y")).xattr(userPrivate+"opaque", "x")),
				lower(dir("o", file("low", "")), dir("w", file("a", "lowest"), file("b", ""))))
			o.mountInside("userxattr")
			if !has(t, "ovl_path_is_whiteout") && unix.Access(o.at("w/a"), unix.F_OK) == nil {
				o.shows(dir("o", file("top", "")), dir("w", file("a", ""), file("b", "")))
				return
			}
			o.shows(dir("o", file("top", "")), dir("w", file("b", "")))
		}),
	ownFSCase("userns-marks-of-root-mean-nothing",
		"With userxattr a lower directory is not opaque by its trusted attribute, nor is one by its user attribute without (overlayfs.rst, user xattr).",
		func(t *suites.T) {
			o := onOwnFS(t, userXattrs, lower(dir("d", file("top", "")).xattr(userPrivate+"opaque", "y")), lower(dir("d", file("low", ""))))
			o.mountInside()
			o.shows(dir("d", file("top", ""), file("low", "")))
		}),
	ownFSCase("userns-private-attribute",
		"With userxattr an attribute user.overlay.x set through the overlay is refused, or kept by another name and read back by its own (overlayfs.rst since 6.7, nesting overlayfs mounts).",
		func(t *suites.T) {
			o := onOwnFS(t, userXattrs, lower(dir("d", file("a", "")), file("f", "")))
			o.mountInside("userxattr")
			err := unix.Setxattr(o.at("d"), userPrivate+"opaque", []byte("y"), 0)
			if err != nil {
				o.refused("set", err, unix.EOPNOTSUPP, unix.EPERM)
				o.shows(dir("d", file("a", "")), file("f", ""))
				return
			}
			o.shows(dir("d", file("a", "")).xattr(userPrivate+"opaque", "y"), file("f", ""))
			o.upperHolds(dir("d").xattr("user.overlay.overlay.opaque", "y"))
			o.do("remove", unix.Removexattr(o.at("d"), userPrivate+"opaque"))
			if names, err := listXattrs(o.inUpper("d")); err != nil || strings.Contains(strings.Join(names, " "), "opaque") {
				t.Errorf("the upper layer has %q after the removal (%v)", names, err)
			}
		}),
	ownFSCase("userns-user-attribute",
		"A user attribute is copied up, set and removed with userxattr (xattr(7)).",
		func(t *suites.T) {
			n := file("a", "lower").xattr("user.kept", "1")
			o := onOwnFS(t, userXattrs, lower(n.xattr("user.gone", "2")))
			o.mountInside("userxattr")
			o.do("set and remove", errors.Join(unix.Setxattr(o.at("a"), "user.new", []byte("3"), 0), unix.Removexattr(o.at("a"), "user.gone")))
			o.shows(n.xattr("user.new", "3"))
			_, err := getXattr(o.at("a"), "user.gone")
			o.refused("get the removed attribute", err, unix.ENODATA)
		}),
	confined{
		name:  "userns-trusted-attribute",
		doc:   "A trusted attribute is out of reach in a user namespace, and is not copied up from there (xattr(7)).",
		lower: []node{file("a", "lower").xattr("trusted.x", "1")},
		inside: func(o *overlay) {
			o.mountInside()
			_, err := getXattr(o.at("a"), "trusted.x")
			o.refused("get", err, unix.ENODATA)
			o.refused("set", unix.Setxattr(o.at("a"), "trusted.x", []byte("2"), 0), unix.EPERM)
			o.refused("remove", unix.Removexattr(o.at("a"), "trusted.x"), unix.EPERM)
			if entries, err := os.ReadDir(o.upper); err != nil || len(entries) > 0 {
				o.t.Errorf("the upper layer holds %v (%v), want nothing", entries, err)
			}
			o.chmod("a", 0o600)
			o.shows(file("a", "lower").perm(0o600))
		},
		outside: func(o *overlay) {
			o.upperHolds(shifted([]node{file("a", "lower").perm(0o600)})...)
			_, err := getXattr(o.inUpper("a"), "trusted.x")
			o.refused("get trusted.x in the upper layer", err, unix.ENODATA)
		},
	}.suitesCase(),
	confined{
		name:  "userns-capability",
		doc:   "Capabilities that are the namespace's are kept on copy-up, and those given to a file there are stored for its root alone (capabilities(7), namespaced file capabilities).",
		lower: []node{file("a", "text").xattr(capability, netRawOf(idBase)), file("b", "text")},
		inside: func(o *overlay) {
			o.mountInside()
			o.do("copy a up", setTimes(o.at("a"), stamp))
			o.do("set", unix.Setxattr(o.at("b"), capability, []byte(netRaw()), 0))
			o.shows(file("a", "text").xattr(capability, netRaw()), file("b", "text").xattr(capability, netRaw()))
		},
		holds: []node{file("a", "text").xattr(capability, netRawOf(idBase)), file("b", "text").xattr(capability, netRawOf(idBase))},
	}.suitesCase(),
	confined{
		name:  "userns-capability-of-root-outside",
		doc:   "Capabilities given by root outside count in the namespace, too, and are kept on a copy for the namespace's root alone (capabilities(7), namespaced file capabilities).",
		lower: []node{file("a", "text").xattr(capability, netRaw())},
		inside: func(o *overlay) {
			o.mountInside()
			o.do("copy up", setTimes(o.at("a"), stamp))
			o.shows(file("a", "text").xattr(capability, netRaw()))
		},
		holds: []node{file("a", "text").xattr(capability, netRawOf(idBase))},
	}.suitesCase(),
	confined{
		name:  "userns-acl",
		doc:   "An access control list names users by their IDs in the namespace, and is kept with those outside, copied up or set there (acl(5), user_namespaces(7)).",
		lower: []node{file("a", "text").perm(0o660).xattr(accessACL, acl(0o640, idBase+nobody, 6)), file("b", "text").perm(0o640)},
		inside: func(o *overlay) {
			needACL(o.t)
			o.mountInside()
			o.do("copy a up", setTimes(o.at("a"), stamp))
			o.do("set a list", unix.Setxattr(o.at("b"), accessACL, []byte(acl(0o640, nobody+1, 4)), 0))
			o.shows(file("a", "text").perm(0o670).xattr(accessACL, acl(0o640, nobody, 6)),
				file("b", "text").perm(0o670).xattr(accessACL, acl(0o640, nobody+1, 4)))
		},
		holds: []node{file("a", "text").perm(0o670).xattr(accessACL, acl(0o640, idBase+nobody, 6)),
			file("b", "text").perm(0o670).xattr(accessACL, acl(0o640, idBase+nobody+1, 4))},
	}.suitesCase(),
}

// netRawOf is netRaw of revision 3: it counts only where root is the user of that
// ID outside (linux/capability.h, struct vfs_ns_cap_data).
func netRawOf(root uint32) string {
	const revision3 = 0x03000000
	b := []byte(netRaw())
	binary.LittleEndian.PutUint32(b, revision3)
	return string(binary.LittleEndian.AppendUint32(b, root))
}
