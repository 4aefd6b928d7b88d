// SPDX-License-Identifier: GPL-2.0
/*
 * Notifications: what the kernel has to say.
 *
 * Whoever changes something puts a notice on the bus's list, under the lock that
 * orders the changes, and flushes the list when it holds no lock any more. The
 * flush delivers in the order of the list, and is over before the call that
 * brought the change about returns, whoever does it.
 *
 * A notice for which there is no memory is lost.
 */
#include <linux/slab.h>

#include "bus.h"
#include "message.h"
#include "notify.h"

static void notify(struct kdbus_bus *bus, const struct kdbus_notice *from,
		   const char *name)
{
	size_t len = strlen(name) + 1;
	struct kdbus_notice *notice;

	notice = kzalloc(struct_size(notice, name, len), GFP_KERNEL_ACCOUNT);
	if (!notice)
		return;
	*notice = *from;
	memcpy(notice->name, name, len);
	spin_lock(&bus->notices_lock);
	list_add_tail(&notice->link, &bus->notices);
	spin_unlock(&bus->notices_lock);
}

/* A name has got its first owner, another, or none. */
void kdbus_notify_name(struct kdbus_bus *bus, u64 type, u64 old_id,
		       u64 old_flags, u64 new_id, u64 new_flags,
		       const char *name)
{
	const struct kdbus_notice notice = {
		.type = type,
		.dst_id = KDBUS_DST_ID_BROADCAST,
		.old_id = { .id = old_id, .flags = old_flags },
		.new_id = { .id = new_id, .flags = new_flags },
	};

	notify(bus, &notice, name);
}

/* A connection has come or gone. */
void kdbus_notify_id(struct kdbus_bus *bus, u64 type, u64 id, u64 flags)
{
	const struct kdbus_notice notice = {
		.type = type,
		.dst_id = KDBUS_DST_ID_BROADCAST,
		.old_id = { .id = id, .flags = flags },
		.new_id = { .id = id, .flags = flags },
	};

	notify(bus, &notice, "");
}

/* A request of the connection will not be answered. */
void kdbus_notify_reply(struct kdbus_bus *bus, u64 type, u64 id, u64 cookie)
{
	const struct kdbus_notice notice = {
		.type = type,
		.dst_id = id,
		.cookie = cookie,
	};

	notify(bus, &notice, "");
}

static struct kdbus_notice *first_notice(struct kdbus_bus *bus)
{
	struct kdbus_notice *notice;

	spin_lock(&bus->notices_lock);
	notice = list_first_entry_or_null(&bus->notices, struct kdbus_notice,
					  link);
	if (notice)
		list_del(&notice->link);
	spin_unlock(&bus->notices_lock);
	return notice;
}

/**
 * kdbus_notify_flush() - deliver all notifications
 * @bus:	of this bus
 *
 * The caller holds no lock.
 */
void kdbus_notify_flush(struct kdbus_bus *bus)
{
	struct kdbus_notice *notice;

	mutex_lock(&bus->flush_lock);
	while ((notice = first_notice(bus))) {
		kdbus_message_send_notice(bus, notice);
		kfree(notice);
	}
	mutex_unlock(&bus->flush_lock);
}

/* Forget the notifications of a bus that goes. */
void kdbus_notices_free(struct kdbus_bus *bus)
{
	struct kdbus_notice *notice;

	while ((notice = first_notice(bus)))
		kfree(notice);
}
