package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/kernel-playground/kplay/harness/vm"
)

// trust is how long a proved accelerator is believed in. That KVM works is
// found out anew when it does not; that it does not, only by trying again.
const trust = 24 * time.Hour

// A proof is which accelerator runs a kernel on this host, and how that is known.
type proof struct {
	accel  vm.Accel
	reason string
}

// KVMUsable says whether KVM is worth a try, and if not why. That it is proves
// nothing.
func KVMUsable() (bool, string) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	switch {
	case os.IsNotExist(err):
		return false, "there is no /dev/kvm"
	case err != nil:
		return false, err.Error()
	}
	f.Close()
	return true, ""
}

// proofFile is where the answer for this host and kernel is kept.
func (s *Session) proofFile() string {
	key := strings.Join([]string{s.run.Host.Kernel, s.run.Host.CPU, s.qemu, s.plan.Build.Digest}, "\n")
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(s.plan.Cache, "accel", hex.EncodeToString(sum[:16]))
}

func (s *Session) recall() (proof, bool) {
	st, err := os.Stat(s.proofFile())
	if err != nil || time.Since(st.ModTime()) > trust {
		return proof{}, false
	}
	b, err := os.ReadFile(s.proofFile())
	accel, reason, ok := strings.Cut(strings.TrimSpace(string(b)), ": ")
	if err != nil || !ok || accel != string(vm.KVM) && accel != string(vm.TCG) {
		return proof{}, false
	}
	return proof{vm.Accel(accel), reason}, true
}

// remember keeps a proof. Without it the next run proves again.
func (s *Session) remember(p proof) {
	file := s.proofFile()
	os.MkdirAll(filepath.Dir(file), 0o755)
	tmp := fmt.Sprintf("%s.%d", file, os.Getpid())
	if os.WriteFile(tmp, []byte(string(p.accel)+": "+p.reason+"\n"), 0o644) == nil {
		os.Rename(tmp, file)
	}
}

// known says which accelerator to use, if that need not be proved.
func (s *Session) known() (p proof, ok bool) {
	usable, why := KVMUsable()
	switch {
	case s.plan.Accel != Auto:
		return proof{vm.Accel(s.plan.Accel), "asked for by --accel"}, true
	case !usable:
		return proof{vm.TCG, why}, true
	}
	return s.recall()
}

// keepTo makes all machines use p.
func (s *Session) keepTo(p proof) {
	s.run.Machine.Accel, s.run.Machine.AccelReason = string(p.accel), p.reason
}

// coldBoot boots the kernel by the accelerator that is proved to run it, and
// proves it if need be: both are started, and the first whose loader knocks is
// kept.
func (s *Session) coldBoot(ctx context.Context) (*cold, error) {
	p, ok := s.known()
	if !ok {
		return s.race(ctx)
	}
	c, err := s.boot(ctx, p.accel)
	if err != nil && p.accel == vm.KVM && s.plan.Accel == Auto && ctx.Err() == nil {
		p = proof{vm.TCG, "KVM ran this kernel before, and does not now"}
		if c, err = s.boot(ctx, p.accel); err == nil {
			s.remember(p)
			s.plan.Watch.Notice("using tcg: " + p.reason)
		}
	}
	if err != nil {
		return nil, err
	}
	s.keepTo(p)
	return c, nil
}

type attempt struct {
	accel vm.Accel
	cold  *cold
	err   error
}

func (s *Session) race(ctx context.Context) (*cold, error) {
	begin := time.Now()
	attempts := make(chan attempt, 2)
	cancel := make(map[vm.Accel]context.CancelFunc)
	for _, accel := range []vm.Accel{vm.KVM, vm.TCG} {
		one, stop := context.WithCancel(ctx)
		cancel[accel] = stop
		go func() {
			c, err := s.boot(one, accel)
			attempts <- attempt{accel, c, err}
		}()
	}
	kvmSaid := "it had not come up by then"
	var failed attempt
	for range 2 {
		a := <-attempts
		if a.err == nil {
			return s.won(a, begin, kvmSaid, cancel, attempts, failed.err == nil)
		}
		if a.accel == vm.KVM {
			kvmSaid = a.err.Error()
		}
		if failed.err == nil || a.accel == vm.TCG {
			failed = a // the kernel under test is judged by the one that surely works
		}
	}
	cancel[vm.KVM]()
	cancel[vm.TCG]()
	return nil, failed.err
}

// won keeps the machine that came up first and ends the other one.
func (s *Session) won(a attempt, begin time.Time, kvmSaid string, cancel map[vm.Accel]context.CancelFunc, attempts <-chan attempt, other bool) (*cold, error) {
	p := proof{a.accel, "it booted this kernel"}
	loser := vm.TCG
	if a.accel == vm.TCG {
		loser = vm.KVM
		p.reason = fmt.Sprintf("KVM does not run this kernel on this host: tcg booted it in %.1f s, and of kvm %s",
			time.Since(begin).Seconds(), kvmSaid)
		s.plan.Watch.Notice("using tcg: " + p.reason)
	}
	cancel[loser]()
	if other {
		if b := <-attempts; b.err == nil {
			b.cold.discard()
		}
	}
	// The winner's context stays uncancelled; it ends with ctx.
	s.keepTo(p)
	s.remember(p)
	return a.cold, nil
}
