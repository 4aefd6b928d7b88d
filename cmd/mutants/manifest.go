package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/kernel-playground/kplay/suites/overlayfs/mutants"
)

// A mutant is a slip in one source file. The zero value is none.
type mutant struct {
	file     string // "dir.c"
	Name     string
	Slip     string // what went wrong, one sentence
	Old, New string // the text, found exactly once, and what takes its place

	Equivalent string // why nobody can tell it from the module as it is; empty if one can
}

func (m mutant) String() string {
	if m.file == "" {
		return untouched
	}
	return m.file + "/" + m.Name
}

// untouched is how the module without a mutant is called.
const untouched = "control"

// manifest reads all mutants, in the order of files and of names in them.
func manifest() (all []mutant, err error) {
	names, err := fs.Glob(mutants.Files, "*.toml")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		text, err := mutants.Files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		these, err := parse(name, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, these...)
	}
	return all, nil
}

func parse(name, text string) ([]mutant, error) {
	var table struct{ Mutant []mutant }
	meta, err := toml.Decode(text, &table)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("read %s: unknown key %s", name, unknown[0])
	}
	seen := make(map[string]bool)
	for i := range table.Mutant {
		m := &table.Mutant[i]
		m.file = strings.TrimSuffix(name, ".toml") + ".c"
		if m.Name == "" || m.Slip == "" || m.Old == "" || m.Old == m.New || seen[m.Name] {
			return nil, fmt.Errorf("%s: it has no name of its own, says no slip, or changes nothing", m)
		}
		seen[m.Name] = true
	}
	return table.Mutant, nil
}

// matching are the mutants that match one of the globs, between which are
// commas. One that matches none is an error.
func matching(all []mutant, globs string) (chosen []mutant, err error) {
	taken := make(map[string]bool)
	for _, glob := range strings.Split(globs, ",") {
		some := false
		for _, m := range all {
			ok, err := path.Match(glob, m.String())
			if err != nil {
				return nil, fmt.Errorf("-only %s: %w", glob, err)
			}
			if ok = ok || glob == "*"; ok && !taken[m.String()] {
				taken[m.String()] = true
				chosen = append(chosen, m)
			}
			some = some || ok
		}
		if !some {
			return nil, fmt.Errorf("no mutant matches %q", glob)
		}
	}
	return chosen, nil
}

// choose picks n of the mutants that match; all of them if n is 0. A few
// mutants are then taken from every file alike.
func choose(all []mutant, globs string, n int, seed uint64) ([]mutant, error) {
	chosen, err := matching(all, globs)
	if err != nil {
		return nil, err
	}
	if n <= 0 || n >= len(chosen) {
		return chosen, nil
	}
	// Each n-th, from a random start.
	r := rand.New(rand.NewPCG(seed, 0))
	start, from := r.IntN(len(chosen)), chosen
	chosen = nil
	for i := range n {
		chosen = append(chosen, from[(start+i*len(from)/n)%len(from)])
	}
	return chosen, nil
}
