package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/initramfs"
	"github.com/kernel-playground/kplay/results"
)

// bootLimit is when a boot counts as hung, by the host's clock. Under TCG on a
// heavily loaded machine a good boot was seen to take 51 s.
var bootLimit = map[vm.Accel]time.Duration{
	vm.KVM: 30 * time.Second,
	vm.TCG: 90 * time.Second,
}

// lean are the kernel's parameters that cost nothing in what can be tested and
// spare it work at boot (Documentation/admin-guide/kernel-parameters.txt).
// no_timer_check is a must under TCG: on a loaded host the check panics. The
// clock of an emulated guest was seen to run 20 times too fast, so lockups and
// stalls, which the kernel tells by its clock, are for the host to tell.
var lean = []string{
	"console=ttyS0", "quiet", "panic=-1",
	"no_timer_check", "mitigations=off", "nokaslr", "random.trust_cpu=on", "cryptomgr.notests",
	"audit=0", "lsm=", "selinux=0", "apparmor=0", "psi=0", "rcupdate.rcu_expedited=1",
	// Not for the kernel, which hands it on to /init: a Go program is interrupted
	// by a signal when it has run for 10 ms, as the agent does in each clone while
	// it is still being translated. Cases do not inherit it.
	"GODEBUG=asyncpreemptoff=1",
}

var emulated = []string{"nowatchdog", "rcupdate.rcu_cpu_stall_suppress=1"}

func (s *Session) cmdline(accel vm.Accel) string {
	words := append([]string{}, lean...)
	if accel == vm.TCG {
		words = append(words, emulated...)
	}
	if s.plan.Profile {
		words = append(words, guest.ProfileVar+"=1")
	}
	uarts := "8250.nr_uarts=1"
	if s.channel == vm.Virtio {
		words = append(words, guest.ChannelVar+"=virtio")
	} else {
		uarts = "8250.nr_uarts=2"
	}
	return strings.Join(append(words, uarts, fmt.Sprintf("%s=%d", guest.LandingVar, s.delivery.landingSize()),
		guest.RoleVar+"="+guest.RoleLoader), " ")
}

func (s *Session) spec(accel vm.Accel) vm.Spec {
	return vm.Spec{
		QEMU: s.qemu, Accel: accel, Kernel: s.kernel, Cmdline: s.cmdline(accel),
		Memory: s.plan.Memory, CPUs: s.plan.CPUs, Channel: s.channel, Dumpable: s.plan.Vmcore, Watchdog: s.watchdog,
	}
}

// A cold is a guest that has booted to its loader.
type cold struct {
	newborn
	ram   *os.File
	knock answer
}

// boot boots the kernel until its loader knocks.
func (s *Session) boot(ctx context.Context, accel vm.Accel) (*cold, error) {
	image, initrd, err := s.image(ctx)
	if err != nil {
		return nil, err
	}
	defer image.Close()
	defer initrd.Close()
	c := &cold{newborn: newborn{console: newConsole(), accel: accel}}
	if c.ram, err = vm.NewRAM(s.plan.Memory); err != nil {
		return nil, err
	}
	spec := s.spec(accel)
	spec.RAM, spec.Initrd, spec.Console = c.ram, initrd, c.console
	if c.machine, err = vm.Start(ctx, spec); err != nil {
		c.ram.Close()
		return nil, err
	}
	answers := make(chan answer, len(c.machine.Lines))
	for _, line := range c.machine.Lines {
		go func() { answers <- knocked(line) }()
	}
	if c.knock, err = c.await(ctx, answers, bootLimit[accel]); err != nil {
		c.discard()
		return nil, err
	}
	return c, nil
}

// knocked waits for the loader on a line.
func knocked(line vm.Line) answer {
	conn := event.NewConn(line, event.BootKey, line.Lossy)
	defer conn.Close()
	a := receive(line, conn)
	if a.err == nil && (a.event.Kind != event.Knock || a.event.Facts == nil) {
		a.err = fmt.Errorf("wait for the loader: got %q", a.event.Kind)
	}
	return a
}

// discard ends the machine and frees its memory.
func (c *cold) discard() {
	c.end()
	c.ram.Close()
}

// image is the initramfs of a boot, and a file to read it by.
func (s *Session) image(ctx context.Context) (*initramfs.Image, *os.File, error) {
	agent, err := os.Executable()
	if err != nil {
		return nil, nil, &vm.HostError{Deed: "find this program's own file", Err: err}
	}
	image, err := initramfs.Assemble(ctx, initramfs.Spec{Agent: agent, Modules: s.transport})
	if err != nil {
		return nil, nil, err
	}
	f, err := image.File()
	return image, f, err
}

// phases splits the boot's wall time. What happens in the guest is told by the
// guest's clock, which under emulation keeps its own pace: those stretches are
// scaled to fit between what the host saw.
func (c *cold) phases() []results.Phase {
	ps := []results.Phase{{Name: "QEMU start", Wall: c.machine.Running.Sub(c.machine.Started)}}
	seen := c.knock.at.Sub(c.machine.Running)
	marks := c.knock.event.Marks
	if len(marks) == 0 {
		return append(ps, results.Phase{Name: "firmware to loader", Wall: seen})
	}
	inGuest := time.Duration(marks[len(marks)-1].NS)
	scale := 1.0
	if firmware := seen - inGuest; firmware > 0 {
		ps = append(ps, results.Phase{Name: "firmware", Wall: firmware})
	} else {
		scale = float64(seen) / float64(inGuest)
	}
	var before int64
	for _, m := range marks {
		ps = append(ps, results.Phase{Name: m.Name, Wall: time.Duration(float64(m.NS-before) * scale)})
		before = m.NS
	}
	return ps
}

// asKernelError returns what is wrong with the kernel, if err says so.
func asKernelError(err error) (*KernelError, bool) {
	var dead *KernelError
	return dead, errors.As(err, &dead)
}
