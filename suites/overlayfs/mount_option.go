package overlayfs

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/suites"
)

// optionCases are about what mount options mean, alone, together and left out.
var optionCases = []suites.Case{
	{
		Name: "option-metacopy-implies-redirect",
		Doc:  "metacopy=on turns redirect_dir on, so that a lower directory can be renamed (overlayfs.rst, metadata only copy up).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("metacopy=on"), lower(dir("d", file("a", "lower"))))
			o.rename("d", "e")
			o.shows(dir("e", file("a", "lower")))
		},
	},
	{
		Name: "option-nfs-export-implies-index",
		Doc:  "nfs_export=on turns index on, and mountinfo says so (overlayfs.rst, NFS export).",
		Run: func(t *suites.T) {
			o := newOverlay(t, option("nfs_export=on"), lower(file("a", "lower")))
			o.showsOption("index=on", true)
			o.showsOption("nfs_export=on", true)
		},
	},
	{
		Name: "option-nfs-export-needs-nofollow",
		Doc:  "Without upper layer, nfs_export=on is dropped where redirects are followed (overlayfs.rst, NFS export).",
		Run: func(t *suites.T) {
			if lacks(t, "metacopy") {
				t.Skip("this kernel's overlayfs has other rules for options in conflict (metacopy, 4.19)")
			}
			o := newOverlay(t, readOnly, option("nfs_export=on"), option("redirect_dir=follow"), lower(file("a", "1")), lower(file("b", "2")))
			o.showsOption("nfs_export=on", false)
			o.shows(file("a", "1"), file("b", "2"))
		},
	},
	{
		Name: "option-work-without-upper",
		Doc:  "A work directory without upper layer is left alone, and the mount is read-only (fs/overlayfs/super.c, ovl_parse_opt).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "1")), lower(file("b", "2")))
			work := o.work
			readOnly(o)
			o.options = append(o.options, "workdir="+work)
			o.do("mount", o.mount())
			o.refused("create", os.WriteFile(o.at("c"), nil, 0o600), unix.EROFS)
			o.shows(file("a", "1"), file("b", "2"))
			if entries, err := os.ReadDir(work); err != nil || len(entries) > 0 {
				t.Errorf("the work directory holds %v (%v), want nothing", entries, err)
			}
		},
	},
	{
		Name: "option-given-twice",
		Doc:  "Of an option given twice the last one counts, and the first one's directory is not kept busy (fs/overlayfs/super.c, ovl_parse_opt).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")))
			unused := o.layer("unused", []node{file("x", "")})
			o.do("put a file system on the unused directory", unix.Mount("unused", unused, "tmpfs", 0, ""))
			err := unix.Mount("overlay", o.merged, fsType(t), 0, "upperdir="+unused+","+o.data())
			o.mounted = err == nil
			unmounted := unix.Unmount(unused, 0)
			o.do("mount", err)
			o.do("unmount the unused directory", unmounted)
			o.write("b", "new")
			o.shows(file("a", "lower"), file("b", "new"))
		},
	},
	{
		Name: "option-relative-paths",
		Doc:  "Layers may be named relative to the working directory, which may change afterwards (path_resolution(7)).",
		Run: func(t *suites.T) {
			o := layers(t, lower(file("a", "lower")))
			leave := o.enter(o.dir)
			err := unix.Mount("overlay", o.merged, fsType(t), 0, "lowerdir=lower1,upperdir=upper,workdir=work")
			leave()
			o.do("mount", err)
			o.mounted = true
			o.write("b", "new")
			o.upperHolds(file("b", "new"))
			o.shows(file("a", "lower"), file("b", "new"))
		},
	},
	{
		Name: "option-escaped-comma",
		Doc:  "A comma in the name of a layer is written with a backslash before it (fs/overlayfs/super.c, ovl_next_opt).",
		Run:  escapedComma,
	},
	{
		Name: "option-paths-in-mountinfo",
		Doc:  "mountinfo shows the names of the layers with spaces, line ends and backslashes escaped (proc(5)).",
		Run:  pathsInMountinfo,
	},
	{
		Name: "option-default-is-module-parameter",
		Doc:  "What an option is without being given is the module's parameter, and giving it overrides that (overlayfs.rst, renaming directories).",
		Run:  moduleParameter,
	},
	{
		Name: "option-redirect-max",
		Doc:  "A directory whose old path is longer than the module's redirect_max is not moved: EXDEV (overlayfs.rst, renaming directories).",
		Run: func(t *suites.T) {
			o := layers(t, option("redirect_dir=on"), lower(dir("p", dir("a-name-of-twenty-byte", file("a", ""))), dir("q")))
			o.setParameter("redirect_max", "16")
			o.do("mount", o.mount())
			o.refused("move", unix.Rename(o.at("p/a-name-of-twenty-byte"), o.at("q/d")), unix.EXDEV)
			o.shows(dir("p", dir("a-name-of-twenty-byte", file("a", ""))), dir("q"))
		},
	},
	{
		Name: "option-lower-500",
		Doc:  "An overlay has up to 500 lower layers (fs/overlayfs/ovl_entry.h, OVL_MAX_STACK).",
		Run:  func(t *suites.T) { stackOf(t, 500) },
	},
	{
		Name: "option-lower-501-is-einval",
		Doc:  "An overlay of more than 500 lower layers is refused (fs/overlayfs/ovl_entry.h, OVL_MAX_STACK).",
		Run:  func(t *suites.T) { stackOf(t, 501) },
	},
	{
		Name: "option-userxattr",
		Doc:  "With userxattr the overlay keeps its state in user.overlay attributes, and trusted.overlay ones mean nothing to it (overlayfs.rst, user xattr).",
		Run:  userXattr,
	},
}

