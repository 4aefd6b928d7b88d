// Package all is the one list of every suite there is. It is apart from package
// suites because the suites themselves import that.
package all

import (
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/kdbus"
	"github.com/kernel-playground/kplay/suites/overlayfs"
	"github.com/kernel-playground/kplay/suites/selftest"
)

// Suites returns every suite, in the order they run.
func Suites() []suites.Suite {
	return []suites.Suite{
		overlayfs.Suite(),
		kdbus.Suite(),
		kdbus.Probes(),
		selftest.Suite(),
	}
}
