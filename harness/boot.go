package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/harness/event"
	"github.com/kernel-playground/kplay/harness/guest"
	"github.com/kernel-playground/kplay/harness/vm"
	"github.com/kernel-playground/kplay/images/kernel"
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
	"audit=0", "selinux=0", "apparmor=0", "rcupdate.rcu_expedited=1",
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
	return strings.Join(append(words, uarts, guest.RoleVar+"="+guest.RoleAgent), " ")
}

func (s *Session) spec(accel vm.Accel) vm.Spec {
	return vm.Spec{
		QEMU: s.qemu, Accel: accel, Kernel: s.kernel, Initrd: s.initrd,
		Cmdline: s.cmdline(accel), Memory: s.plan.Memory, CPUs: s.plan.CPUs, Channel: s.channel,
	}
}

// machine gives a sound, booted machine. A kernel that fails to boot is tried
// once more, so that one bad boot in many is told from a kernel that never
// boots.
func (s *Session) machine(ctx context.Context) (*link, error) {
	if s.link != nil {
		return s.link, nil
	}
	for first := true; ; first = false {
		l, err := s.boot(ctx)
		if err == nil {
			return s.admit(l), nil
		}
		var dead *KernelError
		if !errors.As(err, &dead) || ctx.Err() != nil {
			return nil, err
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

func (s *Session) boot(ctx context.Context) (*link, error) {
	if s.accel == "" || len(s.run.Boots) == 0 {
		return s.firstBoot(ctx)
	}
	return connect(ctx, s.spec(s.accel), bootLimit[s.accel])
}

// admit makes l the session's machine and begins its record.
func (s *Session) admit(l *link) *link {
	l.number = len(s.run.Boots) + 1
	s.run.Boots = append(s.run.Boots, results.Boot{Number: l.number, Phases: l.phases()})
	if l.number == 1 || len(s.run.Machine.Args) == 0 {
		s.run.Machine.Args, s.run.Machine.QEMU = l.machine.Args, l.machine.Version
		s.run.Machine.Cmdline = s.cmdline(s.accel)
	}
	if s.writer != nil {
		if f, err := s.writer.Console(l.number); err == nil {
			l.console.keep(f)
		}
		l.log = func(e event.Event) { s.writer.Event(l.number, e) }
		l.log(l.hello)
	}
	go l.listen()
	for _, fate := range l.hello.Modules {
		if fate != "loaded" && l.number == 1 {
			s.plan.Watch.Notice(fmt.Sprintf("in the guest: %s", fate))
		}
	}
	s.link = l
	return l
}

// failedBoot records a boot that came to nothing, and shows it.
func (s *Session) failedBoot(dead *KernelError) {
	number := len(s.run.Boots) + 1
	s.run.Boots = append(s.run.Boots, results.Boot{Number: number, End: "crash", Reason: dead.Reason})
	if s.writer != nil {
		if f, err := s.writer.Console(number); err == nil {
			f.Write([]byte(dead.Console))
			f.Close()
		}
	}
	s.plan.Watch.Notice(dead.Reason)
	s.plan.Watch.Notice(dead.Console)
}

// retire ends a machine that a case has damaged.
func (s *Session) retire(l *link, res results.Result) {
	l.kill()
	s.ended(l, strings.ToLower(string(res.Verdict)), res.FullName()+": "+res.Reason)
}

// ended completes the record of a boot.
func (s *Session) ended(l *link, end, reason string) {
	l.console.close()
	b := &s.run.Boots[l.number-1]
	ending := l.machine.Ending()
	b.End, b.Reason, b.Wall, b.CPU = end, reason, ending.Wall, ending.CPU
	b.Phases = append(b.Phases, results.Phase{Name: "cases and shutdown", Wall: ending.Wall - l.greeted.Sub(l.machine.Started)})
	s.link = nil
}
