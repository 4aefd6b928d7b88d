package overlayfs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// The IDs from 0 to idCount in the user namespaces of the cases, and on layers
// that are mapped, stand for those from idBase on. All others have none.
const idBase, idCount = 100000, 65536

// overflowID is shown for an owner who has no ID in the namespace
// (user_namespaces(7), /proc/sys/kernel/overflowuid).
const overflowID = 65534

// shifted gives nodes, whose owners are IDs of the namespace, as they are outside.
func shifted(nodes []node) []node {
	all := slices.Clone(nodes)
	for i, n := range all {
		all[i] = n.owned(n.uid+idBase, n.gid+idBase)
		all[i].children = shifted(n.children)
	}
	return all
}

// foreign returns n owned by root outside, who has no ID in the namespace.
func (n node) foreign() node { return n.owned(-idBase, -idBase) }

// userns is the birth of a part that is root of a new user namespace, with
// mounts of its own.
func userns() *syscall.SysProcAttr {
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: idBase, Size: idCount}}
	return &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, UidMappings: ids, GidMappings: ids,
		GidMappingsEnableSetgroups: true, Credential: &syscall.Credential{},
	}
}

// A confined case has root lay out the layers, root of a user namespace mount
// and change the overlay, and root look at the layers afterwards. Owners of
// nodes are IDs of the namespace.
type confined struct {
	name, doc    string
	lower, upper []node
	prepare      func(*overlay) // as root, before the lower layers are remembered; nil for nothing
	inside       func(*overlay) // in the namespace, not mounted yet
	holds        []node         // what the upper layer holds afterwards
	outside      func(*overlay) // looks at it as root, if holds does not do
}

func (c confined) suitesCase() suites.Case {
	return suites.Case{
		Name: c.name,
		Doc:  c.doc,
		Run: func(t *suites.T) {
			o := layers(t, lower(shifted(c.lower)...), upper(shifted(c.upper)...), c.given)
			if !t.Enter(o.dir, userns()) {
				return
			}
			if c.outside != nil {
				c.outside(o)
			} else {
				o.upperHolds(shifted(c.holds)...)
			}
		},
		Within: func(t *suites.T) { c.inside(entered(t)) },
	}
}

// given gives the layers to root of the namespace.
func (c confined) given(o *overlay) {
	o.t.Helper()
	for _, path := range append([]string{o.dir, o.work, o.merged}, o.layerDirs()...) {
		o.do("give "+path+" away", os.Lchown(path, idBase, idBase))
	}
	if c.prepare != nil {
		c.prepare(o)
	}
}

// entered is the overlay that was laid out for a part of the case, as that part
// has it.
func entered(t *suites.T) *overlay {
	t.Helper()
	o := &overlay{t: t, dir: t.Dir(), lowerFS: t.Dir(), inside: true}
	o.upper, o.work, o.merged = filepath.Join(o.dir, "upper"), filepath.Join(o.dir, "work"), filepath.Join(o.dir, "merged")
	var err error
	o.lowers, err = filepath.Glob(filepath.Join(o.dir, "lower?"))
	o.do("find the layers", err)
	unix.Umask(0)
	t.Cleanup(o.checkInvariants)
	return o
}

// mountInside mounts the overlay in the namespace, with options.
func (o *overlay) mountInside(options ...string) {
	o.t.Helper()
	o.options = append(o.options, options...)
	err := o.mount()
	if (errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) && slices.Contains(options, "userxattr")) && !mountsInside(o.t) {
		o.t.Skip("this kernel's overlayfs is not mounted in user namespaces (5.11)")
	}
	o.do("mount in a user namespace", err)
}

// mountsInside reports whether overlayfs can be mounted in a user namespace, and
// has userxattr, which came with that in 5.11: a function of 5.13 tells.
func mountsInside(t *suites.T) bool {
	t.Helper()
	return has(t, "ovl_fileattr_get")
}

// needUserXattrs skips the case where the layers' file system has no user
// attributes; tmpfs has them since 6.6.
func (o *overlay) needUserXattrs() {
	o.t.Helper()
	probe := o.layer("probe", nil)
	err := unix.Setxattr(probe, "user.kplay", nil, 0)
	if errors.Is(err, unix.EOPNOTSUPP) {
		o.t.Skip("this kernel's tmpfs has no user attributes (6.6)")
	}
	o.do("set a user attribute", err)
}

// ownFSCase is a case all of which is in a user namespace, on a file system made
// there.
func ownFSCase(name, doc string, within func(*suites.T)) suites.Case {
	return suites.Case{
		Name:   name,
		Doc:    doc,
		Run:    func(t *suites.T) { t.Enter(t.TempDir(), userns()) },
		Within: within,
	}
}

// onOwnFS puts a file system made in the namespace over the case's directory, and
// lays the overlay out there.
func onOwnFS(t *suites.T, parts ...part) *overlay {
	t.Helper()
	if err := unix.Mount("inside", t.Dir(), "tmpfs", 0, "mode=0755"); err != nil {
		t.Fatalf("mount a tmpfs in a user namespace: %v", err)
	}
	return layers(t, append([]part{within}, parts...)...)
}

// within says that the overlay is mounted in a user namespace.
func within(o *overlay) { o.inside = true }

// userXattrs skips the case where the layers' file system has no user attributes.
func userXattrs(o *overlay) { o.needUserXattrs() }
