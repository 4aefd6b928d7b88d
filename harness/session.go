package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sys/unix"

	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/initramfs"
	"github.com/kernel-playground/kplay/images/kernel"
	"github.com/kernel-playground/kplay/results"
)

// A Session is one build being taken through cases. Nothing is booted before
// the first case.
type Session struct {
	plan      Plan
	qemu      string // its path
	kernel    string // the file QEMU boots
	channel   vm.Channel
	transport []kernel.Module // what the line needs where it is not built in
	watchdog  bool            // the kernel has a driver for it
	delivery  *delivery

	making   sync.Mutex // held while the template is made
	shapes   map[vm.Accel]string
	frozen   *frozen // what clones start from; nil until the first case
	hopeless error   // why there is none and will be none
	worker   *worker // of the cases that Case runs

	mu      sync.Mutex // guards what follows
	run     *results.Run
	writer  *results.Writer // nil if the run is not saved
	saveErr error
}

// transport are the modules the agent's line needs where they are not built in.
var transport = []string{"virtio_pci", "virtio_console"}

// dumping are the modules by which a kernel says that it has panicked, and where
// a dump of its memory has to be read from.
var dumping = []string{"pvpanic", "pvpanic_mmio", "qemu_fw_cfg"}

// watchdog is the driver of the watchdog that machines have.
const watchdog = "i6300esb"

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
	s := &Session{plan: p, qemu: qemu, shapes: make(map[vm.Accel]string)}
	s.worker = &worker{s: s}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	s.run = p.newRun()
	if p.Results == "" {
		return s, nil
	}
	if s.writer, err = results.Create(p.Results, s.run); err != nil {
		return nil, errors.Join(mendable(err, p.Results), s.delivery.program.Close())
	}
	return s, nil
}

// prepare packs what the guest is to have and finds the fastest way to boot the
// kernel.
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
	items, err := s.items(ctx)
	if err != nil {
		return err
	}
	agent, err := os.Executable()
	if err != nil {
		return &vm.HostError{Deed: "find this program's own file", Err: err}
	}
	s.delivery, err = pack(ctx, agent, items)
	return err
}

// items are what the guest is handed besides the program: modules to load, and
// the modules and disks that cases may ask for.
func (s *Session) items(ctx context.Context) ([]guest.Item, error) {
	modules, err := s.modules()
	if err != nil {
		return nil, err
	}
	var items []guest.Item
	for _, m := range modules {
		items = append(items, guest.Item{Name: m.Name, Data: m.Data})
	}
	attic, err := s.attic(ctx)
	return append(items, attic...), err
}

// modules sets the modules for the line, and returns those for the suites: what
// they need, and what they like to have. One that is missing may be built into a
// kernel whose configuration is unknown: the guest will tell.
func (s *Session) modules() ([]kernel.Module, error) {
	b := s.plan.Build
	line, missing, err := b.ResolveModules(transport, nil)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 {
		s.channel, line = vm.Either, nil
	}
	s.transport = line
	names := s.plan.modules()
	if s.plan.Vmcore {
		names = append(names, dumping...)
	}
	if _, missing, err := b.ResolveModules([]string{watchdog}, nil); err == nil && len(missing) == 0 {
		s.watchdog, names = true, append(names, watchdog)
	}
	wanted, _, err := b.ResolveModules(names, s.plan.Replace)
	return slices.DeleteFunc(distinct(wanted), s.isTransport), err
}

