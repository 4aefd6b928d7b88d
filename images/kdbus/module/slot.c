// SPDX-License-Identifier: GPL-2.0
/*
 * Slots: requests that wait for a reply.
 *
 * A slot comes into being with a request and is linked in the moment the request
 * is queued: at the replier, who needs it for being allowed to answer, and at
 * the requester. Whoever ends it does so under bus->slots_lock, so that there is
 * one end: a reply, the deadline, the death of either side, or the request being
 * dropped.
 *
 * A request that goes on with its name, between activator and service, takes its
 * slot along; one that has been received stays with who received it.
 *
 * Asynchronous: the deadline is watched by one work item of the bus, which tells
 * the requester by a notification.
 *
 * Synchronous: the requester sleeps in kdbus_slot_wait(). If a signal interrupts
 * it, the slot stays, with its deadline watched; the next synchronous SEND with
 * the same cookie, that is normally the call started over, takes it up whatever
 * it says otherwise. A reply that comes in between is kept in the slot.
 *
 * A reply is brought to a synchronous requester without slots_lock, in the state
 * CLAIMED, in which nobody else ends the slot; who waits then waits for DONE,
 * which no user memory and no other waiting can delay.
 */
#include <linux/hrtimer.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "bus.h"
#include "cancel.h"
#include "connection.h"
#include "endpoint.h"
#include "notify.h"
#include "queue.h"
#include "slot.h"

static struct kdbus_bus *bus_of(const struct kdbus_slot *slot)
{
	return slot->requester->ep->bus;
}

/**
 * kdbus_slot_new() - make a slot for a request that is being sent
 * @requester:	whose request it is
 * @replier:	whom it is sent to
 * @cookie:	of the request
 * @deadline:	in ns of CLOCK_MONOTONIC
 * @sync:	the requester will wait
 *
 * Return: the slot, with a reference, or an error pointer: -EMLINK if there are
 * too many.
 */
struct kdbus_slot *kdbus_slot_new(struct kdbus_conn *requester,
				  struct kdbus_conn *replier, u64 cookie,
				  u64 deadline, bool sync)
{
	struct kdbus_slot *slot;

	if (!atomic_add_unless(&requester->request_count, 1,
			       KDBUS_CONN_MAX_REQUESTS))
		return ERR_PTR(-EMLINK);
	slot = kzalloc(sizeof(*slot), GFP_KERNEL_ACCOUNT);
	if (!slot) {
		atomic_dec(&requester->request_count);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&slot->kref);
	slot->requester = kdbus_conn_ref(requester);
	slot->replier = kdbus_conn_ref(replier);
	slot->cookie = cookie;
	slot->deadline = deadline;
	slot->sync = sync;
	slot->waiting = sync;
	slot->state = KDBUS_SLOT_NEW;
	INIT_LIST_HEAD(&slot->by_replier);
	INIT_LIST_HEAD(&slot->by_requester);
	RB_CLEAR_NODE(&slot->by_deadline);
	init_waitqueue_head(&slot->wait);
	return slot;
}

struct kdbus_slot *kdbus_slot_ref(struct kdbus_slot *slot)
{
	kref_get(&slot->kref);
	return slot;
}

static void slot_free(struct kref *kref)
{
	struct kdbus_slot *slot = container_of(kref, struct kdbus_slot, kref);

	kdbus_queued_free(slot->answer);
	atomic_dec(&slot->requester->request_count);
	kdbus_conn_unref(slot->requester);
	kdbus_conn_unref(slot->replier);
	kfree(slot);
}

void kdbus_slot_unref(struct kdbus_slot *slot)
{
	kref_put(&slot->kref, slot_free);
}

/* Run the work when the earliest deadline has passed. */
static void rearm(struct kdbus_bus *bus)
{
	struct rb_node *first = rb_first_cached(&bus->deadlines);
	u64 deadline, now = ktime_get_ns();
	unsigned long delay = 0;

	if (!first)
		return;
	deadline = rb_entry(first, struct kdbus_slot, by_deadline)->deadline;
	if (deadline > now)
		delay = min_t(u64, nsecs_to_jiffies64(deadline - now) + 1,
			      MAX_JIFFY_OFFSET);
	mod_delayed_work(system_wq, &bus->deadline_work, delay);
}