// mountinfo is the line of o's mount in the kernel's list: the fields after the
// separator are the type, the source and the options (proc(5)).
func (o *overlay) mountinfo() (options string) {
	o.t.Helper()
	list, err := os.ReadFile("/proc/self/mountinfo")
	o.do("read mountinfo", err)
	for line := range strings.Lines(string(list)) {
		mount, super, _ := strings.Cut(strings.TrimSpace(line), " - ")
		if at := strings.Fields(mount); len(at) > 4 && at[4] == o.merged {
			if f := strings.Fields(super); len(f) == 3 {
				return f[2]
			}
		}
	}
	o.t.Fatal("mountinfo has no line for the overlay")
	return ""
}

// showsOption wants an option in mountinfo, or not.
func (o *overlay) showsOption(option string, want bool) {
	o.t.Helper()
	all := o.mountinfo()
	if got := strings.Contains(","+all+",", ","+option+","); got != want {
		o.t.Errorf("mountinfo says %s: %s is there: %v, want %v", all, option, got, want)
	}
}

// enter makes dir the working directory until the function returned is called.
func (o *overlay) enter(dir string) (leave func()) {
	o.t.Helper()
	back, err := os.Getwd()
	o.do("get the working directory", err)
	o.do("change the working directory", os.Chdir(dir))
	return func() { o.do("go back to the working directory", os.Chdir(back)) }
}

// setParameter sets a parameter of the module until the case ends.
func (o *overlay) setParameter(name, value string) {
	o.t.Helper()
	path := "/sys/module/overlay/parameters/" + name
	was, err := os.ReadFile(path)
	if err != nil {
		o.t.Skipf("this kernel's overlayfs has no parameter %s", name)
	}
	o.t.Cleanup(func() { o.do("set "+name+" back", os.WriteFile(path, was, 0)) })
	o.do("set "+name, os.WriteFile(path, []byte(value), 0))
}

func moduleParameter(t *suites.T) {
	for _, on := range []bool{true, false} {
		o := layers(t, lower(dir("d", file("a", "lower"))))
		o.setParameter("redirect_dir", map[bool]string{true: "Y", false: "N"}[on])
		o.do("mount", o.mount())
		err := unix.Rename(o.at("d"), o.at("e"))
		if on {
			o.do("rename with the parameter on", err)
		} else {
			o.refused("rename with the parameter off", err, unix.EXDEV)
		}
		o.unmount()
		o.options = []string{"redirect_dir=" + map[bool]string{true: "off", false: "on"}[on]}
		o.upper, o.work = o.layer("upper", nil), o.layer("work", nil)
		o.do("mount with "+o.options[0], o.mount())
		err = unix.Rename(o.at("d"), o.at("f"))
		if on {
			o.refused("rename with redirect_dir=off", err, unix.EXDEV)
		} else {
			o.do("rename with redirect_dir=on", err)
		}
	}
}

