package crash

import "strings"

// A wordlist knows functions by whole names, by beginnings and by parts.
type wordlist struct {
	names    map[string]bool
	prefixes []string
	parts    []string
}

func (w *wordlist) has(name string) bool {
	if w.names[name] {
		return true
	}
	for _, p := range w.prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	for _, p := range w.parts {
		if strings.Contains(name, p) {
			return true
		}
	}
	return false
}

// plumbing are functions of the kernel proper that say how a report came to be
// written, not what was wrong; and those that do what any caller asks, so that
// the caller is to blame.
var plumbing = wordlist{
	names: set(
		// Panics and warnings.
		`panic vpanic nmi_panic check_panic_on_warn dump_stack dump_stack_lvl __dump_stack dump_backtrace show_stack show_regs`,
		`show_trace_log_lvl __warn __warn_printk report_bug handle_bug fixup_bug skb_panic skb_over_panic`,
		`skb_under_panic fortify_panic __fortify_panic __fortify_report __stack_chk_fail usercopy_abort usercopy_warn`,
		`__check_object_size __check_heap_object check_heap_object report_usercopy __warn_flushing_systemwide_wq`,
		// Traps and page faults.
		`die __die __die_body die_addr die_kernel_fault oops_end oops_begin do_trap do_error_trap do_invalid_op invalid_op page_fault`,
		`page_fault_oops do_page_fault __do_page_fault no_context bad_area bad_area_nosemaphore __bad_area`,
		`__bad_area_nosemaphore kernelmode_fixup_or_oops do_user_addr_fault do_kern_addr_fault handle_page_fault`,
		`general_protection do_general_protection fixup_exception double_fault do_double_fault divide_error`,
		`do_divide_error error_entry error_code common_exception trace_page_fault trace_do_page_fault async_page_fault do_async_page_fault`,
		`notify_die call_break_hook brk_handler do_debug_exception el1_dbg el1_da el1_sync __do_kernel_fault do_mem_abort`,
		`do_translation_fault el1_abort el1h_64_sync el1h_64_sync_handler bug_handler do_undefinstr el1_undef do_el1_undef`,
		// Non-maskable interrupts, by which a kernel is asked where it is.
		`unknown_nmi_error default_do_nmi exc_nmi asm_exc_nmi do_nmi nmi end_repeat_nmi nmi_handle pci_serr_error io_check_error`,
		// Sanitisers.
		`print_report print_address_description print_memory_metadata check_memory_region check_region_inline start_report end_report`,
		`read_word_at_a_time read_once_word_nocheck handle_overflow`,
		// Lockdep.
		`print_circular_bug check_noncircular check_prev_add check_prevs_add validate_chain __lock_acquire lock_acquire`,
		`__lock_release lock_release mark_lock mark_lock_irq mark_usage mark_held_locks print_usage_bug valid_state`,
		`check_deadlock print_deadlock_bug print_unlock_imbalance_bug print_bad_irq_dependency check_irq_usage`,
		`register_lock_class lock_is_held_type lock_set_class lock_downgrade match_held_lock debug_check_no_locks_freed`,
		`debug_check_no_locks_held reacquire_held_locks hlock_class static_obj check_usage check_wait_context`,
		`print_lock_invalid_wait_context look_up_lock_class assign_lock_key rcu_lock_acquire rcu_read_lock rcu_read_unlock`,
		`rcu_lock_release add_chain_cache lookup_chain_cache_add`,
		// Checks of the data structures.
		`__list_add __list_del __list_add_valid __list_del_entry __list_del_entry_valid list_del __list_add_valid_or_report`,
		`__list_del_entry_valid_or_report refcount_warn_saturate refcount_error_report ex_handler_refcount`,
		`debug_print_object debug_check_no_obj_freed __debug_check_no_obj_freed debug_assert_init lookup_object_or_alloc`,
		// What any caller asks for.
		`memcpy __memcpy memcpy_erms memcpy_orig memset __memset memset_erms memset_orig memmove __memmove memmove_erms memcmp bcmp`,
		`memchr memchr_inv memscan strlen strnlen strcmp strncmp strcpy strncpy strlcpy strscpy strcat strchr strrchr strstr strcasecmp`,
		`strncasecmp sized_strscpy copy_user_generic_string copy_user_generic_unrolled copy_user_enhanced_fast_string`,
		`rep_movs_alternative rep_stos_alternative clear_page_erms clear_page_rep clear_page_orig copy_page __put_user_4 __put_user_8`,
		`instrument_copy_from_user instrument_copy_to_user`,
		`osq_lock osq_unlock __down_read __down_write __up_read __up_write down_read down_write down_read_trylock`,
		`down_write_trylock down_read_killable down_write_killable down_read_interruptible down_read_nested down_write_nested up_read up_write downgrade_write`,
		`csd_lock_wait`,
		// Where a stack begins.
		`ret_from_fork ret_from_fork_asm kthread __x86_return_thunk ret_from_kernel_thread entry_SYSCALL_64_fastpath`,
		`do_syscall_64 entry_SYSCALL_64_after_hwframe entry_SYSENTER_compat entry_SYSENTER_compat_after_hwframe do_fast_syscall_32`,
		`__do_fast_syscall_32 do_SYSENTER_32 do_int80_syscall_32 do_syscall_x64 secondary_startup_64 secondary_startup_64_no_verify start_secondary x86_64_start_kernel`,
		`x86_64_start_reservations entry_SYSCALL_64 system_call_fastpath tracesys tracesys_phase2 sysenter_dispatch`,
		`el0_svc el0_svc_common el0_svc_handler do_el0_svc invoke_syscall el0t_64_sync el0t_64_sync_handler el0_sync el0_sync_handler`,
	),
	prefixes: []string{
		"asm_exc_", "exc_", "asm_sysvec_", "sysvec_", "__pfx_", "rcu_dump_", "print_address", "warn_slowpath", "__warn_",
		"__refcount_", "refcount_", "atomic_read", "atomic_set", "atomic_inc", "atomic_dec", "atomic_add", "atomic_sub", "atomic_fetch", "atomic_try", "atomic_cmpxchg", "atomic_long_", "atomic64_", "arch_atomic", "instrument_atomic", "instrument_read", "instrument_write",
		"__mutex_lock", "mutex_lock", "mutex_unlock", "__mutex_unlock", "mutex_trylock", "mutex_spin_on_owner", "mutex_optimistic",
		"rwsem_", "__rwsem", "call_rwsem", "native_queued_", "queued_spin", "queued_read", "queued_write", "pv_queued", "__pv_queued", "do_raw_spin_", "do_raw_read", "do_raw_write",
		"_raw_spin_", "__raw_spin_", "_raw_read_", "_raw_write_", "__raw_read_", "__raw_write_", "spin_lock", "spin_unlock", "rt_spin_", "rt_mutex_slow", "rtlock_",
		"lockdep_", "trace_lock_", "perf_trace_lock", "perf_trace_run_bpf", "debug_object_", "__debug_object", "hlist_", "list_",
		"_copy_from_user", "_copy_to_user", "copy_from_user", "copy_to_user", "__copy_from_", "__copy_to_", "__copy_user", "copy_user_",
		"unwind_", "__unwind", "arch_stack_walk", "stack_trace_", "save_stack", "__save_stack", "stack_depot", "set_track",
	},
	parts: []string{"kasan", "kmsan", "kcsan", "kfence_", "ubsan", "__asan_", "__hwasan_", "__msan_", "__tsan_", "__sanitizer", "print_unlock", "_nocheck"},
}