static void watch(struct kdbus_bus *bus, struct kdbus_slot *slot)
{
	struct rb_node **n = &bus->deadlines.rb_root.rb_node, *parent = NULL;
	bool first = true;

	lockdep_assert_held(&bus->slots_lock);
	while (*n) {
		parent = *n;
		if (slot->deadline <
		    rb_entry(parent, struct kdbus_slot, by_deadline)->deadline) {
			n = &parent->rb_left;
		} else {
			n = &parent->rb_right;
			first = false;
		}
	}
	rb_link_node(&slot->by_deadline, parent, n);
	rb_insert_color_cached(&slot->by_deadline, &bus->deadlines, first);
	if (first)
		rearm(bus);
}

static void unwatch(struct kdbus_bus *bus, struct kdbus_slot *slot)
{
	lockdep_assert_held(&bus->slots_lock);
	if (RB_EMPTY_NODE(&slot->by_deadline))
		return;
	rb_erase_cached(&slot->by_deadline, &bus->deadlines);
	RB_CLEAR_NODE(&slot->by_deadline);
}

/**
 * kdbus_slot_link() - let a slot be answered
 * @slot:	the slot; its request is being queued, and the lock of the
 *		replier's queue is held
 */
void kdbus_slot_link(struct kdbus_slot *slot)
{
	struct kdbus_bus *bus = bus_of(slot);

	spin_lock(&bus->slots_lock);
	slot->state = KDBUS_SLOT_PENDING;
	/* Of two with the same cookie, the newest is found first. */
	list_add(&slot->by_replier, &slot->replier->duties);
	list_add_tail(&slot->by_requester, &slot->requester->requests);
	kdbus_slot_ref(slot);
	if (!slot->sync)
		watch(bus, slot);
	spin_unlock(&bus->slots_lock);
}

/* Returns true if the caller has a reference to put, once it holds no lock. */
static bool unlink_slot(struct kdbus_slot *slot)
{
	struct kdbus_bus *bus = bus_of(slot);

	lockdep_assert_held(&bus->slots_lock);
	unwatch(bus, slot);
	list_del_init(&slot->by_replier);
	if (list_empty(&slot->by_requester))
		return false;
	list_del_init(&slot->by_requester);
	return true;
}

static void finish(struct kdbus_slot *slot, int error)
{
	lockdep_assert_held(&bus_of(slot)->slots_lock);
	list_del_init(&slot->by_replier);
	slot->error = error;
	WRITE_ONCE(slot->state, KDBUS_SLOT_DONE);
	wake_up_all(&slot->wait);
}

/**
 * kdbus_slot_claim() - find the slot that a reply is for, and claim it
 * @replier:	who replies
 * @requester:	whom to
 * @cookie:	of the request
 *
 * Return: the slot, with a reference, or NULL. A claimed slot that is @sync must
 * be answered by kdbus_slot_answer(); any other is gone for everybody else.
 */
struct kdbus_slot *kdbus_slot_claim(struct kdbus_conn *replier,
				    struct kdbus_conn *requester, u64 cookie)
{
	struct kdbus_bus *bus = replier->ep->bus;
	struct kdbus_slot *slot, *found = NULL;

	spin_lock(&bus->slots_lock);
	list_for_each_entry(slot, &replier->duties, by_replier) {
		if (slot->requester != requester || slot->cookie != cookie)
			continue;
		slot->state = KDBUS_SLOT_CLAIMED;
		list_del_init(&slot->by_replier);
		/* If not waited for, the reference of the link is ours. */
		if (slot->sync || !unlink_slot(slot))
			kdbus_slot_ref(slot);
		found = slot;
		break;
	}
	spin_unlock(&bus->slots_lock);
	return found;
}

/**
 * kdbus_slot_answer() - end a claimed slot
 * @slot:	the slot; it is @sync
 * @error:	0, or what went wrong
 * @answer:	the reply; freed with the slot if nobody takes it
 */
void kdbus_slot_answer(struct kdbus_slot *slot, int error,
		       struct kdbus_queued *answer)
{
	struct kdbus_bus *bus = bus_of(slot);

	spin_lock(&bus->slots_lock);
	slot->answer = answer;
	finish(slot, error);
	spin_unlock(&bus->slots_lock);
}

/*
 * End a slot whose replier will not answer. Returns true if the caller has to
 * tell the requester, and a reference to put after.
 */
