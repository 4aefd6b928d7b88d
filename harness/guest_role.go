package harness

import (
	"os"

	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/images/initramfs/userland"
	"github.com/kernel-playground/kplay/suites"
)

// BeGuest plays the guest's part if this process runs inside a machine: as
// /init, as a runner of cases, or as one of the commands of the userland. It
// then does not return. It belongs first in the main function of every program
// that uses this package, with the suites the program knows.
func BeGuest(all []suites.Suite) {
	guest.Main(all)
	if os.Getenv(guest.InGuestVar) == "" {
		return
	}
	if exit, ok := userland.Run(os.Args); ok {
		os.Exit(exit)
	}
}