func (s *Session) isTransport(m kernel.Module) bool {
	return slices.ContainsFunc(s.transport, func(o kernel.Module) bool { return o.Name == m.Name })
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

// template gives what clones start from. What failed once is not tried again.
func (s *Session) template(ctx context.Context) (*frozen, error) {
	s.making.Lock()
	defer s.making.Unlock()
	if s.frozen == nil && s.hopeless == nil {
		s.frozen, s.hopeless = s.insist(ctx)
		if s.frozen != nil {
			s.adopt()
		}
	}
	return s.frozen, s.hopeless
}

// insist gets a template, at the second try if need be: one bad boot in many is
// told from a kernel that never boots.
func (s *Session) insist(ctx context.Context) (*frozen, error) {
	for first := true; ; first = false {
		f, err := s.freeze(ctx)
		dead, ok := asKernelError(err)
		if !ok || ctx.Err() != nil {
			return f, err
		}
		if dead.Silent && s.plan.Build.Config == "" {
			return nil, kernel.UserError(dead.Reason + ": build it with CONFIG_SERIAL_8250_CONSOLE=y, or name it together with its configuration")
		}
		s.failedBoot(dead)
		if !first {
			return nil, err
		}
		s.plan.Watch.Notice("trying once more")
	}
}

// freeze finds the template, or makes it: of a base, or else of a boot.
func (s *Session) freeze(ctx context.Context) (*frozen, error) {
	if f, err := s.recallFrozen(); f != nil || err != nil {
		return f, err
	}
	r, err := s.raising(ctx)
	if err != nil {
		return nil, err
	}
	return s.raise(ctx, r)
}

// adopt records what clones start from, and says what is wrong with it.
func (s *Session) adopt() {
	f := s.frozen
	s.mu.Lock()
	s.run.Machine.Args, s.run.Machine.QEMU, s.run.Machine.Cmdline = f.Args, f.QEMU, s.cmdline(f.Spec.Accel)
	s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(f.Ready.Modules)) {
		if fate := f.Ready.Modules[name]; fate != "loaded" {
			s.plan.Watch.Notice("in the guest: " + fate)
		}
	}
	if worst := f.complaint(); worst != nil {
		s.plan.Watch.Notice("the kernel complained while booting: " + worst.Summary())
	}
}

// forget drops a template that turned out not to work.
func (s *Session) forget(f *frozen) {
	s.making.Lock()
	defer s.making.Unlock()
	if s.frozen == f {
		s.drop(f)
		s.frozen = nil
	}
}

// born records a machine that was started to be frozen.
func (s *Session) born(r *raising, f *frozen, err error) {
	b := *r.boot
	b.End = "frozen"
	if err != nil {
		b.End, b.Reason = "error", err.Error()
	} else if worst := f.complaint(); worst != nil {
		b.Reason = worst.Summary()
	}
	b.Wall, b.CPU = time.Since(r.machine.Started), r.machine.CPU()
	n := s.number(b)
	if f == nil || s.writer == nil {
		return
	}
	if file, err := s.writer.Console(n); err == nil {
		file.Write(r.console.since(0))
		file.Close()
	}
	for _, e := range append([]event.Event{f.Ready}, f.BootLog...) {
		s.writer.Event(n, e)
	}
}

// number adds a machine to the record and returns its number.
func (s *Session) number(b results.Boot) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.Number = len(s.run.Boots) + 1
	s.run.Boots = append(s.run.Boots, b)
	return b.Number
}

// failedBoot records a boot that came to nothing, and shows it.
func (s *Session) failedBoot(dead *KernelError) {
	number := s.number(results.Boot{Kind: results.KindBoot, End: "crash", Reason: dead.Reason})
	if s.writer != nil {
		if f, err := s.writer.Console(number); err == nil {
			f.Write([]byte(dead.Console))
			f.Close()
		}
	}
	s.plan.Watch.Notice(dead.Reason)
	s.plan.Watch.Notice(dead.Console)
}

// Close ends the session and gives the run. broken is why it ended early, or nil.
func (s *Session) Close(broken error) (*results.Run, error) {
	var errs *multierror.Error
	s.worker.close()
	if broken != nil {
		s.run.Failure = missReason(broken)
	}
	s.run.State, s.run.Finished = results.Finished, time.Now()
	s.plan.sort(s.run.Cases)
	s.save()
	errs = multierror.Append(errs, s.saveErr, s.delivery.program.Close())
	if s.frozen != nil {
		if first := s.frozen.takeFirst(); first != nil {
			first.end()
		}
		errs = multierror.Append(errs, s.frozen.Spec.RAM.Close())
	}
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