static bool fail(struct kdbus_slot *slot)
{
	lockdep_assert_held(&bus_of(slot)->slots_lock);
	if (slot->state != KDBUS_SLOT_PENDING)
		return false;
	if (slot->sync) {
		finish(slot, -EPIPE);
		return false;
	}
	slot->state = KDBUS_SLOT_DONE;
	return unlink_slot(slot);
}

static void tell(struct kdbus_slot *slot, u64 type)
{
	kdbus_notify_reply(bus_of(slot), type, slot->requester->id,
			   slot->cookie);
	kdbus_slot_unref(slot);
}

/**
 * kdbus_slot_fail() - the request was dropped
 * @slot:	its slot; nothing happens if that has ended
 *
 * The caller flushes the notifications. The requester is told once, however
 * many ways lead here.
 */
void kdbus_slot_fail(struct kdbus_slot *slot)
{
	struct kdbus_bus *bus = bus_of(slot);
	bool told;

	spin_lock(&bus->slots_lock);
	told = fail(slot);
	spin_unlock(&bus->slots_lock);
	if (told)
		tell(slot, KDBUS_ITEM_REPLY_DEAD);
}

/**
 * kdbus_slot_resume() - find the slot of a call that was interrupted
 * @conn:	whose call it was
 * @cookie:	of the call
 *
 * Return: the slot, with a reference, to be waited for again; or NULL.
 */
struct kdbus_slot *kdbus_slot_resume(struct kdbus_conn *conn, u64 cookie)
{
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_slot *slot, *found = NULL;

	spin_lock(&bus->slots_lock);
	list_for_each_entry(slot, &conn->requests, by_requester) {
		if (!slot->sync || slot->waiting || slot->cookie != cookie)
			continue;
		unwatch(bus, slot);
		slot->waiting = true;
		found = kdbus_slot_ref(slot);
		break;
	}
	spin_unlock(&bus->slots_lock);
	return found;
}

/* What ends the waiting for a slot that can still be answered. */
static int reason_to_leave(bool cancelled, bool late)
{
	if (cancelled)
		return -ECANCELED;
	if (signal_pending(current))
		return -ERESTARTSYS;
	if (late)
		return -ETIMEDOUT;
	return 0;
}

/*
 * Look whether the waiting is over: 0 if not. If a reply is on its way, it is
 * over, and @slot is not DONE yet.
 */
static int leave(struct kdbus_slot *slot, bool cancelled, bool late)
{
	struct kdbus_bus *bus = bus_of(slot);
	bool unlinked = false;
	int ret = 1;

	spin_lock(&bus->slots_lock);
	if (slot->state == KDBUS_SLOT_PENDING) {
		ret = reason_to_leave(cancelled, late);
		if (ret == -ERESTARTSYS) {
			slot->waiting = false;
			watch(bus, slot);
		} else if (ret < 0) {
			slot->state = KDBUS_SLOT_DONE;
			unlinked = unlink_slot(slot);
		}
	}
	spin_unlock(&bus->slots_lock);
	if (unlinked)
		kdbus_slot_unref(slot);
	return ret;
}

/* Take the result of a slot that is DONE. */
static int collect(struct kdbus_slot *slot, struct kdbus_queued **answer)
{
	struct kdbus_bus *bus = bus_of(slot);
	bool unlinked;
	int ret;

	spin_lock(&bus->slots_lock);
	unlinked = unlink_slot(slot);
	ret = slot->error;
	*answer = slot->answer;
	slot->answer = NULL;
	spin_unlock(&bus->slots_lock);
	if (unlinked)
		kdbus_slot_unref(slot);
	return ret;
}

/**
 * kdbus_slot_wait() - wait for the reply
 * @slot:	its slot, @sync; the caller has a reference
 * @cancel:	what can call it off
 * @answer:	where to put the reply
 *
 * Return: 0 with a reply, or a negative error.
 */
int kdbus_slot_wait(struct kdbus_slot *slot, struct kdbus_cancel *cancel,
		    struct kdbus_queued **answer)
{
	ktime_t deadline = ns_to_ktime(slot->deadline);
	DEFINE_WAIT(wait);
	bool late = false;
	int ret;