// Further plumbing, for the classes blameRules names.
var (
	allocators = wordlist{
		names: set(`new_slab allocate_slab setup_object warn_alloc kmemdup kmemdup_nul kstrdup kstrdup_const kstrndup memdup_user memdup_user_nul`,
			`vmemdup_user kvmemdup krealloc __krealloc krealloc_noprof sock_kmalloc kmemleak_alloc get_zeroed_page __get_free_pages kvasprintf kasprintf`,
			`kvasprintf_const ___slab_alloc __slab_alloc slab_alloc alloc_slab_page get_page_from_freelist alloc_skb_with_frags kmemdup_noprof cache_alloc_refill cache_grow_begin`),
		parts: []string{"kmalloc", "kzalloc", "kcalloc", "kvmalloc", "kvzalloc", "vmalloc", "vzalloc", "kmem_cache_alloc", "slab_alloc", "alloc_page", "alloc_frozen_pages", "slab_post_alloc", "slab_pre_alloc"},
	}
	releasers = wordlist{
		names: set(`kfree kvfree vfree __vfree kfree_sensitive kzfree kfree_const ___cache_free __cache_free slab_free __slab_free do_slab_free`,
			`kmem_cache_free kmem_cache_free_bulk cache_free_debugcheck slab_free_freelist_hook slab_free_hook free_debug_processing __kmem_cache_free nearest_obj free_to_partial_list kfree_bulk`),
	}
	leakers = wordlist{parts: []string{"alloc", "kmemleak", "kmemdup", "kstrdup", "kvasprintf", "kasprintf", "memdup_user", "create_object", "kstrndup"},
		names: set(`skb_clone_fraglist`)}
	sleepers = wordlist{
		names: set(`schedule __schedule preempt_schedule preempt_schedule_common preempt_schedule_irq context_switch __cond_resched _cond_resched`,
			`___might_sleep __might_sleep __might_resched might_resched might_sleep __might_fault might_fault __schedule_bug dequeue_task_idle`,
			`msleep msleep_interruptible usleep_range usleep_range_state wait_for_completion __wait_for_common wait_for_common do_wait_for_common`,
			`preempt_schedule_notrace schedule_debug irqentry_exit_cond_resched raw_irqentry_exit_cond_resched preempt_schedule_thunk`),
		prefixes: []string{"schedule_timeout", "schedule_hrtimeout", "schedule_preempt", "down_read", "down_write"},
	}
	waiters = wordlist{
		names: set(`context_switch __switch_to __switch_to_asm down __down ___down_common __down_common down_interruptible down_killable down_timeout percpu_down_write percpu_down_read msleep`,
			`msleep_interruptible usleep_range usleep_range_state rcu_barrier __rcu_barrier _rcu_barrier synchronize_rcu_expedited`,
			`autoremove_wake_function do_nanosleep hrtimer_nanosleep`),
		prefixes: []string{"cancel_delayed_work", "__cancel_work", "cancel_work_sync"},
		parts:    []string{"sched", "_lock", "_slowlock", "down_", "rwsem", "completion", "kthread", "wait", "synchronize_", "rwbase", "percpu_rwsem"},
	}
	pagers = wordlist{
		names: set(`bad_page print_bad_pte vm_normal_page check_new_pages check_new_page get_page_from_freelist prep_new_page rmqueue`,
			`rmqueue_bulk rmqueue_pcplist __rmqueue release_pages put_page __put_page __page_cache_release folios_put_refs folio_batch_release __folio_put`,
			`put_page_testzero check_mm __mmdrop bad_page_reason expand drain_pages __free_one_page`),
		prefixes: []string{"free_", "__free_", "___free", "tlb_", "__tlb_", "page_frag_free", "drain_", "put_pages_list", "check_free"},
		parts:    []string{"alloc_page"},
	}
	warners = wordlist{
		names: set(`usb_submit_urb usb_start_wait_urb usb_bulk_msg usb_interrupt_msg usb_control_msg usb_internal_control_msg usb_control_msg_send usb_control_msg_recv`,
			`kobject_add_internal kobject_add_varg kobject_add kobject_init_and_add proc_register proc_mkdir proc_mkdir_data _proc_mkdir proc_create`,
			`proc_create_data proc_create_reg proc_create_net_data proc_create_seq_private`),
	}
	counters = wordlist{prefixes: []string{"kref_", "kobject_get", "kobject_put", "kobject_", "refcount", "__kref"}}
	checkers = wordlist{
		names: set(`spin_bug spin_dump rwlock_bug check_preemption_disabled __this_cpu_preempt_check debug_smp_processor_id print_trailer`,
			`object_err check_bytes_and_report check_object check_slab slab_err slab_bug slab_pad_check on_freelist alloc_debug_processing`,
			`slab_fix __slab_free slab_fix __object_err check_bytes_and_report object_err kmem_cache_free_bulk dump_header oom_kill_process out_of_memory`,
			`spin_lock_debug __report_bad_irq note_interrupt`),
		prefixes: []string{"spin_", "debug_spin_", "debug_rwlock", "debug_write_", "debug_read_"},
		parts:    []string{"free_debug", "alloc_debug"},
	}
	quitters = wordlist{names: set(`do_exit do_group_exit __x64_sys_exit_group __ia32_sys_exit_group sys_exit_group SyS_exit_group get_signal do_signal make_task_dead mce_panic mce_timed_out`,
		`exit_to_usermode_loop prepare_exit_to_usermode exit_to_user_mode_prepare exit_to_user_mode_loop arch_do_signal_or_restart rewind_stack_do_exit rewind_stack_and_make_dead do_exit_flush`,
		`syscall_return_slowpath syscall_exit_to_user_mode irqentry_exit_to_user_mode oom_kill_process out_of_memory __alloc_pages_may_oom check_hung_uninterruptible_tasks kernel_init handle_signal`)}
	// watchers see that a CPU makes no progress; they run in its interrupts.
	watchers = wordlist{
		names: set(`sched_show_task rcu_sched_clock_irq rcu_check_callbacks rcu_pending check_cpu_stall print_cpu_stall print_other_cpu_stall`,
			`update_process_times trigger_single_cpu_backtrace trigger_all_cpu_backtrace arch_trigger_cpumask_backtrace nmi_trigger_cpumask_backtrace`,
			`nmi_cpu_backtrace nmi_cpu_backtrace_handler hrtimer_interrupt __hrtimer_run_queues local_apic_timer_interrupt smp_apic_timer_interrupt`,
			`apic_timer_interrupt __sysvec_apic_timer_interrupt panic is_softlockup watchdog_timer_fn watchdog_overflow_callback end_repeat_nmi nmi do_nmi`,
			`default_do_nmi nmi_handle reschedule_interrupt call_function_single_interrupt smp_call_function_single_interrupt`,
			`native_safe_halt native_halt arch_safe_halt safe_halt default_idle arch_cpu_idle default_idle_call pv_native_safe_halt acpi_safe_halt acpi_idle_enter`),
		prefixes: []string{"tick_", "rcu_dump_", "perf_", "__perf_", "asm_common_interrupt", "common_interrupt", "ret_from_intr", "irq_work_", "panic"},
	}
)
