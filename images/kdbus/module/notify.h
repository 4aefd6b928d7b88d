/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_NOTIFY_H
#define _KDBUS_NOTIFY_H

#include <linux/list.h>

#include "kdbus.h"

struct kdbus_bus;

/**
 * struct kdbus_notice - a notification that waits for being delivered
 * @link:	in bus->notices
 * @type:	KDBUS_ITEM_NAME_*, KDBUS_ITEM_ID_* or KDBUS_ITEM_REPLY_*
 * @dst_id:	whom it is for: everybody, but with KDBUS_ITEM_REPLY_*
 * @cookie:	of the request, with KDBUS_ITEM_REPLY_*
 * @old_id:	who owned the name, or went
 * @new_id:	who owns the name, or came
 * @name:	the name, or empty
 */
struct kdbus_notice {
	struct list_head link;
	u64 type;
	u64 dst_id;
	u64 cookie;
	struct kdbus_notify_id_change old_id;
	struct kdbus_notify_id_change new_id;
	char name[];
};

void kdbus_notify_name(struct kdbus_bus *bus, u64 type, u64 old_id,
		       u64 old_flags, u64 new_id, u64 new_flags,
		       const char *name);
void kdbus_notify_id(struct kdbus_bus *bus, u64 type, u64 id, u64 flags);
void kdbus_notify_reply(struct kdbus_bus *bus, u64 type, u64 id, u64 cookie);
void kdbus_notify_flush(struct kdbus_bus *bus);
void kdbus_notices_free(struct kdbus_bus *bus);

#endif /* _KDBUS_NOTIFY_H */
