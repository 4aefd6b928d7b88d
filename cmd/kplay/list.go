package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/all"
)

func newList() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list [SUITE|GLOB]", Short: "Show the suites, their cases, and what each promises", Args: between(0, 1),
		RunE: func(c *cobra.Command, args []string) error {
			chosen := all.Suites()
			if len(args) == 1 {
				var err error
				if chosen, err = named(chosen, args[0]); err != nil {
					return err
				}
			}
			if asJSON {
				return listJSON(c.OutOrStdout(), chosen)
			}
			return list(c.OutOrStdout(), chosen)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// named picks the suite of the name, or the cases that match it as a glob.
func named(from []suites.Suite, name string) ([]suites.Suite, error) {
	if slices.ContainsFunc(from, func(s suites.Suite) bool { return s.Name == name }) {
		return choose(from, []string{name}, nil, true)
	}
	return choose(from, nil, []string{name}, true)
}

func list(w io.Writer, chosen []suites.Suite) error {
	for _, s := range chosen {
		when := ""
		if s.OnDemand {
			when = ", only when named"
		}
		if n := countLong(s); n > 0 {
			when += fmt.Sprintf(", %d of them with --long", n)
		}
		fmt.Fprintf(w, "%s: %s (%d cases%s)\n", s.Name, s.Doc, len(s.Cases), when)
		for _, c := range s.Cases {
			if _, err := fmt.Fprintf(w, "  %s%s\n      %s\n", s.FullName(c), marks(c), c.Doc); err != nil {
				return err
			}
		}
	}
	return nil
}

func countLong(s suites.Suite) (n int) {
	for _, c := range s.Cases {
		if c.Long {
			n++
		}
	}
	return n
}

// marks are what a person has to know of a case to choose it.
func marks(c suites.Case) string {
	var all []string
	if c.Long {
		all = append(all, "long")
	}
	for _, name := range slices.Sorted(maps.Keys(c.Params)) {
		all = append(all, "--"+name)
	}
	if len(all) == 0 {
		return ""
	}
	return " (" + strings.Join(all, ", ") + ")"
}

// A listed case, for machines.
type listed struct {
	Name      string        `json:"name"`
	Doc       string        `json:"doc"`
	TimeoutNS int64         `json:"timeout_ns"`
	OnDemand  bool          `json:"on_demand,omitempty"`
	Long      bool          `json:"long,omitempty"`
	Params    suites.Params `json:"params,omitempty"` // with their defaults
}

func listJSON(w io.Writer, chosen []suites.Suite) error {
	cases := []listed{}
	for _, s := range chosen {
		for _, c := range s.Cases {
			cases = append(cases, listed{s.FullName(c), c.Doc, c.Deadline(nil).Nanoseconds(), s.OnDemand, c.Long, c.Params})
		}
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(cases)
}
