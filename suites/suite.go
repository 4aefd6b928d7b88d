// Package suites says what is tested: a Suite is a set of Cases for one kernel
// feature, and a Case is a Go function that runs inside the guest with a T.
//
// How a case gets into a guest, and what becomes of its verdict, is no concern
// of this package: see harness and harness/guest.
package suites

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"
)

// DefaultTimeout is the deadline of a case that names none.
const DefaultTimeout = 10 * time.Second

// A Suite is a set of cases for one kernel feature.
type Suite struct {
	Name     string   // "overlayfs"; the first part of a case's full name
	Doc      string   // what the suite judges, one sentence
	Feature  string   // the carried feature it judges, as in features.toml; empty for none
	Modules  []string // kernel modules the cases cannot do without
	OnDemand bool     // left out of a run that names no suite
	Disks    []Disk   // what the cases' Disks name
	Cases    []Case

	// Programs are what cases start in processes of their own: see Program.
	Programs map[string]func(args []string) (status int)
}

// A Case is the smallest thing with a verdict. It runs in a child process in
// the guest, as root, in a mount namespace of its own.
type Case struct {
	Name    string        // "rename-lower-dir-is-exdev": lower case, digits and dashes, unique in its suite
	Doc     string        // what the kernel promises, one sentence, with its source
	Timeout time.Duration // host time on KVM, scaled for emulation; 0 means DefaultTimeout
	Alone   bool          // wants a child process that ran no other case and will run none after
	Helpful []string      // kernel modules it likes to have: loaded where the build has them
	Long    bool          // left out of a run that neither asks for long cases nor names it
	Params  Params        // the parameters it takes, with their defaults
	Loads   []string      // kernel modules it loads itself, by T.Load
	Disks   []string      // disks of the suite it asks for, by T.Disk
	Run     func(*T)
	Within  func(*T) // what T.Enter runs in a process born in other namespaces; nil for none
}

var nameForm = regexp.MustCompile(`^[a-z0-9]+([a-z0-9@._-]*[a-z0-9])?$`)

// Check reports the first thing wrong with the suite's own description: a
// malformed or repeated name, a case that promises or does nothing.
func (s Suite) Check() error {
	if !nameForm.MatchString(s.Name) {
		return fmt.Errorf("suite %q: name is not of the form %s", s.Name, nameForm)
	}
	seen := make(map[string]bool)
	for _, c := range s.Cases {
		switch {
		case !nameForm.MatchString(c.Name):
			return fmt.Errorf("case %s/%s: name is not of the form %s", s.Name, c.Name, nameForm)
		case seen[c.Name]:
			return fmt.Errorf("case %s/%s: there are two of that name", s.Name, c.Name)
		case strings.TrimSpace(c.Doc) == "":
			return fmt.Errorf("case %s/%s: Doc is empty: say what the kernel promises", s.Name, c.Name)
		case c.Run == nil:
			return fmt.Errorf("case %s/%s: Run is nil", s.Name, c.Name)
		}
		seen[c.Name] = true
		for _, name := range c.Disks {
			if !slices.ContainsFunc(s.Disks, func(d Disk) bool { return d.Name == name }) {
				return fmt.Errorf("case %s/%s: the suite has no disk %q", s.Name, c.Name, name)
			}
		}
	}
	return nil
}

// FullName is how a case is named outside its suite: "overlayfs/rename-file".
func (s Suite) FullName(c Case) string { return s.Name + "/" + c.Name }

// Find returns the case with the full name "suite/case".
func Find(all []Suite, full string) (Suite, Case, bool) {
	suite, name, _ := strings.Cut(full, "/")
	for _, s := range all {
		if s.Name != suite {
			continue
		}
		for _, c := range s.Cases {
			if c.Name == name {
				return s, c, true
			}
		}
	}
	return Suite{}, Case{}, false
}

// MatchGlob reports whether a path.Match pattern names the case: by its full
// name when the pattern has a slash, by its name alone when it has none.
func (s Suite) MatchGlob(pattern string, c Case) (bool, error) {
	if strings.Contains(pattern, "/") {
		return path.Match(pattern, s.FullName(c))
	}
	return path.Match(pattern, c.Name)
}
