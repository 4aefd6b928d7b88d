package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/initramfs"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
)

// A Session is one build being taken through cases. Nothing is booted before
// the first case.
type Session struct {
	plan    Plan
	run     *results.Run
	writer  *results.Writer // nil if the run is not saved
	saveErr error

	qemu    string // its path
	image   *initramfs.Image
	initrd  *os.File // the same, for QEMU to read
	kernel  string   // the file QEMU boots
	channel vm.Channel
	accel   vm.Accel // empty until it is known
	link    *link    // the sound machine, if there is one
}

// transport are the modules the agent's line needs where they are not built in.
var transport = []string{"virtio_pci", "virtio_console"}

// Open checks the plan and prepares what is to be booted. Of an unfit build or
// plan it says so with a kernel.UserError.
func Open(ctx context.Context, p Plan) (*Session, error) {
	p = p.withDefaults()
	if p.Memory < MinMemory {
		return nil, kernel.UserError(fmt.Sprintf("%d MiB of memory are too few: give at least --memory %d", p.Memory, MinMemory))
	}
	qemu, err := vm.Find()
	if err != nil {
		return nil, err
	}
	s := &Session{plan: p, qemu: qemu}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	if p.Accel != Auto {
		s.accel = vm.Accel(p.Accel)
	}
	s.run = p.newRun()
	if p.Results == "" {
		return s, nil
	}
	if s.writer, err = results.Create(p.Results, s.run); err != nil {
		return nil, errors.Join(mendable(err, p.Results), s.discard())
	}
	return s, nil
}

// discard frees the initramfs.
func (s *Session) discard() error {
	return errors.Join(s.initrd.Close(), s.image.Close())
}

// prepare makes the initramfs and finds the fastest way to boot the kernel.
func (s *Session) prepare(ctx context.Context) error {
	b := s.plan.Build
	path, ok, err := initramfs.Vmlinux(s.plan.Cache, b.Image)
	if err != nil {
		return mendable(err, s.plan.Cache)
	}
	if s.kernel = path; !ok {
		s.kernel = b.Image
	}
	if err := fit(b, path, ok); err != nil {
		return err
	}
	modules, err := s.modules()
	if err != nil {
		return err
	}
	agent, err := os.Executable()
	if err != nil {
		return &vm.HostError{Deed: "find this program's own file", Err: err}
	}
	if s.image, err = initramfs.Assemble(ctx, initramfs.Spec{Agent: agent, Modules: modules}); err != nil {
		return err
	}
	s.initrd, err = s.image.File()
	return err
}

// modules are those the guest loads: for the line, for the suites, and those
// the suites like to have. One that is missing may be built into a kernel whose
// configuration is unknown: the guest will tell.
func (s *Session) modules() ([]kernel.Module, error) {
	b := s.plan.Build
	line, missing, err := b.ResolveModules(transport, nil)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		s.channel, line = vm.Either, nil
	}
	wanted, _, err := b.ResolveModules(s.plan.modules(), s.plan.Replace)
	if err != nil {
		return nil, err
	}
	return distinct(slices.Concat(line, wanted)), nil
}

func distinct(modules []kernel.Module) []kernel.Module {
	var out []kernel.Module
	for _, m := range modules {
		if !slices.ContainsFunc(out, func(o kernel.Module) bool { return o.Name == m.Name }) {
			out = append(out, m)
		}
	}
	return out
}

// Close ends the session and gives the run. broken is why it ended early, or nil.
func (s *Session) Close(broken error) (*results.Run, error) {
	var errs *multierror.Error
	if s.link != nil {
		s.link.stop()
		s.ended(s.link, "bye", "")
	}
	if broken != nil {
		s.run.Failure = missReason(broken)
	}
	s.run.State, s.run.Finished = results.Finished, time.Now()
	s.save()
	errs = multierror.Append(errs, s.saveErr, s.discard())
	if s.writer != nil {
		errs = multierror.Append(errs, s.writer.Close())
	}
	var user kernel.UserError
	if errors.As(broken, &user) && s.run.Dir != "" {
		// What could not be tested at all is not worth remembering.
		errs = multierror.Append(errs, os.RemoveAll(s.run.Dir))
		s.run.Dir = ""
	}
	return s.run, errs.ErrorOrNil()
}

// mendable makes a UserError of an error that comes from dir being full or not
// writable.
func mendable(err error, dir string) error {
	for _, cause := range []error{unix.ENOSPC, unix.EDQUOT, unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOTDIR} {
		if errors.Is(err, cause) {
			return kernel.UserError(fmt.Sprintf("%s cannot be written to: %v: make room or choose another directory", dir, cause))
		}
	}
	return err
}
