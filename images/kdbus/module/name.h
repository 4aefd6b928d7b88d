/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_NAME_H
#define _KDBUS_NAME_H

#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/rwsem.h>
#include <linux/types.h>

struct kdbus_blob;
struct kdbus_conn;

/**
 * struct kdbus_registry - the well-known names of a bus
 * @rwsem:	protects all names, claims and the connections' lists of these
 * @entries:	names that anybody claims, by hash
 * @last_id:	number of the last entry
 */
struct kdbus_registry {
	struct rw_semaphore rwsem;
	DECLARE_HASHTABLE(entries, 8);
	u64 last_id;
};

/**
 * struct kdbus_entry - a name that somebody claims
 * @node:	in registry->entries
 * @id:		never used again; messages sent to the name have it
 * @activator:	the claim of its activator, or NULL
 * @queue:	the other claims; the first one owns the name
 * @name:	the name
 */
struct kdbus_entry {
	struct hlist_node node;
	u64 id;
	struct kdbus_claim *activator;
	struct list_head queue;
	char name[];
};

/**
 * struct kdbus_claim - a connection's claim to a name
 * @entry:	the name
 * @conn:	the connection; it gives up its claims before it goes
 * @flags:	KDBUS_NAME_*: what is kept of what was asked for, and the state
 * @queue_link:	in entry->queue, unless it is the activator's
 * @conn_link:	in conn->claims, in the order they were made
 */
struct kdbus_claim {
	struct kdbus_entry *entry;
	struct kdbus_conn *conn;
	u64 flags;
	struct list_head queue_link;
	struct list_head conn_link;
};

void kdbus_registry_init(struct kdbus_registry *registry);
void kdbus_registry_destroy(struct kdbus_registry *registry);
struct kdbus_entry *kdbus_registry_find(struct kdbus_registry *registry,
					const char *name);
struct kdbus_claim *kdbus_entry_owner(struct kdbus_entry *entry);
bool kdbus_conn_owns(struct kdbus_conn *conn, const char *name);
void kdbus_conn_emit_names(struct kdbus_conn *conn, struct kdbus_blob *blob);

int kdbus_name_valid(const char *name, bool wildcard);
int kdbus_name_activate(struct kdbus_conn *conn, const char *name);
void kdbus_name_release_all(struct kdbus_conn *conn);

int kdbus_cmd_name_acquire(struct kdbus_conn *conn, void __user *argp);
int kdbus_cmd_name_release(struct kdbus_conn *conn, void __user *argp);

#endif /* _KDBUS_NAME_H */
