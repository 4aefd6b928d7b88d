package crash

import "strings"

// A source is where a function to blame is looked for.
type source int

const (
	inHeadline source = iota // the symbol of the first line
	inFault                  // where the CPU was
	inLocks                  // where the lock was taken
	inTrace                  // the call trace
)

// A blameRule says how the function to blame is found.
type blameRule struct {
	order []source
	skip  []*wordlist // further plumbing
	// pick chooses among the frames of the traces in another way than taking
	// the first that is no plumbing; it may give up.
	pick func(r blameRule, o *report) *Frame
}

// Orders of sources.
var (
	byTrace    = []source{inTrace, inHeadline, inFault}
	byHeadline = []source{inHeadline, inFault, inTrace}
	byFault    = []source{inFault, inTrace, inHeadline}
	byLocks    = []source{inLocks, inTrace}
)

var blameRules = map[Class]blameRule{
	Panic:          {order: byTrace, skip: []*wordlist{&quitters, &sleepers}},
	OOMPanic:       {order: byTrace, skip: []*wordlist{&quitters, &checkers, &allocators}},
	OOMKill:        {order: byTrace, skip: []*wordlist{&quitters, &checkers, &allocators}},
	StackProtector: {order: byHeadline},
	NullDeref:      {order: byFault, skip: []*wordlist{&sleepersOnly, &allocators}},
	Fault:          {order: byFault, skip: []*wordlist{&sleepersOnly, &allocators}},
	Oops:           {order: byFault},
	GPF:            {order: byFault, skip: []*wordlist{&sleepersOnly, &allocators}},
	DivideError:    {order: byFault},
	InvalidOpcode:  {order: byFault},
	DoubleFault:    {order: byFault},
	StackOverflow:  {order: byFault, skip: []*wordlist{&sleepers}},
	Bug:            {order: byFault},
	ListCorruption: {order: byFault, skip: []*wordlist{&releasers}},
	Refcount:       {order: byHeadline, skip: []*wordlist{&counters}},
	BadPage:        {order: byTrace, skip: []*wordlist{&pagers}},
	KASAN:          {order: byTrace, skip: []*wordlist{&releasers, &allocators}},
	KFENCE:         {order: byTrace, skip: []*wordlist{&releasers, &allocators}},
	KMSAN:          {order: byTrace, skip: []*wordlist{&allocators}},
	KCSAN:          {order: []source{inHeadline}},
	UBSAN:          {order: byTrace},
	Warning:        {order: byHeadline, skip: []*wordlist{&warners, &allocators, &releasers}},
	Lockdep:        {order: byLocks, skip: []*wordlist{&releasers}},
	AtomicSleep:    {order: byTrace, skip: []*wordlist{&sleepers, &allocators}},
	HungTask:       {order: byTrace, skip: []*wordlist{&waiters}, pick: waitsFor},
	SoftLockup:     {order: byFault, skip: []*wordlist{&watchers}, pick: stallsIn},
	HardLockup:     {order: byFault, skip: []*wordlist{&watchers}},
	RCUStall:       {order: byTrace, skip: []*wordlist{&watchers}, pick: stallsIn},
	Leak:           {order: byTrace, skip: []*wordlist{&leakers}},
	MachineCheck:   {order: byFault, skip: []*wordlist{&quitters}},
	Other:          {order: byTrace, skip: []*wordlist{&checkers, &releasers, &allocators}},
}

// sleepersOnly are the checks that fault on behalf of their callers.
var sleepersOnly = wordlist{names: set(`__might_fault might_fault __might_sleep ___might_sleep __might_resched`)}

// blame chooses the trace that tells most and the function.
func (o *report) blame() {
	main := o.mainTrace()
	if main >= 0 {
		o.Frames = o.traces[main].frames
	}
	rule := blameRules[o.Class]
	if rule.pick != nil {
		if f := rule.pick(rule, o); f != nil {
			o.accuse(f)
			return
		}
	}
	for _, s := range rule.order {
		if f := rule.find(o, s); f != nil {
			o.accuse(f)
			return
		}
	}
	// All is plumbing: then the headline's own word is better than none.
	for _, f := range []*Frame{&o.headed, o.fault} {
		if f != nil && f.Func != "" && o.Class != Panic {
			o.accuse(f)
			return
		}
	}
	// An unwinder that can only guess marks every frame.
	if !hasReliable(o.Frames) {
		for i := range o.Frames {
			f := o.Frames[i]
			f.Reliable = true
			if rule.worth(&f) != nil {
				o.accuse(&f)
				return
			}
		}
	}
}

