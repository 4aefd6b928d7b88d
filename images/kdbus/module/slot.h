/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_SLOT_H
#define _KDBUS_SLOT_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>
#include <linux/wait.h>

struct kdbus_cancel;
struct kdbus_conn;
struct kdbus_queued;
struct work_struct;

enum kdbus_slot_state {
	KDBUS_SLOT_NEW,		/* the request has not been queued */
	KDBUS_SLOT_PENDING,	/* it can be answered */
	KDBUS_SLOT_CLAIMED,	/* somebody is answering it */
	KDBUS_SLOT_DONE,	/* it has been answered, or never will be */
};

/**
 * struct kdbus_slot - where the reply to a request goes
 * @kref:	references: one while linked, of the request while it is queued,
 *		and of who waits
 * @requester:	whose request it is
 * @replier:	who can answer; follows the request when that moves
 * @cookie:	of the request
 * @deadline:	when it is too late, in ns of CLOCK_MONOTONIC
 * @sync:	the requester waits in SEND
 * @state:	what became of it
 * @waiting:	somebody sleeps; otherwise a sync slot was interrupted
 * @error:	how it ended, if @sync
 * @answer:	the reply, if @sync; not charged for
 * @by_replier:	in replier->duties, while it can be answered
 * @by_requester: in requester->requests, while it is known at all
 * @by_deadline: in bus->deadlines, if the deadline is to be watched
 * @wait:	who waits
 *
 * All but @kref, @requester, @cookie, @deadline and @sync are protected by
 * bus->slots_lock.
 */
struct kdbus_slot {
	struct kref kref;
	struct kdbus_conn *requester;
	struct kdbus_conn *replier;
	u64 cookie;
	u64 deadline;
	bool sync;
	enum kdbus_slot_state state;
	bool waiting;
	int error;
	struct kdbus_queued *answer;
	struct list_head by_replier;
	struct list_head by_requester;
	struct rb_node by_deadline;
	wait_queue_head_t wait;
};

struct kdbus_slot *kdbus_slot_new(struct kdbus_conn *requester,
				  struct kdbus_conn *replier, u64 cookie,
				  u64 deadline, bool sync);
struct kdbus_slot *kdbus_slot_ref(struct kdbus_slot *slot);
void kdbus_slot_unref(struct kdbus_slot *slot);
void kdbus_slot_link(struct kdbus_slot *slot);
struct kdbus_slot *kdbus_slot_claim(struct kdbus_conn *replier,
				    struct kdbus_conn *requester, u64 cookie);
void kdbus_slot_answer(struct kdbus_slot *slot, int error,
		       struct kdbus_queued *answer);
void kdbus_slot_fail(struct kdbus_slot *slot);
void kdbus_slot_move(struct kdbus_slot *slot, struct kdbus_conn *to);
struct kdbus_slot *kdbus_slot_resume(struct kdbus_conn *conn, u64 cookie);
int kdbus_slot_wait(struct kdbus_slot *slot, struct kdbus_cancel *cancel,
		    struct kdbus_queued **answer);

void kdbus_slots_forget(struct kdbus_conn *conn);
void kdbus_slots_fail(struct kdbus_conn *conn);
void kdbus_slots_expire(struct work_struct *work);

#endif /* _KDBUS_SLOT_H */
