package harness

import (
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/suites"
)

// A Feature is one thing the playground adds to the base kernel, as
// suites/features.toml describes it.
type Feature struct {
	Name        string
	Suites      []string
	Modules     []string
	Filesystems []string // any of them in /proc/filesystems shows that it is there
	Config      []string
	Symbols     []string
	Sources     []string
	Patches     []string
	Delivered   string
	Contact     string
}

// Traces is what shows f in a crash record.
func (f Feature) Traces() crash.Feature {
	return crash.Feature{Name: f.Name, Modules: f.Modules, Symbols: f.Symbols, Sources: f.Sources, Files: f.Patches}
}

// Traces are what shows the features this program knows in a crash record.
func Traces() ([]crash.Feature, error) {
	all, err := Features(suites.Features)
	if err != nil {
		return nil, err
	}
	var traces []crash.Feature
	for _, f := range all {
		traces = append(traces, f.Traces())
	}
	return traces, nil
}

// Features reads a features file.
func Features(text []byte) ([]Feature, error) {
	var file struct{ Feature []Feature }
	meta, err := toml.Decode(string(text), &file)
	if err != nil {
		return nil, fmt.Errorf("read the features file: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("read the features file: unknown key %s", unknown[0])
	}
	return file.Feature, nil
}

// carried returns the feature a suite judges, if it judges one.
func carried(s suites.Suite) (Feature, bool, error) {
	all, err := Features(suites.Features)
	if err != nil {
		return Feature{}, false, err
	}
	i := slices.IndexFunc(all, func(f Feature) bool { return f.Name == s.Feature })
	if i < 0 {
		return Feature{}, false, nil
	}
	return all[i], true, nil
}

// present says whether a guest that knows these file system types has f, as far
// as they can tell.
func (f Feature) present(filesystems []string) bool {
	return len(f.Filesystems) == 0 ||
		slices.ContainsFunc(f.Filesystems, func(t string) bool { return slices.Contains(filesystems, t) })
}

// deliveredAsModule is the word for a feature that comes by a module of its own, if
// at all.
const deliveredAsModule = "module"

// Absent says whether a suite's feature is surely not there: a module of its own
// that the build does not have and nobody has given. A kernel whose modules are
// unknown may have it built in.
func (p Plan) Absent(s suites.Suite) (bool, error) {
	f, ok, err := carried(s)
	if err != nil || !ok || f.Delivered != deliveredAsModule || p.Build.Modules == "" {
		return false, err
	}
	_, missing, err := p.Build.ResolveModules(f.Modules, p.Replace)
	return len(missing) > 0, err
}

// absence says that a build does not keep its promise.
func (f Feature) absence(release string) string {
	return fmt.Sprintf("%s does not carry %s: it is neither built in nor among the modules (%s)",
		release, f.Name, strings.Join(f.Modules, ", "))
}
