package overlayfs

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// The attributes that hold access control lists (acl(5)).
const (
	accessACL  = "system.posix_acl_access"
	defaultACL = "system.posix_acl_default"
)

// acl is an access control list as the kernel takes it: that of a mode, and what
// it gives one more user (linux/posix_acl_xattr.h, version 2).
func acl(mode uint32, user uint32, rights uint16) string { return aclMasked(mode, user, rights, 7) }

// aclMasked is acl with another limit to what all but the owner and others get.
func aclMasked(mode uint32, user uint32, rights, mask uint16) string {
	const nobodyInParticular = 0xffffffff
	b := binary.LittleEndian.AppendUint32(nil, 2)
	entry := func(tag, perm uint16, id uint32) {
		b = binary.LittleEndian.AppendUint16(b, tag)
		b = binary.LittleEndian.AppendUint16(b, perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	entry(0x01, uint16(mode>>6&7), nobodyInParticular) // ACL_USER_OBJ
	entry(0x02, rights, user)                          // ACL_USER
	entry(0x04, uint16(mode>>3&7), nobodyInParticular) // ACL_GROUP_OBJ
	entry(0x10, mask, nobodyInParticular)              // ACL_MASK
	entry(0x20, uint16(mode&7), nobodyInParticular)    // ACL_OTHER
	return string(b)
}

// aclCases are about access control lists (acl(5)).
var aclCases = []suites.Case{
	{
		Name: "acl-kept-on-copy-up",
		Doc:  "Copying up keeps a file's access control list and a directory's default one (acl(5)).",
		Run: func(t *suites.T) {
			needACL(t)
			f := file("a", "lower").perm(0o670).xattr(accessACL, acl(0o640, nobody, 6)).old()
			d := dir("d", f).perm(0o755).xattr(defaultACL, acl(0o750, nobody, 5)).old()
			o := newOverlay(t, lower(d))
			o.do("copy up", errors.Join(setTimes(o.at("d/a"), stamp), setTimes(o.at("d"), stamp)))
			o.shows(d)
			o.upperHolds(d)
		},
	},
	{
		Name: "acl-decides",
		Doc:  "An access control list gives and denies the same before and after the file is copied up (acl(5); overlayfs.rst, permission model).",
		Run: func(t *suites.T) {
			needACL(t)
			o := newOverlay(t, lower(file("given", "").perm(0o670).xattr(accessACL, acl(0o600, nobody, 6)),
				file("denied", "").perm(0o676).xattr(accessACL, acl(0o606, nobody, 0))))
			check := func(when string) {
				o.do(when+": read what is given", as(nobody, nobody, func() error { return opened(unix.O_RDONLY)(o.at("given")) }))
				o.refused(when+": read what is denied", as(nobody, nobody, func() error { return opened(unix.O_RDONLY)(o.at("denied")) }), unix.EACCES)
				o.do(when+": read as another", as(nobody+1, nobody+1, func() error { return opened(unix.O_RDONLY)(o.at("denied")) }))
			}
			check("before")
			o.do("copy up", errors.Join(setTimes(o.at("given"), stamp), setTimes(o.at("denied"), stamp)))
			check("after")
			o.remount()
			check("after mount cycle")
		},
	},
	{
		Name: "acl-set-on-lower-file",
		Doc:  "Setting an access control list copies the file up and changes its mode with it (acl(5)).",
		Run: func(t *suites.T) {
			needACL(t)
			o := newOverlay(t, lower(file("a", "lower").perm(0o640)))
			list := acl(0o640, nobody, 4)
			o.do("set", unix.Setxattr(o.at("a"), accessACL, []byte(list), 0))
			want := file("a", "lower").perm(0o670).xattr(accessACL, list)
			o.shows(want)
			o.upperHolds(want)
			o.do("remove", unix.Removexattr(o.at("a"), accessACL))
			_, err := getXattr(o.at("a"), accessACL)
			o.refused("get the removed list", err, unix.ENODATA)
		},
	},
	{
		Name: "acl-default-is-inherited",
		Doc:  "What is made in a directory with a default list gets the lists it gets on one file system, over a whiteout too (acl(5)).",
		Run:  inheritACL,
	},
	{
		Name: "acl-by-another-is-eperm",
		Doc:  "An access control list is set by the owner alone, and trying copies nothing up (acl(5)).",
		Run: func(t *suites.T) {
			needACL(t)
			o := newOverlay(t, lower(file("a", "lower").perm(0o666)))
			o.refused("set", as(nobody, nobody, func() error {
				return unix.Setxattr(o.at("a"), accessACL, []byte(acl(0o666, nobody, 7)), 0)
			}), unix.EPERM)
			o.upperHolds()
		},
	},
	{
		Name: "acl-default-on-file-is-eacces",
		Doc:  "A file has no default access control list: EACCES, and nothing is copied up (acl(5); fs/posix_acl.c).",
		Run: func(t *suites.T) {
			needACL(t)
			o := newOverlay(t, lower(file("a", "lower")))
			o.refused("set", unix.Setxattr(o.at("a"), defaultACL, []byte(acl(0o640, nobody, 4)), 0), unix.EACCES)
			o.shows(file("a", "lower"))
		},
	},
	{
		Name: "acl-clears-setgid",
		Doc:  "Setting a list by an owner who is not in the file's group clears set-group-ID (acl(5); fs/posix_acl.c, posix_acl_update_mode).",
		Run: func(t *suites.T) {
			needACL(t)
			o := newOverlay(t, lower(dir("d", file("a", "lower").perm(0o2755).owned(nobody, 9)).perm(0o755)))
			o.do("set", as(nobody, nobody, func() error {
				return unix.Setxattr(o.at("d/a"), accessACL, []byte(acl(0o750, nobody+1, 4)), 0)
			}))
			o.shows(dir("d", file("a", "lower").perm(0o770).owned(nobody, 9)))
		},
	},
}

// needACL skips the case where the file system of the layers has no lists.
func needACL(t *suites.T) {
	t.Helper()
	if !hasACL(t) {
		t.Skip("this kernel's tmpfs has no access control lists")
	}
}

func hasACL(t *suites.T) bool {
	t.Helper()
	err := unix.Setxattr(t.TempDir(), defaultACL, []byte(acl(0o750, nobody, 5)), 0)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatalf("set a default list: %v", err)
	}
	return err == nil
}

func inheritACL(t *suites.T) {
	needACL(t)
	list := acl(0o750, nobody, 6)
	o := newOverlay(t, lower(dir("d", file("wf", ""), file("wd", "")).xattr(defaultACL, list)))
	plain := o.layer("plain", nil)
	o.do("set a default list", unix.Setxattr(plain, defaultACL, []byte(list), 0))
	o.unlink("d/wf")
	o.unlink("d/wd")
	unix.Umask(0o027) // the fixture sets it back
	for _, name := range []string{"wf", "nf", "wd", "nd"} {
		for _, path := range []string{plain + "/" + name, o.at("d/" + name)} {
			if name[1] == 'f' {
				o.do("create", os.WriteFile(path, nil, 0o666))
			} else {
				o.do("mkdir", os.Mkdir(path, 0o777))
			}
		}
	}
	for _, name := range []string{"wf", "nf", "wd", "nd"} {
		want, err := readFound(plain + "/" + name)
		o.do("read the plain file", err)
		got, err := readFound(o.at("d/" + name))
		o.do("read the overlay's file", err)
		if got.Mode != want.Mode || got.xattrs[accessACL] != want.xattrs[accessACL] || got.xattrs[defaultACL] != want.xattrs[defaultACL] {
			t.Errorf("%s has mode %#o and lists %q, on one file system %#o and %q", name, got.Mode, got.xattrs, want.Mode, want.xattrs)
		}
	}
}