// stackOf mounts n lower layers, whose names have to be short: all options of
// mount(2) have to fit in a page.
func stackOf(t *suites.T, n int) {
	if !severalLowers(t) {
		t.Skip("this kernel's overlayfs takes one lower layer only")
	}
	o := layers(t)
	var names []string
	for i := range n {
		name := fmt.Sprintf("%03x", i)
		o.do("make a layer", os.Mkdir(o.dir+"/"+name, 0o755))
		names = append(names, name)
	}
	last := o.dir + "/" + names[n-1]
	o.do("fill the lowest layer", dir("d", file("a", "lowest")).make(last))
	o.lowers = []string{last}
	o.remember()
	leave := o.enter(o.dir)
	err := unix.Mount("overlay", o.merged, fsType(t), 0, "lowerdir="+strings.Join(names, ":")+",upperdir=upper,workdir=work")
	leave()
	o.mounted = err == nil
	if n > 500 {
		o.refused("mount", err, unix.EINVAL)
		return
	}
	o.do("mount", err)
	o.write("d/b", "new")
	o.compare("mounted", o.merged, []node{dir("d", file("a", "lowest"), file("b", "new"))})
}

func escapedComma(t *suites.T) {
	o := layers(t, lower(file("a", "lower")))
	plain, commaLower := o.upper, o.layer("low,er", []node{file("a", "comma")})
	o.upper = o.layer("up,per", nil)
	o.lowers = []string{commaLower}
	o.remember()
	escape := strings.NewReplacer(",", `\,`)
	data := "lowerdir=" + escape.Replace(commaLower) + ",upperdir=" + escape.Replace(o.upper) + ",workdir=" + o.work
	err := unix.Mount("overlay", o.merged, fsType(t), 0, data)
	o.mounted = err == nil
	o.do("mount", err)
	o.write("b", "new")
	o.upperHolds(file("b", "new"))
	o.compare("mounted", o.merged, []node{file("a", "comma"), file("b", "new")})
	if entries, err := os.ReadDir(plain); err != nil || len(entries) > 0 {
		t.Errorf("the directory without comma holds %v (%v), want nothing", entries, err)
	}
}

func pathsInMountinfo(t *suites.T) {
	o := layers(t, lower(file("a", "lower")))
	o.upper = o.layer("up per\n#", nil)
	err := o.mount()
	o.do("mount", err)
	want := strings.NewReplacer(" ", `\040`, "\n", `\012`).Replace(o.upper)
	if got := o.mountinfo(); !strings.Contains(got, "upperdir="+want) && !strings.Contains(got, "upperdir="+strings.ReplaceAll(want, "#", `\043`)) {
		t.Errorf("mountinfo says %s, want upperdir=%s", got, want)
	}
	o.shows(file("a", "lower"))
}

// userXattr needs a file system with user attributes below, to write to; tmpfs
// has them since 6.6.
func userXattr(t *suites.T) {
	o := layers(t, lower(dir("d", file("a", "lower")), dir("e", file("b", "lower"))), upper(dir("e").opaque()))
	o.options = append(o.options, "userxattr")
	if err := o.mount(); errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel's overlayfs has no userxattr (5.11)")
	} else {
		o.do("mount", err)
	}
	o.compare("mounted", o.merged, []node{dir("d", file("a", "lower")), dir("e", file("b", "lower"))})
	if err := unix.Setxattr(o.inUpper("e"), "user.kplay", nil, 0); errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip("this kernel's tmpfs has no user attributes (6.6)")
	}
	o.do("remove d", os.RemoveAll(o.at("d")))
	o.mkdir("d")
	o.shows(dir("d"), dir("e", file("b", "lower")))
	o.upperHolds(dir("d").xattr("user.overlay.opaque", "y"), dir("e"))
}
