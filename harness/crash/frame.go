package crash

import "strings"

// plumbingNames are functions that say how a report came to be written, or how
// a task came to wait, not what was wrong.
var plumbingNames = set(
	// Panics and warnings.
	`panic vpanic nmi_panic dump_stack dump_stack_lvl show_stack show_regs show_trace_log_lvl __warn`,
	`report_bug warn_slowpath_common warn_slowpath_fmt warn_slowpath_null handle_bug`,
	// Traps and page faults.
	`die __die __die_body die_addr oops_end do_trap do_error_trap do_invalid_op invalid_op page_fault`,
	`page_fault_oops do_page_fault __do_page_fault no_context bad_area bad_area_nosemaphore`,
	`__bad_area_nosemaphore kernelmode_fixup_or_oops do_user_addr_fault do_kern_addr_fault`,
	`general_protection do_general_protection fixup_exception`,
	// Sanitisers.
	`print_report kasan_report __kasan_report print_address_description kasan_check_range`,
	`check_memory_region __asan_load8 __asan_store8`,
	// Lockdep.
	`print_circular_bug check_noncircular check_prev_add validate_chain __lock_acquire lock_acquire`,
	`lockdep_rcu_suspicious`,
	// Checks.
	`___might_sleep __might_sleep __might_resched might_resched __schedule_bug __list_add_valid`,
	`__list_del_entry_valid __list_add_valid_or_report __list_del_entry_valid_or_report`,
	// Sleeping.
	`schedule __schedule schedule_timeout schedule_hrtimeout_range schedule_preempt_disabled`,
	`preempt_schedule preempt_schedule_common context_switch io_schedule io_schedule_timeout bit_wait`,
	`bit_wait_io __wait_on_bit __wait_on_bit_lock out_of_line_wait_on_bit wait_for_completion`,
	`__wait_for_common wait_for_common do_wait_for_common down __down ___down_common __down_common`,
	`msleep msleep_interruptible usleep_range usleep_range_state`,
	`down_read down_write call_rwsem_down_read_failed call_rwsem_down_write_failed`,
	// Idling and delays.
	`native_safe_halt default_idle delay_tsc delay_loop __delay __const_udelay __udelay delay_halt`,
	`delay_halt_tpause`,
	// Where a stack begins.
	`ret_from_fork ret_from_fork_asm kthread __x86_return_thunk ret_from_kernel_thread`,
)

// set holds the words of the lines.
func set(lines ...string) map[string]bool {
	words := make(map[string]bool)
	for _, line := range lines {
		for _, word := range strings.Fields(line) {
			words[word] = true
		}
	}
	return words
}

// plumbingPrefixes begin the names of more such functions.
var plumbingPrefixes = []string{
	"asm_exc_", "exc_", "asm_sysvec_", "sysvec_", "__pfx_", "rcu_dump_",
	"kasan_", "__kasan_", "ubsan_", "__ubsan_",
	"mutex_lock", "__mutex_lock", "rwsem_down_", "schedule_timeout_",
	"native_queued_spin_lock", "_raw_spin_lock", "_raw_read_lock", "_raw_write_lock",
}

// plumbing reports whether the function tells nothing about the cause. The
// compiler's suffixes (".cold", ".isra.0") are not part of the name. It is for
// the kernel proper: what a module does is always worth naming.
func plumbing(name string) bool {
	name, _, _ = strings.Cut(name, ".")
	if plumbingNames[name] {
		return true
	}
	for _, p := range plumbingPrefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// meaningful returns the first frame to name in a summary: of the task's own
// stack if it has one that tells something, else of any stack.
func meaningful(frames []Frame) *Frame {
	var other *Frame
	for i := range frames {
		f := &frames[i]
		if !f.Reliable || f.Module == "" && plumbing(f.Func) {
			continue
		}
		if f.Stack == "" {
			return f
		}
		if other == nil {
			other = f
		}
	}
	return other
}
