package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/all"
)

// choose picks suites by name and cases by glob. With neither it takes what a
// default run takes; a glob that names a suite reaches those on demand too.
func choose(from []suites.Suite, names, globs []string) ([]suites.Suite, error) {
	for _, n := range names {
		if !slices.ContainsFunc(from, func(s suites.Suite) bool { return s.Name == n }) {
			return nil, usageError{fmt.Errorf("there is no suite %q; kplay list shows all", n)}
		}
	}
	var chosen []suites.Suite
	used := make(map[string]bool)
	for _, s := range from {
		if len(names) > 0 && !slices.Contains(names, s.Name) {
			continue
		}
		named := len(names) > 0
		cases, err := matching(s, globs, named, used)
		if err != nil {
			return nil, err
		}
		if s.Cases = cases; len(cases) > 0 {
			chosen = append(chosen, s)
		}
	}
	for _, g := range globs {
		if !used[g] {
			return nil, usageError{fmt.Errorf("no case matches %q; kplay list shows all", g)}
		}
	}
	return chosen, nil
}

// matching returns the cases of s that a glob matches, and notes which globs
// matched something.
func matching(s suites.Suite, globs []string, named bool, used map[string]bool) ([]suites.Case, error) {
	if len(globs) == 0 && (named || !s.OnDemand) {
		return s.Cases, nil
	}
	var cases []suites.Case
	for _, c := range s.Cases {
		hit := false
		for _, g := range globs {
			if s.OnDemand && !named && !strings.HasPrefix(g, s.Name+"/") {
				continue
			}
			ok, err := s.MatchGlob(g, c)
			if err != nil {
				return nil, usageError{fmt.Errorf("--case %s: %w", g, err)}
			}
			used[g] = used[g] || ok
			hit = hit || ok
		}
		if hit {
			cases = append(cases, c)
		}
	}
	return cases, nil
}

func completeSuites(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, s := range all.Suites() {
		names = append(names, s.Name+"\t"+s.Doc)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

func completeCases(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, s := range all.Suites() {
		for _, c := range s.Cases {
			names = append(names, s.FullName(c)+"\t"+c.Doc)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