func (o *report) accuse(f *Frame) {
	o.Func, o.Module = f.Name(), f.Module
}

func (r blameRule) find(o *report, s source) *Frame {
	switch s {
	case inHeadline:
		return r.worth(&o.headed)
	case inFault:
		if o.fault == nil {
			return nil
		}
		return r.worth(o.fault)
	case inLocks:
		return o.lockSite()
	}
	return r.first(o.Frames)
}

// worth returns the frame if it tells something. What a module does always does.
func (r blameRule) worth(f *Frame) *Frame {
	if f.Func == "" || !f.Reliable || f.Inline || f.Module == "" && r.skips(f.Name()) {
		return nil
	}
	return f
}

func (r blameRule) skips(name string) bool {
	if plumbing.has(name) {
		return true
	}
	for _, list := range r.skip {
		if list.has(name) {
			return true
		}
	}
	return false
}

func (r blameRule) first(frames []Frame) *Frame {
	for i := range frames {
		if f := r.worth(&frames[i]); f != nil {
			return f
		}
	}
	return nil
}

// asides begin the labels of traces that tell of the past or of others.
var asides = []string{"llocated", "alloc", "reed by", "freed", "Freed", "was created at", "was stored", "Last potentially", "Second to last",
	"Last call_rcu", "First call_rcu", "isabled at", "created by", "-> #", "became", "stack dump", "acquired at", "Uninit", "page last"}

// mainTrace is the trace of who did it; -1 if there is none.
func (o *report) mainTrace() int {
	best := -1
	for i := range o.traces {
		t := &o.traces[i]
		switch {
		case o.Class == Lockdep && strings.HasPrefix(t.label, "stack backtrace"):
			return i
		case o.Class == Leak && strings.HasPrefix(t.label, "backtrace"):
			return i
		case o.Class != Leak && aside(t.label):
			continue
		}
		if best < 0 || !hasReliable(o.traces[best].frames) {
			best = i
		}
	}
	if best < 0 && o.Class == Lockdep && len(o.traces) > 0 {
		return 0
	}
	return best
}

func aside(label string) bool {
	for _, a := range asides {
		if strings.Contains(label, a) {
			return true
		}
	}
	return false
}

// lockSite is where the lock was taken that broke the rule, or given up. Locks
// that were merely held count if holding them is what broke it.
func (o *report) lockSite() *Frame {
	holding := strings.Contains(o.Title, "till has locks held") || strings.Contains(o.Title, "lock held when returning")
	for i := range o.sites {
		s := &o.sites[i]
		if !holding && (strings.Contains(s.label, "held by") || strings.Contains(s.label, "holding")) {
			continue
		}
		return &s.frame
	}
	return nil
}

// waitsFor finds what a hung task waits for. Tasks that wait for the grace
// period of RCU, or for the one lock of networking, are victims of whoever holds
// it up, wherever they are: they share a name.
func waitsFor(_ blameRule, o *report) *Frame {
	for i := range o.Frames {
		f := &o.Frames[i]
		if !f.Reliable || f.Inline {
			continue
		}
		switch name := f.Name(); {
		case strings.HasPrefix(name, "synchronize_"), strings.HasPrefix(name, "__synchronize_"):
			return &Frame{Func: "synchronize_rcu", Reliable: true}
		case name == "rtnl_lock", name == "rtnl_lock_killable":
			return f
		}
	}
	return nil
}

