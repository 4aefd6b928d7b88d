package suites

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The parameters that kplay run has flags for. They are whole numbers.
const (
	Seed = "seed" // what a case that acts at random begins from
	Ops  = "ops"  // how many acts it does; its deadline grows with them
)

// Params are parameters by name: those a case takes with their defaults, or what
// a person said of them. They travel from the command line by way of the plan
// and the event that has a case run to T.Number.
type Params map[string]string

// String writes the parameters in one line, sorted; ParseParams reads it.
func (p Params) String() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(p)) {
		words = append(words, name+"="+p[name])
	}
	return strings.Join(words, " ")
}

// ParseParams reads what String wrote.
func ParseParams(text string) (Params, error) {
	p := make(Params)
	for _, word := range strings.Fields(text) {
		name, value, ok := strings.Cut(word, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("parameter %q is not of the form NAME=VALUE", word)
		}
		p[name] = value
	}
	return p, nil
}

// Taken are the parameters of said that the case takes; nil if there are none.
func (c Case) Taken(said Params) (taken Params) {
	for name, value := range said {
		if _, ok := c.Params[name]; ok {
			if taken == nil {
				taken = make(Params)
			}
			taken[name] = value
		}
	}
	return taken
}

// Deadline is the case's timeout, or the default; more where the case was told
// to do more acts than it does by itself.
func (c Case) Deadline(said Params) time.Duration {
	limit := DefaultTimeout
	if c.Timeout > 0 {
		limit = c.Timeout
	}
	own, _ := strconv.ParseFloat(c.Params[Ops], 64)
	told, _ := strconv.ParseFloat(c.Taken(said)[Ops], 64)
	if own > 0 && told > own {
		limit = time.Duration(float64(limit) * told / own)
	}
	return limit
}

// Number is a parameter of the case: what a person said, or the default. The case
// fails if it is no whole number, or none the case takes.
func (t *T) Number(name string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(t.params[name], 10, 64)
	if err != nil {
		t.Fatalf("parameter %s=%q is no whole number, or the case does not take it", name, t.params[name])
	}
	return n
}
