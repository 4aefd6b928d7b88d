// Command kplay boots kernel builds in throw-away machines, runs suites of
// cases in them, and keeps what it found.
//
// Its exit status is 0 if all went as expected, 1 if the kernel failed
// something, 2 after bad usage or input, and 3 if the harness could not do its
// job.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/suites/all"
)

// Exit statuses.
const (
	exitOK     = 0
	exitKernel = 1
	exitUsage  = 2
	exitHost   = 3
)

// errKernelFailed says that the report tells what the kernel failed.
var errKernelFailed = errors.New("the kernel failed")

// A usageError is a command line that makes no sense.
type usageError struct{ error }

func main() {
	harness.BeGuest(all.Suites())
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	// A second Ctrl-C ends the program at once; its machines die with it.
	context.AfterFunc(ctx, stop)
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "kplay: interrupted")
	} else if err != nil && !errors.Is(err, errKernelFailed) {
		fmt.Fprintln(os.Stderr, "kplay:", err)
	}
	return exitStatus(err)
}

func exitStatus(err error) int {
	var usage usageError
	var user kernel.UserError
	var dead *harness.KernelError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage), errors.As(err, &user):
		return exitUsage
	case errors.Is(err, errKernelFailed), errors.As(err, &dead):
		return exitKernel
	}
	return exitHost
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "kplay",
		Short:         "Boot kernel builds in throw-away machines and judge their features",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newRun(), newList(), newDoctor(), newResults(), newCrash(), newModule(), newCache(), newVersion())
	root.Args = cobra.ArbitraryArgs
	root.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usageError{fmt.Errorf("there is no command %q; see kplay --help", args[0])}
		}
		return c.Help()
	}
	return root
}

// between refuses a number of arguments that makes no sense.
func between(least, most int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if err := cobra.RangeArgs(least, most)(c, args); err != nil {
			return usageError{fmt.Errorf("%s: %w; see %s --help", c.CommandPath(), err, c.CommandPath())}
		}
		return nil
	}
}

// version is what the Go toolchain recorded in this binary.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (v == "" || v == "(devel)") {
			v = s.Value
		}
	}
	return v
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version of kplay", Args: between(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), "kplay", version())
			return err
		},
	}
}
