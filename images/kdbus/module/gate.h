/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A gate counts the calls that are in progress on an object, and can be closed
 * once: from then on nobody gets in, and the one who closes it can wait until
 * all are out. The object itself must be kept alive by a reference, before the
 * gate is entered and until it has been left.
 */
#ifndef _KDBUS_GATE_H
#define _KDBUS_GATE_H

#include <linux/atomic.h>
#include <linux/sched.h>
#include <linux/wait.h>

#define KDBUS_GATE_CLOSED	INT_MIN	/* the sign bit, above the count */

struct kdbus_gate {
	atomic_t calls;
	wait_queue_head_t drained;
};

static inline void kdbus_gate_init(struct kdbus_gate *gate)
{
	atomic_set(&gate->calls, 0);
	init_waitqueue_head(&gate->drained);
}

static inline bool kdbus_gate_is_closed(struct kdbus_gate *gate)
{
	return atomic_read(&gate->calls) < 0;
}

static inline bool kdbus_gate_enter(struct kdbus_gate *gate)
{
	return atomic_inc_unless_negative(&gate->calls);
}

static inline void kdbus_gate_leave(struct kdbus_gate *gate)
{
	if (atomic_dec_return(&gate->calls) == KDBUS_GATE_CLOSED)
		wake_up_all(&gate->drained);
}

/* Returns true to the one caller who closed it. */
static inline bool kdbus_gate_close(struct kdbus_gate *gate)
{
	return atomic_fetch_or(KDBUS_GATE_CLOSED, &gate->calls) >= 0;
}

static inline void kdbus_gate_drain(struct kdbus_gate *gate)
{
	wait_event(gate->drained,
		   atomic_read(&gate->calls) == KDBUS_GATE_CLOSED);
}

#endif /* _KDBUS_GATE_H */
