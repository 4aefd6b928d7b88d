package overlayfs

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A person is a user with a group.
type person struct{ uid, gid int }

// persons is how many owners checkForce asks for, besides a stranger.
const persons = 2

// checkForce wants modes and owners to be in force as stat(2) gives them: access
// is asked for as a stranger and as the owners (access(2), path_resolution(7)).
func (o *overlay) checkForce(tr tree, wrong complaint) {
	who := []person{{nobody, nobody}}
	paths := slices.Sorted(maps.Keys(tr))
	for _, path := range paths {
		p := person{int(tr[path].Uid), int(tr[path].Gid)}
		if p.uid != 0 && !slices.Contains(who, p) && len(who) <= persons {
			who = append(who, p)
		}
	}
	groups, err := unix.Getgroups()
	if err != nil {
		wrong(".", "get the groups: %v", err)
	}
	o.do("ask for access", onThread(func() error {
		for _, p := range who {
			if err := p.become(); err != nil {
				return err
			}
			if unix.Access(o.merged+"/..", unix.X_OK) != nil {
				continue // the place itself is closed to them
			}
			for _, path := range paths {
				o.checkAccess(p, groups, tr, path, wrong)
			}
		}
		return nil
	}))
}

// become gives the thread another identity. The saved one stays root's, so that
// the thread can take the next; access(2) goes by the real one, without any of
// root's capabilities.
func (p person) become() error {
	return errors.Join(setres(unix.SYS_SETRESUID, 0, 0), setres(unix.SYS_SETRESGID, p.gid, p.gid), setres(unix.SYS_SETRESUID, p.uid, 0))
}

func (o *overlay) checkAccess(p person, groups []int, tr tree, path string, wrong complaint) {
	if tr[path].Mode&unix.S_IFMT == unix.S_IFLNK {
		return
	}
	reach := true
	for dir := path; dir != "."; {
		dir = filepath.Dir(dir)
		reach = reach && p.may(unix.X_OK, tr[dir], groups)
		if tr[dir].hasACL() {
			return
		}
	}
	if tr[path].hasACL() {
		return
	}
	for _, bit := range []uint32{unix.R_OK, unix.W_OK, unix.X_OK} {
		err := unix.Access(filepath.Join(o.merged, path), bit)
		if err != nil && err != unix.EACCES {
			continue // read-only, or immutable
		}
		if want := reach && p.may(bit, tr[path], groups); want != (err == nil) {
			wrong(path, "access %d of user %d, group %d, is %v; its mode is %#o of %d:%d", bit, p.uid, p.gid, outcome(err), tr[path].Mode, tr[path].Uid, tr[path].Gid)
		}
	}
}

func (f found) hasACL() bool {
	_, ok := f.xattrs[accessACL]
	return ok
}

// may tells by the mode whether an unprivileged user has access.
func (p person) may(bit uint32, f found, groups []int) bool {
	switch {
	case f.Uid == uint32(p.uid):
		bit <<= 6
	case f.Gid == uint32(p.gid) || slices.Contains(groups, int(f.Gid)):
		bit <<= 3
	}
	return f.Mode&bit != 0
}
