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
}

func (m mutant) String() string { return m.file + "/" + m.Name }

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

// choose picks n of the mutants that match; all of them if n is 0. A few
// mutants are then taken from every file alike.
func choose(all []mutant, glob string, n int, seed uint64) ([]mutant, error) {
	var chosen []mutant
	for _, m := range all {
		ok, err := path.Match(glob, m.String())
		if err != nil {
			return nil, fmt.Errorf("-only %s: %w", glob, err)
		}
		if ok || glob == "*" {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no mutant matches %q", glob)
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
