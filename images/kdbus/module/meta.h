/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_META_H
#define _KDBUS_META_H

#include <linux/types.h>

struct kdbus_blob;
struct kdbus_conn;
struct kdbus_item;
struct kdbus_meta;

struct kdbus_meta *kdbus_meta_new(u64 mask);
struct kdbus_meta *kdbus_meta_fake(const struct kdbus_item *creds,
				   const struct kdbus_item *pids,
				   const struct kdbus_item *seclabel);
struct kdbus_meta *kdbus_meta_ref(struct kdbus_meta *meta);
void kdbus_meta_unref(struct kdbus_meta *meta);
u64 kdbus_meta_unhidden(struct kdbus_meta *meta, struct kdbus_conn *conn);
void kdbus_meta_emit(struct kdbus_blob *blob, struct kdbus_meta *meta,
		     struct kdbus_conn *conn, u64 mask);

#endif /* _KDBUS_META_H */
