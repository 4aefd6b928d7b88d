// Package guest is what runs inside a machine: the loader, which is /init of a
// machine that boots; the agent, which the loader becomes; and the runner, a
// child process of the agent in which cases run.
//
// All are the program that links this package, started again under another role
// (the environment variable RoleVar), so host and guest cannot drift apart. The
// loader alone may be of an earlier program: a template that was frozen at it is
// used as long as Source stays the same.
//
// The agent keeps the one secret of a machine, the key of its event channel, and
// never runs a case: a Go panic in init is a kernel panic. A runner gets cases
// one by one over a socket of its own, in a PID and a mount namespace of its
// own, so that the agent can neither be seen nor killed from a case, and so that
// whatever a case leaves behind ends with its runner. A case that has a part to
// play in other namespaces starts it from there (suites.T.Enter).
//
// The kernel may be any from 3.16 (2014) on: what a kernel may lack is tried,
// never assumed.
package guest

import (
	"fmt"
	"os"

	"github.com/kernel-playground/kplay/suites"
)

// RoleVar is the environment variable that says which part of the guest this
// process is; the kernel hands it from its command line to /init.
const RoleVar = "KPLAY_GUEST"

// ChannelVar names the environment variable that says which line to use:
// "virtio", "uart", or empty for whichever the kernel knows.
const ChannelVar = "KPLAY_CHANNEL"

// ProfileVar names the environment variable that has the guest tell how long
// the kernel took to unpack the initramfs.
const ProfileVar = "KPLAY_PROFILE"

// InGuestVar names the environment variable that every process of a guest has.
const InGuestVar = "KPLAY_IN_GUEST"

// The roles.
const (
	RoleLoader = "loader"
	RoleAgent  = "agent"
	roleRunner = "runner"
)

// Main plays the guest's part if this process is one, and then does not return.
// On the host it returns at once. It belongs first in main or TestMain.
func Main(all []suites.Suite) {
	suites.PlayPart(all)
	suites.RunProgram(all)
	switch role := os.Getenv(RoleVar); {
	case role == RoleLoader && os.Getpid() == 1:
		runLoader()
	case role == RoleAgent && os.Getpid() == 1:
		giveUp(agentOfLoader())
	case role == roleRunner:
		fmt.Fprintln(os.Stderr, "kplay runner:", serveCases(all))
		os.Exit(3)
	}
}
