// Command mutants measures the overlayfs suite: it plants one plausible slip
// after the other in fs/overlayfs, builds the module, and has the suite find it.
//
// It takes the sources and the headers of Debian's 6.1 cloud kernel from the
// package archive and tests the kernel they belong to. One machine runs at a
// time. It needs apt-get, make and the C compiler the kernel was built with.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness"
	"github.com/kernel-playground/kplay/suites"
	"github.com/kernel-playground/kplay/suites/overlayfs"
)

// What is to be measured.
type options struct {
	sample  int
	seed    uint64
	only    string
	trusted bool
	kept    string
}

func parseFlags() (o options) {
	flag.IntVar(&o.sample, "sample", 0, "plant only `N` mutants, picked by the seed; 0 means all")
	flag.Uint64Var(&o.seed, "seed", 1, "what to pick by")
	flag.StringVar(&o.only, "only", "*", "plant only mutants that match one of these `globs`, as file/name, with commas between them")
	flag.BoolVar(&o.trusted, "trust", false, "do not run the suite on the module as it is first")
	flag.StringVar(&o.kept, "results", "", "add what becomes of each to this `file`, and go on after what is in it; delete it when the suite has changed")
	flag.Parse()
	return o
}

func main() {
	harness.BeGuest([]suites.Suite{overlayfs.Suite()})
	o := parseFlags()
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	all, err := manifest()
	if err != nil {
		return err
	}
	if all, err = choose(all, o.only, o.sample, o.seed); err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find the cache directory: %w", err)
	}
	src, err := fetch(ctx, filepath.Join(cache, "kplay"))
	if err != nil {
		return err
	}
	if err := src.fits(all); err != nil {
		return err
	}
	s, err := openStudy(o.kept)
	if err != nil {
		return err
	}
	defer s.close()
	todo := s.todo(all, o.trusted)
	if err := src.buildAll(ctx, todo); err != nil {
		return err
	}
	l, err := newLab(ctx, src, filepath.Join(cache, "kplay"))
	if err != nil {
		return err
	}
	err = s.measure(ctx, l, todo)
	s.tally(all).print(os.Stdout)
	return err
}
