package crash

import "strings"

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
	parts:    []string{"netif_receive_skb", "do_softirq", "run_timers", "hrtimer_run_", "call_timer_fn"},
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
	return rule.first(interrupted(o.Frames))
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