	for (;;) {
		bool cancelled = kdbus_cancel_due(cancel);

		prepare_to_wait(&slot->wait, &wait, TASK_INTERRUPTIBLE);
		ret = leave(slot, cancelled, late);
		if (ret)
			break;
		/* Raised just now, it is to be looked at first. */
		if (!kdbus_cancel_raised(cancel))
			late = !schedule_hrtimeout(&deadline, HRTIMER_MODE_ABS);
		__set_current_state(TASK_RUNNING);
	}
	finish_wait(&slot->wait, &wait);
	if (ret < 0)
		return ret;
	wait_event(slot->wait, READ_ONCE(slot->state) == KDBUS_SLOT_DONE);
	return collect(slot, answer);
}

/**
 * kdbus_slots_forget() - end the slots of the requests of a connection
 * @conn:	the connection; it has closed, and no call is in its gate
 *
 * Who waits for one is told that the connection is gone.
 */
void kdbus_slots_forget(struct kdbus_conn *conn)
{
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_slot *slot;

	for (;;) {
		spin_lock(&bus->slots_lock);
		slot = list_first_entry_or_null(&conn->requests,
						struct kdbus_slot, by_requester);
		if (slot) {
			unlink_slot(slot);
			if (slot->state == KDBUS_SLOT_PENDING)
				finish(slot, -ECONNRESET);
		}
		spin_unlock(&bus->slots_lock);
		if (!slot)
			return;
		kdbus_slot_unref(slot);
	}
}

/**
 * kdbus_slots_fail() - end the slots of those who wait for a connection
 * @conn:	the connection; it has closed
 *
 * The caller flushes the notifications.
 */
void kdbus_slots_fail(struct kdbus_conn *conn)
{
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_slot *slot;
	bool told;

	for (;;) {
		spin_lock(&bus->slots_lock);
		/* The oldest is the last. */
		slot = list_empty(&conn->duties) ? NULL :
		       list_last_entry(&conn->duties, struct kdbus_slot,
				       by_replier);
		told = slot && fail(slot);
		spin_unlock(&bus->slots_lock);
		if (!slot)
			return;
		if (told)
			tell(slot, KDBUS_ITEM_REPLY_DEAD);
	}
}

/**
 * kdbus_slot_move() - let another connection answer a request
 * @slot:	its slot; nothing happens if that has ended
 * @to:		who has been given the request
 */
void kdbus_slot_move(struct kdbus_slot *slot, struct kdbus_conn *to)
{
	struct kdbus_bus *bus = bus_of(slot);
	struct kdbus_conn *from = NULL;

	spin_lock(&bus->slots_lock);
	if (slot->state == KDBUS_SLOT_PENDING) {
		list_move(&slot->by_replier, &to->duties);
		from = slot->replier;
		slot->replier = kdbus_conn_ref(to);
	}
	spin_unlock(&bus->slots_lock);
	if (from)
		kdbus_conn_unref(from);
}

static struct kdbus_slot *take_expired(struct kdbus_bus *bus, bool *linked)
{
	struct kdbus_slot *slot;

	spin_lock(&bus->slots_lock);
	slot = rb_entry_safe(rb_first_cached(&bus->deadlines),
			     struct kdbus_slot, by_deadline);
	if (slot && slot->deadline > ktime_get_ns()) {
		rearm(bus);
		slot = NULL;
	}
	if (slot) {
		*linked = unlink_slot(slot);
		if (slot->state == KDBUS_SLOT_PENDING)
			slot->state = KDBUS_SLOT_DONE;
	}
	spin_unlock(&bus->slots_lock);
	return slot;
}

/**
 * kdbus_slots_expire() - end the slots whose deadline has passed
 * @work:	bus->deadline_work
 *
 * A call that was interrupted and not taken up again ends without a word.
 */
void kdbus_slots_expire(struct work_struct *work)
{
	struct kdbus_bus *bus = container_of(to_delayed_work(work),
					     struct kdbus_bus, deadline_work);
	struct kdbus_slot *slot;
	bool linked;

	while ((slot = take_expired(bus, &linked))) {
		if (WARN_ON_ONCE(!linked))
			continue;
		if (slot->sync)
			kdbus_slot_unref(slot);
		else
			tell(slot, KDBUS_ITEM_REPLY_TIMEOUT);
	}
	kdbus_notify_flush(bus);
}