// dispatchers call whatever is due. When a CPU loops somewhere below one, the
// function it calls names the loop better than where it was caught.
var dispatchers = wordlist{
	names: set(
		`process_one_work do_syscall_64 do_syscall_x64 do_fast_syscall_32 __do_fast_syscall_32 do_int80_syscall_32 entry_SYSCALL_64_fastpath invoke_syscall`,
		`entry_SYSCALL_64_after_hwframe system_call_fastpath sysenter_dispatch tracesys_phase2 do_syscall_32_irqs_on __do_softirq do_softirq handle_softirqs do_softirq_own_stack invoke_softirq`,
		`call_timer_fn expire_timers __run_timers run_timer_softirq __run_hrtimer __hrtimer_run_queues hrtimer_run_softirq run_ksoftirqd smpboot_thread_fn kthread`,
		`cpu_startup_entry start_secondary ret_from_fork ret_from_fork_asm tasklet_action tasklet_action_common rcu_do_batch rcu_core`,
		`vfs_write __vfs_write vfs_read __vfs_read ksys_read ksys_write vfs_ioctl do_vfs_ioctl do_iter_read do_iter_write do_iter_readv_writev`,
		`call_read_iter call_write_iter new_sync_read new_sync_write do_dentry_open vfs_open call_mmap mmap_region do_mmap mmap_file __mmap_region`,
		`sock_sendmsg sock_sendmsg_nosec sock_recvmsg sock_recvmsg_nosec sock_write_iter sock_read_iter sock_release __sock_release sock_close`,
		`__sys_setsockopt do_sock_setsockopt sock_common_setsockopt kernel_setsockopt __sys_listen kernel_listen __sys_accept4 do_accept kernel_accept`,
		`sock_do_ioctl sock_ioctl compat_sock_ioctl nfnetlink_rcv_msg __sys_connect __sys_connect_file kernel_connect __sys_bind kernel_bind sock_mmap`,
		`__netif_receive_skb_core __netif_receive_skb_one_core netif_receive_skb netif_receive_skb_internal blkdev_ioctl blkdev_driver_ioctl`,
		`__do_fault do_page_fault __do_page_fault page_fault do_user_addr_fault exc_page_fault __fput task_work_run exit_to_usermode_loop exit_to_user_mode_loop prepare_exit_to_usermode`,
	),
	prefixes: []string{"el0_svc", "do_el0_svc"},
}

// stallsIn finds where a CPU loops.
func stallsIn(rule blameRule, o *report) *Frame {
	for i := range o.traces {
		t := &o.traces[i]
		if aside(t.label) || strings.Contains(t.label, "starved") {
			continue
		}
		if f := rule.below(interrupted(t.frames)); f != nil {
			o.Frames = t.frames
			return f
		}
	}
	return nil
}

// below is the last function that tells something before the first dispatcher,
// or the first of all if that is a module's.
func (r blameRule) below(frames []Frame) *Frame {
	var last *Frame
	for i := range frames {
		f := &frames[i]
		if !f.Reliable || f.Inline {
			continue
		}
		if dispatchers.has(f.Name()) && last != nil {
			return &Frame{Func: syscallName(last.Name()), Module: last.Module, Reliable: true}
		}
		if dispatchers.has(f.Name()) || r.worth(f) == nil {
			continue
		}
		if last == nil && f.Module != "" {
			return f
		}
		last = f
	}
	return nil
}

// syscallName is the system call by one name for all kernels: __x64_sys_openat,
// __se_sys_openat, SyS_openat and SYSC_openat are sys_openat.
func syscallName(name string) string {
	for _, p := range []string{"__x64_sys_", "__ia32_sys_", "__se_sys_", "__do_sys_", "__arm64_sys_", "SyS_", "SYSC_", "compat_SyS_", "compat_SYSC_", "__x64_compat_sys_", "__ia32_compat_sys_", "__se_compat_sys_"} {
		if rest, ok := strings.CutPrefix(name, p); ok {
			return "sys_" + rest
		}
	}
	return name
}

// interrupts are where the stack of an interrupt ends.
var interrupts = set(`apic_timer_interrupt asm_sysvec_apic_timer_interrupt reschedule_interrupt call_function_single_interrupt`,
	`asm_sysvec_call_function_single asm_sysvec_reschedule_ipi asm_sysvec_irq_work irq_work_interrupt ret_from_intr asm_common_interrupt common_interrupt`)

// interrupted is what the CPU was at when the interrupt came in which the stall
// was found out.
func interrupted(frames []Frame) []Frame {
	for i := range frames {
		if f := &frames[i]; f.Reliable && f.Module == "" && interrupts[f.Name()] && watched(frames[:i]) {
			return frames[i+1:]
		}
	}
	return frames
}

// watched reports whether one of the frames belongs to the detection.
func watched(frames []Frame) bool {
	for i := range frames {
		switch f := &frames[i]; f.Name() {
		case "update_process_times", "rcu_sched_clock_irq", "rcu_check_callbacks", "rcu_pending", "watchdog_timer_fn", "tick_sched_handle":
			return f.Reliable
		}
	}
	return false
}
