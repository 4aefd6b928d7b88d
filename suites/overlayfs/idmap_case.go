package overlayfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// idmapCases are what mapped layers refuse, and what else names users.
var idmapCases = []suites.Case{
	{
		Name: "idmapped-owner-without-id",
		Doc:  "A lower file whose owner the mount maps to nobody is shown as the overflow user's, is read, and is not copied up: EOVERFLOW (mount_setattr(2), ID-mapped mounts; fs/overlayfs/copy_up.c, ovl_copy_up_one).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			o := newOverlay(t, lower(shifted([]node{dir("d", file("a", "text").foreign().perm(0o666))})...), mapLowers)
			if st := o.stat("d/a"); st.Uid != overflowID || st.Gid != overflowID {
				t.Errorf("d/a is shown as %d:%d, want %d", st.Uid, st.Gid, overflowID)
			}
			o.do("read", opened(unix.O_RDONLY)(o.at("d/a")))
			o.refused("open for writing", opened(unix.O_WRONLY)(o.at("d/a")), unix.EOVERFLOW, unix.EACCES, unix.EPERM)
			o.refused("chown", unix.Lchown(o.at("d/a"), 1, 1), unix.EOVERFLOW, unix.EPERM)
			if err := unix.Access(o.inUpper("d/a"), unix.F_OK); !errors.Is(err, unix.ENOENT) {
				t.Errorf("d/a in the upper layer: %v, want ENOENT", outcome(err))
			}
		},
	},
	{
		Name: "idmapped-create-without-id",
		Doc:  "A user without an ID on the upper layer's mount makes nothing: EOVERFLOW, and nothing is left (mount_setattr(2), ID-mapped mounts).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			const far = idCount + 5
			o := newOverlay(t, lower(file("a", "")), mapUpper(dir("d").owned(idBase, idBase).perm(0o777)))
			for name, do := range map[string]func() error{
				"create": func() error { return unix.Mknod(o.at("d/f"), unix.S_IFREG|0o644, 0) },
				"mkdir":  func() error { return unix.Mkdir(o.at("d/s"), 0o755) },
				"link":   func() error { return unix.Symlink("to", o.at("d/l")) },
			} {
				o.refused(name, as(far, far, do), unix.EOVERFLOW, unix.EACCES)
			}
			o.shows(file("a", ""), dir("d").perm(0o777))
		},
	},
	{
		Name: "idmapped-chown-without-id",
		Doc:  "A file is not given to a user without an ID on the upper layer's mount: EOVERFLOW or EINVAL, and its owner stays (mount_setattr(2), ID-mapped mounts).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			o := newOverlay(t, lower(file("a", "lower").owned(3, 4)), mapUpper(file("u", "upper").owned(idBase+3, idBase+4)))
			for _, name := range []string{"a", "u"} {
				o.refused("chown "+name, unix.Lchown(o.at(name), idCount+5, -1), unix.EOVERFLOW, unix.EINVAL)
			}
			o.shows(file("a", "lower").owned(3, 4), file("u", "upper").owned(3, 4))
		},
	},
	{
		Name: "idmapped-permission",
		Doc:  "Who may use a file is decided by the owner that is shown, before and after it is copied up (overlayfs.rst, permission model; mount_setattr(2), ID-mapped mounts).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			o := newOverlay(t, lower(shifted([]node{dir("d", file("a", "text").owned(nobody, nobody).perm(0o600)).perm(0o755)})...), mapLowers, mapUpper())
			for _, when := range []string{"before", "after"} {
				o.do(when+": open as the owner shown", as(nobody, nobody, func() error { return opened(unix.O_RDONLY)(o.at("d/a")) }))
				o.refused(when+": open as the owner on the disk", as(idBase+nobody, idBase+nobody, func() error { return opened(unix.O_RDONLY)(o.at("d/a")) }), unix.EACCES)
				o.copyUp("d")
			}
			o.shows(dir("d", file("a", "text").owned(nobody, nobody).perm(0o600)))
		},
	},
	{
		Name: "idmapped-acl",
		Doc:  "An access control list names users by the IDs the mount shows, and is copied up and set with those on the upper layer's disk (acl(5); mount_setattr(2), ID-mapped mounts).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			needACL(t)
			o := newOverlay(t, lower(shifted([]node{file("a", "text").perm(0o670).xattr(accessACL, acl(0o640, idBase+nobody, 6)), file("b", "text").perm(0o640)})...), mapLowers, mapUpper())
			shown := file("a", "text").perm(0o670).xattr(accessACL, acl(0o640, nobody, 6))
			o.compare("before", o.merged, []node{shown, file("b", "text").perm(0o640)})
			o.copyUp("a")
			o.do("set a list", unix.Setxattr(o.at("b"), accessACL, []byte(acl(0o640, nobody+1, 4)), 0))
			o.shows(shown, file("b", "text").perm(0o670).xattr(accessACL, acl(0o640, nobody+1, 4)))
			o.compare("upper layer on the disk", o.unmapped(), shifted([]node{file("a", "text").perm(0o670).xattr(accessACL, acl(0o640, idBase+nobody, 6)),
				file("b", "text").perm(0o670).xattr(accessACL, acl(0o640, idBase+nobody+1, 4))}))
		},
	},
	{
		Name: "idmapped-acl-inherited",
		Doc:  "A default list in a mapped layer is inherited with the users it shows (acl(5); mount_setattr(2), ID-mapped mounts).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			needACL(t)
			d := dir("d").xattr(defaultACL, acl(0o750, idBase+nobody, 6))
			o := newOverlay(t, lower(shifted([]node{d})...), mapLowers, mapUpper())
			o.do("create", os.WriteFile(o.at("d/new"), nil, 0o666))
			shown := file("new", "").xattr(accessACL, aclMasked(0o650, nobody, 6, 6)).perm(0o660)
			o.shows(dir("d", shown).xattr(defaultACL, acl(0o750, nobody, 6)))
		},
	},
	{
		Name: "idmapped-overlay-is-einval",
		Doc:  "A mount of an overlay itself is not mapped: EINVAL (mount_setattr(2), ID-mapped mounts; fs/overlayfs/super.c, without FS_ALLOW_IDMAP).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("map", mapTo(o.merged, o.layer("target", nil), idBase, 0), unix.EINVAL)
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "idmapped-two-lowers",
		Doc:  "Each lower layer is shown by the map of its own mount, where they merge, too (mount_setattr(2), ID-mapped mounts; overlayfs since 5.19).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			o := newOverlay(t, lower(shifted([]node{dir("d", file("a", "mapped").owned(3, 4))})...), mapLowers,
				lower(dir("d", file("b", "plain").owned(idBase+3, 4))))
			shown := dir("d", file("a", "mapped").owned(3, 4), file("b", "plain").owned(idBase+3, 4))
			o.shows(shown)
			o.copyUp("d")
			o.shows(shown)
			o.upperHolds(shown)
		},
	},
	{
		Name: "idmapped-capability",
		Doc:  "A file's capabilities are kept when it is copied up from a mapped layer (capabilities(7); mount_setattr(2), ID-mapped mounts).",
		Run: func(t *suites.T) {
			needIDMaps(t)
			n := file("a", "text").xattr(capability, netRaw())
			o := newOverlay(t, lower(shifted([]node{file("a", "text").xattr(capability, netRawOf(idBase))})...), mapLowers)
			o.compare("before", o.merged, []node{n})
			o.copyUp("a")
			o.shows(n)
			o.upperHolds(n)
		},
	},
	confined{
		name:  "idmapped-lower-in-user-namespace",
		doc:   "A lower layer of root outside, mapped to a user namespace's root, is shown, copied up and owned there like its own (mount_setattr(2), ID-mapped mounts).",
		lower: []node{dir("d", file("a", "lower").foreign()).foreign()},
		prepare: func(o *overlay) {
			needIDMaps(o.t)
			l := o.lowers[0]
			o.do("take the layer back", os.Lchown(l, 0, 0))
			o.do("map the layer", mapTo(l, l, 0, idBase))
			o.t.Cleanup(func() { o.do("unmount the mapped layer", unix.Unmount(l, 0)) })
		},
		inside: func(o *overlay) {
			o.mountInside()
			o.compare("before", o.merged, []node{dir("d", file("a", "lower"))})
			o.write("d/a", "changed")
			o.write("d/new", "new")
			o.shows(dir("d", file("a", "changed"), file("new", "new")))
		},
		holds: []node{dir("d", file("a", "changed"), file("new", "new"))},
	}.suitesCase(),
}
