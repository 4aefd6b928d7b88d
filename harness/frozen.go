package harness

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kernel-playground/kplay/harness/crash"
	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/results"
)

// A build is frozen twice. The base is frozen at the loader: it lasts as long as
// the kernel does. The template that cases run from is made of it, by handing it
// this program and the modules, and is frozen with the agent ready.

// A baseNote is what is kept of a base besides the template.
type baseNote struct {
	Line    string // the name of the line the loader has opened
	Landing []stretch
	Modules map[string]string // what became of those the line needs
}

// A frozen is a guest frozen with its agent ready for cases.
type frozen struct {
	vm.Template
	frozenNote
	kept bool // it comes from the store

	mu    sync.Mutex
	first *spare // the machine that was frozen, if it can go on
}

// A frozenNote is what is kept of a frozen besides the template.
type frozenNote struct {
	Line    string
	Ready   event.Event   // what the agent said of the guest
	BootLog []event.Event // the graver records of the kernel's log until then
	Stretch float64       // how many times slower than this host the guest is
	QEMU    string        // version
	Args    []string      // QEMU's command line
}

// recallFrozen returns the frozen of an earlier run of this program, or nil.
func (s *Session) recallFrozen() (*frozen, error) {
	p, ok := s.known()
	if !ok {
		return nil, nil
	}
	key, err := s.shape(p.accel)
	if err != nil {
		return nil, err
	}
	f := &frozen{kept: true}
	t, ok := s.store().Open(s.readyKey(key), &f.frozenNote)
	if !ok {
		return nil, nil
	}
	f.Template = *t
	f.Spec = s.shaped(p.accel, t.Spec.RAM)
	s.keepTo(p)
	return f, nil
}

// keep keeps a frozen for later runs of this program.
func (s *Session) keep(f *frozen) error {
	key, err := s.shape(f.Spec.Accel)
	if err != nil {
		return err
	}
	return s.store().Save(s.readyKey(key), s.title(f.Spec.Accel)+", ready", &f.Template, f.frozenNote)
}

// drop throws a frozen away.
func (s *Session) drop(f *frozen) {
	if key, err := s.shape(f.Spec.Accel); err == nil && f.kept {
		s.store().Remove(s.readyKey(key))
	}
	f.Spec.RAM.Close()
}

// title says what a template is of.
func (s *Session) title(accel vm.Accel) string {
	return fmt.Sprintf("%s, %s, %d MiB, %d CPU", s.plan.Build.Release, accel, s.plan.Memory, s.plan.CPUs)
}

// complaint is the worst of what the kernel complained of before it was frozen,
// or nil.
func (f *frozen) complaint() *crash.Record {
	var text strings.Builder
	for _, e := range f.BootLog {
		if e.Facility == kernelFacility {
			text.WriteString(e.Text + "\n")
		}
	}
	return crash.Worst(crash.Scan([]byte(text.String())))
}

// shaped is the spec of a template's machine: what only a boot needs is left out.
func (s *Session) shaped(accel vm.Accel, ram *os.File) vm.Spec {
	spec := s.spec(accel)
	spec.Kernel, spec.Cmdline, spec.Initrd, spec.RAM = "", "", nil, ram
	return spec
}

// raising gives a guest at its loader: of a base in the store, or else of a boot,
// whose base is then in the store. Others that want the same wait meanwhile.
func (s *Session) raising(ctx context.Context) (*raising, error) {
	key, err := s.shape(vm.TCG) // whichever accelerator it will be
	if err != nil {
		return nil, err
	}
	unlock, err := s.store().Lock(ctx, key)
	switch {
	case err == nil:
		defer unlock()
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default:
		s.plan.Watch.Notice(err.Error())
	}
	if r, err := s.recallBase(ctx); r != nil || err != nil {
		return r, err
	}
	c, err := s.coldBoot(ctx)
	if err != nil {
		return nil, err
	}
	r, err := s.freezeBase(ctx, c)
	if err != nil {
		c.discard()
	}
	return r, err
}

// recallBase returns a guest that goes on from a base in the store, with a
// memory of its own, or nil.
func (s *Session) recallBase(ctx context.Context) (*raising, error) {
	p, ok := s.known()
	if !ok {
		return nil, nil
	}
	key, err := s.shape(p.accel)
	if err != nil {
		return nil, err
	}
	var note baseNote
	t, ok := s.store().Open(key, &note)
	if !ok {
		return nil, nil
	}
	defer t.Spec.RAM.Close()
	r, err := s.thaw(ctx, p.accel, t, note)
	if err != nil && ctx.Err() == nil {
		s.plan.Watch.Notice("a template is thrown away: " + err.Error())
		s.store().Remove(key)
		return nil, nil
	}
	s.keepTo(p)
	return r, err
}

func (s *Session) thaw(ctx context.Context, accel vm.Accel, t *vm.Template, note baseNote) (*raising, error) {
	ram, err := vm.NewRAM(s.plan.Memory)
	if err != nil {
		return nil, err
	}
	r := &raising{spec: s.shaped(accel, ram), note: note, boot: &results.Boot{Kind: results.KindThaw}}
	begin := time.Now()
	err = vm.CopyRAM(ram, t.Spec.RAM, nil)
	r.boot.Phases = append(r.boot.Phases, results.Phase{Name: "copy memory", Wall: time.Since(begin)})
	if err == nil {
		own := vm.Template{Spec: r.spec, State: t.State}
		r.console, r.accel = newConsole(), accel
		r.machine, err = own.Thaw(ctx, r.console)
	}
	if err != nil {
		ram.Close()
		return nil, err
	}
	r.boot.Phases = append(r.boot.Phases, results.Phase{Name: "QEMU start and load", Wall: time.Since(r.machine.Started)})
	return r, nil
}

// freezeBase freezes a guest that has booted to its loader, and keeps the base.
// Where it cannot be kept, the next run boots again.
func (s *Session) freezeBase(ctx context.Context, c *cold) (*raising, error) {
	begin := time.Now()
	key, err := s.shape(c.accel)
	if err != nil {
		return nil, err
	}
	state, err := c.machine.Freeze(ctx)
	if err != nil {
		return nil, err
	}
	r := &raising{newborn: c.newborn, spec: s.shaped(c.accel, c.ram), booted: true, boot: &results.Boot{Kind: results.KindBoot, Phases: c.phases()}}
	r.note = baseNote{Line: c.knock.line.Name, Modules: c.knock.event.Modules}
	if r.note.Landing, err = findLanding(c.ram, s.delivery.landingSize()); err != nil {
		return nil, err
	}
	err = s.store().Save(key, s.title(c.accel)+", booted", &vm.Template{Spec: r.spec, State: state}, r.note)
	if err != nil {
		s.plan.Watch.Notice(err.Error())
	}
	r.boot.Phases = append(r.boot.Phases, results.Phase{Name: "freeze and keep", Wall: time.Since(begin)})
	return r, nil
}
