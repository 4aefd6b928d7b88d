package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/all"
)

// choose picks suites by name and cases by glob. With neither it takes what a
// default run takes; a glob that names a suite reaches those on demand too. Long
// cases are left out unless they are asked for, or one is named in full.
func choose(from []suites.Suite, names, globs []string, long bool) ([]suites.Suite, error) {
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
		cases, err := matching(s, globs, named, long, used)
		if err != nil {
			return nil, err
		}
		if s.Cases = cases; len(cases) > 0 {
			chosen = append(chosen, s)
		}
	}
	for _, g := range globs {
		switch only, known := used[g]; {
		case !known:
			return nil, usageError{fmt.Errorf("no case matches %q; kplay list shows all", g)}
		case !only:
			return nil, usageError{fmt.Errorf("only long cases match %q: add --long", g)}
		}
	}
	return chosen, nil
}

// matching returns the cases of s that a glob matches, and notes of each glob
// that matched something whether that was any but a long case left out.
func matching(s suites.Suite, globs []string, named, long bool, used map[string]bool) ([]suites.Case, error) {
	if len(globs) == 0 && (named || !s.OnDemand) {
		return slices.DeleteFunc(slices.Clone(s.Cases), func(c suites.Case) bool { return c.Long && !long }), nil
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
			if ok {
				taken := long || !c.Long || g == c.Name || g == s.FullName(c)
				used[g] = used[g] || taken
				hit = hit || taken
			}
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

// params are what the flags tell the cases. It is a user's error if none of the
// chosen cases takes one.
func (f *runFlags) params(chosen []suites.Suite) (suites.Params, error) {
	said := make(suites.Params)
	for name, value := range map[string]string{suites.Seed: f.seed, suites.Ops: f.ops} {
		if value == "" {
			continue
		}
		if _, err := strconv.ParseUint(value, 10, 63); err != nil {
			return nil, usageError{fmt.Errorf("--%s %s: write a whole number", name, value)}
		}
		takes := func(c suites.Case) bool { _, ok := c.Params[name]; return ok }
		if !slices.ContainsFunc(chosen, func(s suites.Suite) bool { return slices.ContainsFunc(s.Cases, takes) }) {
			return nil, usageError{fmt.Errorf("--%s: none of the chosen cases takes it; kplay list shows which do", name)}
		}
		said[name] = value
	}
	return said, nil
}
