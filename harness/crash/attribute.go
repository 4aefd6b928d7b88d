package crash

import "strings"

// A Feature is one thing carried on top of the base kernel, by what shows it in
// a report.
type Feature struct {
	Name    string
	Modules []string // kernel modules that make it up: "overlay"
	Symbols []string // beginnings of its functions' names: "ovl_"
	Sources []string // where in the kernel tree it lives: "fs/overlayfs/"
	Files   []string // files of the base kernel it changes: "fs/namei.c"
}

// An Evidence says how a report points to a feature.
type Evidence string

// The kinds of evidence, strongest first. Even the strongest is a suspicion: the
// proof is the same case on a kernel without the feature.
const (
	Direct      Evidence = "direct"       // the blamed function is the feature's
	OnStack     Evidence = "on-stack"     // one that called it is
	PatchedBase Evidence = "patched-base" // the blamed function is the base kernel's, in a file the feature changes
	Base        Evidence = "base"         // nothing points to a feature
)

// An Attribution is what one report says about one feature.
type Attribution struct {
	Feature  string   `json:"feature,omitempty"` // empty for Base
	Evidence Evidence `json:"evidence"`
	Rule     string   `json:"rule,omitempty"`  // "module", "symbol", "prefix", "source"
	Frame    string   `json:"frame,omitempty"` // the function that shows it
}

// Attribute says which features a record points to, the strongest evidence
// first. What is merely linked in or marked "?" is no evidence. Symbols may be
// nil; they tell whose an unprefixed function is.
func Attribute(r Record, features []Feature, symbols *Symbols) []Attribution {
	var found []Attribution
	for _, e := range []Evidence{Direct, OnStack, PatchedBase} {
		for i := range features {
			if a, ok := features[i].shownBy(r, e, symbols); ok && !names(found, a.Feature) {
				found = append(found, a)
			}
		}
	}
	if len(found) == 0 {
		found = append(found, Attribution{Evidence: Base, Frame: r.Func})
	}
	return found
}

func names(found []Attribution, feature string) bool {
	for _, a := range found {
		if a.Feature == feature {
			return true
		}
	}
	return false
}

// shownBy looks for one kind of evidence.
func (f *Feature) shownBy(r Record, e Evidence, symbols *Symbols) (Attribution, bool) {
	rule, frame := "", ""
	switch e {
	case Direct:
		frame = r.Func
		rule = f.owns(Frame{Func: r.Func, Module: r.Module, File: r.fileOf(r.Func)}, symbols)
		if rule == "" && under(r.Where, f.Sources) {
			rule = "source"
		}
	case OnStack:
		for i := range r.Frames {
			if fr := &r.Frames[i]; fr.Reliable && rule == "" {
				rule, frame = f.owns(*fr, symbols), fr.Func
			}
		}
		for i := range r.Locks {
			if rule == "" {
				rule, frame = f.owns(r.Locks[i], symbols), r.Locks[i].Func
			}
		}
	case PatchedBase:
		frame = r.Func
		if under(r.Where, f.Files) || under(r.fileOf(r.Func), f.Files) {
			rule = "source"
		}
	}
	return Attribution{Feature: f.Name, Evidence: e, Rule: rule, Frame: frame}, rule != ""
}

// fileOf is the source of the function, if a symboliser has been at work.
func (r Record) fileOf(function string) string {
	for i := range r.Frames {
		if f := &r.Frames[i]; f.File != "" && f.Name() == function {
			return f.File
		}
	}
	return ""
}

// owns says by which rule a frame is the feature's; "" if it is not.
func (f *Feature) owns(fr Frame, symbols *Symbols) string {
	if fr.Func == "" {
		return ""
	}
	for _, m := range f.Modules {
		if sameModule(fr.Module, m) {
			return "module"
		}
		if fr.Module == "" && symbols.In(m, fr.Name()) {
			return "symbol"
		}
	}
	if under(fr.File, f.Sources) {
		return "source"
	}
	if fr.Module != "" {
		return ""
	}
	for _, p := range f.Symbols {
		if strings.HasPrefix(strings.TrimLeft(fr.Name(), "_"), strings.TrimLeft(p, "_")) {
			return "prefix"
		}
	}
	return ""
}

// sameModule compares names of modules, in which "-" and "_" are one.
func sameModule(a, b string) bool {
	return a != "" && strings.ReplaceAll(a, "-", "_") == strings.ReplaceAll(b, "-", "_")
}

// under reports whether the place, "fs/overlayfs/dir.c:12", is one of the paths
// or below one.
func under(place string, paths []string) bool {
	file := sourceFile(place)
	for _, p := range paths {
		if file == "" || p == "" {
			continue
		}
		if file == p || strings.HasSuffix(p, "/") && (strings.HasPrefix(file, p) || strings.Contains(file, "/"+p)) || strings.HasSuffix(file, "/"+p) {
			return true
		}
	}
	return false
}
