package overlayfs

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// contextCases mount by fsopen(2) and its companions (5.2), which overlayfs
// parses by itself since 6.5.
var contextCases = []suites.Case{
	{
		Name: "context-mount",
		Doc:  "An overlay is mounted by fsopen(2), fsconfig(2), fsmount(2) and move_mount(2) as by mount(2).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "1")), lower(file("b", "2")), upper(file("u", "upper")))
			o.configured([]string{"lowerdir", o.lowers[0] + ":" + o.lowers[1], "upperdir", o.upper, "workdir", o.work}, nil)
			o.write("a", "changed")
			o.shows(file("a", "changed"), file("b", "2"), file("u", "upper"))
		},
	},
	{
		Name: "context-lowerdir-plus",
		Doc:  "lowerdir+ adds lower layers one by one, the topmost first, and a colon in their names is one (overlayfs.rst since 6.8, multiple lower layers).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "1")), lower(file("a", "2"), file("b", "2")))
			colon := o.layer("with:colon", []node{file("b", "3"), file("c", "3")})
			o.configured([]string{"lowerdir+", o.lowers[0], "lowerdir+", o.lowers[1], "lowerdir+", colon, "upperdir", o.upper, "workdir", o.work},
				errNoPlus)
			o.compare("mounted", o.merged, []node{file("a", "1"), file("b", "2"), file("c", "3")})
		},
	},
	{
		Name: "context-datadir-plus",
		Doc:  "datadir+ adds data-only layers one by one (overlayfs.rst since 6.8, data-only lower layers).",
		Run: func(t *suites.T) {
			o := layers(t, option("metacopy=on"), lower(reference("a", "/x")), lower(file("x", "")))
			o.configured([]string{"lowerdir+", o.lowers[0], "datadir+", o.lowers[1], "upperdir", o.upper, "workdir", o.work, "metacopy", "on"},
				errNoPlus)
			o.compare("mounted", o.merged, []node{file("a", "")})
		},
	},
	{
		Name: "context-lowerdir-mixed-is-einval",
		Doc:  "lowerdir and lowerdir+ do not go together (overlayfs.rst since 6.8, multiple lower layers).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "1")), lower(file("b", "2")))
			o.refused("configure", o.configure("lowerdir", o.lowers[0], "lowerdir+", o.lowers[1], "upperdir", o.upper, "workdir", o.work), unix.EINVAL)
		},
	},
	{
		Name: "context-unknown-option-is-einval",
		Doc:  "An option the kernel does not know is refused, when it is set or when the mount is made (fsconfig(2)).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "1")))
			o.refused("configure", o.configure("lowerdir", o.lowers[0], "upperdir", o.upper, "workdir", o.work, "kplay", "on"), unix.EINVAL)
			o.do("mount after a refusal", o.mount())
			o.shows(file("a", "1"))
		},
	},
	{
		Name: "context-abandoned",
		Doc:  "A context that is closed before a mount is made leaves the layers free (fsopen(2)).",
		Run: func(t *suites.T) {
			o := layers(t, option("index=on"), lower(file("a", "1")))
			fd := o.fsopen()
			for _, s := range [][2]string{{"lowerdir", o.lowers[0]}, {"upperdir", o.upper}, {"workdir", o.work}} {
				o.do("set "+s[0], unix.FsconfigSetString(fd, s[0], s[1]))
			}
			o.do("close", unix.Close(fd))
			o.do("mount", o.mount())
			o.shows(file("a", "1"))
		},
	},
	{
		Name: "context-layers-by-descriptor",
		Doc:  "Layers are given by descriptors (overlayfs.rst since 6.13, specifying layers via file descriptors).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")))
			fd := o.fsopen()
			defer unix.Close(fd)
			for _, s := range [][2]string{{"lowerdir+", o.lowers[0]}, {"upperdir", o.upper}, {"workdir", o.work}} {
				layer, err := unix.Open(s[1], unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
				o.do("open a layer", err)
				err = unix.FsconfigSetFd(fd, s[0], layer)
				unix.Close(layer)
				if errors.Is(err, unix.EBADF) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
					t.Skip("this kernel's overlayfs takes no layers by descriptors (6.13)")
				}
				o.do("set "+s[0], err)
			}
			o.do("make and attach the mount", o.attach(fd))
			o.write("a", "changed")
			o.shows(file("a", "changed"))
		},
	},
	{
		Name: "context-reconfigure",
		Doc:  "A mount picked up by fspick(2) is made read-only and writable again (fspick(2)).",
		Run: func(t *suites.T) {
			o := newOverlay(t, lower(file("a", "1")))
			fd, err := unix.Fspick(unix.AT_FDCWD, o.merged, unix.FSPICK_CLOEXEC)
			o.do("fspick", err)
			defer unix.Close(fd)
			o.do("set ro", unix.FsconfigSetFlag(fd, "ro"))
			o.do("reconfigure", unix.FsconfigReconfigure(fd))
			o.refused("chmod", unix.Chmod(o.at("a"), 0o600), unix.EROFS)
			o.do("set rw", unix.FsconfigSetFlag(fd, "rw"))
			o.do("reconfigure", unix.FsconfigReconfigure(fd))
			o.chmod("a", 0o600)
			o.upperHolds(file("a", "1").perm(0o600))
		},
	},
}

// errNoPlus is what a kernel without lowerdir+ and datadir+ says.
var errNoPlus = errors.New("this kernel's overlayfs has no lowerdir+ and datadir+ (6.8)")

func (o *overlay) fsopen() int {
	o.t.Helper()
	fd, err := unix.Fsopen(fsType(o.t), unix.FSOPEN_CLOEXEC)
	o.do("fsopen", err)
	return fd
}

// configure mounts the overlay with options, given as keys and values.
func (o *overlay) configure(options ...string) error {
	o.t.Helper()
	fd := o.fsopen()
	defer unix.Close(fd)
	for i := 0; i < len(options); i += 2 {
		if err := unix.FsconfigSetString(fd, options[i], options[i+1]); err != nil {
			return err
		}
	}
	return o.attach(fd)
}

// configured is configure for options that may be EINVAL to an older kernel only.
func (o *overlay) configured(options []string, lack error) {
	o.t.Helper()
	err := o.configure(options...)
	if lack != nil && errors.Is(err, unix.EINVAL) && !escapesElsewhere(o) {
		o.t.Skip(lack.Error())
	}
	o.do("configure", err)
}

// escapesElsewhere is escapesXattrs by another overlay.
func escapesElsewhere(o *overlay) bool {
	o.t.Helper()
	return escapesXattrs(newOverlay(o.t, lower(file("a", ""))))
}

// attach makes the mount of a context and puts it where o's is.
func (o *overlay) attach(context int) error {
	if err := unix.FsconfigCreate(context); err != nil {
		return err
	}
	fd, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	err = unix.MoveMount(fd, "", unix.AT_FDCWD, o.merged, unix.MOVE_MOUNT_F_EMPTY_PATH)
	o.mounted = err == nil
	return err
}
