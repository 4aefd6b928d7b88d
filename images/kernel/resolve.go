package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// ResolveModules finds the named modules and those they depend on, and lists
// them in the order to load them. What is built into the kernel needs no loading
// and is left out. Dependencies are read from the modules themselves: Fedora's
// packages come without modules.dep.
//
// missing has the names the build does not have, and after each the modules
// that cannot be loaded for want of it. A softdep that is missing is no loss.
//
// replace maps the name of a module to a file to take in its place, which does
// not have it loaded unless it is also needed. A file that is not that module,
// or was built for another kernel, is a UserError.
func (b *Build) ResolveModules(names []string, replace map[string]string) (load []Module, missing []string, err error) {
	files, err := modulesIn(b.Modules)
	if err != nil {
		return nil, nil, err
	}
	r := &resolver{build: b, files: files, builtin: b.builtins(), met: make(map[string]bool)}
	if err := r.replace(replace); err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if err := r.require(moduleName(name)); err != nil {
			return nil, nil, err
		}
	}
	return r.load, r.missing, nil
}

// modulesIn maps the name of each module below dir to its file.
func modulesIn(dir string) (map[string]string, error) {
	files := make(map[string]string)
	if dir == "" {
		return files, nil
	}
	// A link, as lib is on some systems, would not be walked into.
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, readError(dir, err)
	}
	err = filepath.WalkDir(real, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return readError(path, err)
		}
		if d.IsDir() || !isModuleFile(path) {
			return nil
		}
		if name := moduleName(path); files[name] == "" || isUpdate(real, path) {
			files[name] = path
		}
		return nil
	})
	return files, err
}

// isModuleFile goes by the extensions the kernel's build gives: .ko, and one
// more for MODULE_COMPRESS_GZIP, _XZ and _ZSTD.
func isModuleFile(path string) bool {
	switch filepath.Ext(path) {
	case ".ko":
		return true
	case ".xz", ".zst", ".gz":
		return filepath.Ext(strings.TrimSuffix(path, filepath.Ext(path))) == ".ko"
	}
	return false
}

// isUpdate reports whether a module was put there to replace the build's own:
// depmod.d(5) prefers updates, and Fedora's dist.conf also extra.
func isUpdate(dir, path string) bool {
	rel, _ := filepath.Rel(dir, path)
	top, _, _ := strings.Cut(rel, "/")
	return top == "updates" || top == "extra"
}

// A resolver walks the dependencies of the modules it is asked for, depth
// first, so that each is listed after those it needs.
type resolver struct {
	build   *Build
	files   map[string]string // name to path
	builtin map[string]bool
	aliases map[string]string // of cryptographic modules, to their names; nil until needed
	met     map[string]bool   // whether a name already looked at can be had
	load    []Module
	missing []string
}

// replace puts the given files in the place of the build's own.
func (r *resolver) replace(files map[string]string) error {
	for given, path := range files {
		name := moduleName(given)
		if r.builtin[name] {
			return userErrorf("module %s is built into kernel %s: no file can replace it, build it with =m", name, r.build.Release)
		}
		if err := r.build.checkReplacement(name, path); err != nil {
			return err
		}
		r.files[name] = path
	}
	return nil
}

// checkReplacement reports as a UserError what keeps the file from being
// loaded as the module name.
func (b *Build) checkReplacement(name, path string) error {
	info, err := Module{Name: name, Path: path, cache: b.cache}.info()
	if user := (UserError)(""); errors.As(err, &user) {
		return err
	}
	if err != nil || info.vermagic == "" {
		return userErrorf("%s is not an x86_64 kernel module: name the .ko file the kernel's build made", path)
	}
	if got := moduleName(info.name); info.name != "" && got != name {
		return userErrorf("%s is the module %s, not %s", path, got, name)
	}
	if release, _, _ := strings.Cut(info.vermagic, " "); release != b.Release {
		return userErrorf("%s was built for kernel %s, this is %s: build it against this one", path, release, b.Release)
	}
	return nil
}

// info reads the module's .modinfo.
func (m Module) info() (modinfo, error) {
	data, err := m.Data()
	if err != nil {
		return modinfo{}, err
	}
	info, err := readModinfo(data)
	if err != nil {
		return modinfo{}, fmt.Errorf("read module %s: %w", m.Path, err)
	}
	return info, nil
}

// require has name loaded, and lists it as missing if it cannot be.
func (r *resolver) require(name string) error {
	ok, err := r.meet(name)
	if err == nil && !ok && !slices.Contains(r.missing, name) {
		r.missing = append(r.missing, name)
	}
	return err
}

// meet has name loaded after everything it depends on, and reports whether
// that is possible.
func (r *resolver) meet(name string) (bool, error) {
	if ok, looked := r.met[name]; looked || r.builtin[name] {
		return ok || r.builtin[name], nil
	}
	path, ok := r.files[name]
	r.met[name] = ok // already here, so that a circle ends
	if !ok {
		return false, nil
	}
	m := Module{Name: name, Path: path, cache: r.build.cache}
	info, err := m.info()
	if err != nil {
		return false, err
	}
	for _, dep := range info.pre {
		pre, err := r.prefer(dep)
		if err != nil {
			return false, err
		}
		m.needs(pre, r)
	}
	for _, dep := range info.depends {
		if err := r.require(dep); err != nil {
			return false, err
		}
		r.met[name] = r.met[name] && (r.met[dep] || r.builtin[dep])
		m.needs(dep, r)
	}
	if r.met[name] {
		r.load = append(r.load, m)
	}
	return r.met[name], nil
}

// needs notes what has to be loaded before m, unless it is built in or missing.
func (m *Module) needs(name string, r *resolver) {
	if r.met[name] && !r.builtin[name] {
		m.Needs = append(m.Needs, name)
	}
}

// prefer has a softdep loaded if the build has it, and returns its name. It may
// be named by an alias, as the cryptographic algorithms are: "crc32c" is in crc32c_generic.
// Without it libcrc32c, and so btrfs and xfs, fail to load with ENOENT on
// Debian's 6.1: the guest has no modprobe for the kernel to call.
func (r *resolver) prefer(dep string) (name string, err error) {
	name = moduleName(dep)
	if r.files[name] == "" && !r.builtin[name] {
		if err := r.readAliases(); err != nil {
			return "", err
		}
		name = r.aliases[dep]
	}
	if name == "" {
		return "", nil
	}
	missing := r.missing
	_, err = r.meet(name)
	r.missing = missing
	return name, err
}

// readAliases reads the aliases of the generic cryptographic modules, which
// run on every CPU. Reading those of all modules would take seconds.
func (r *resolver) readAliases() error {
	if r.aliases != nil {
		return nil
	}
	r.aliases = make(map[string]string)
	crypto, err := modulesIn(r.build.dirIfThere("kernel/crypto"))
	if err != nil {
		return err
	}
	for name, path := range crypto {
		info, err := Module{Name: name, Path: path, cache: r.build.cache}.info()
		if err != nil {
			return err
		}
		for _, alias := range info.aliases {
			if old := r.aliases[alias]; old == "" || name < old {
				r.aliases[alias] = name
			}
		}
	}
	return nil
}

// dirIfThere is the directory rel among the modules; empty if there is none.
func (b *Build) dirIfThere(rel string) string {
	if dir := filepath.Join(b.Modules, rel); b.Modules != "" && isDir(dir) {
		return dir
	}
	return ""
}
