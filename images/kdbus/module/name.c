// SPDX-License-Identifier: GPL-2.0
/*
 * Well-known names.
 *
 * A name exists while somebody claims it. The first claim of its queue owns it;
 * without one its activator does. An activator's claim is never in the queue.
 *
 * When a name goes from its activator to a service, messages that were sent to
 * it go along, and back when the service gives it up. This happens under the
 * registry's lock, which a sender by name holds for reading from the lookup of
 * the owner until the message is queued there: a message is never left behind.
 */
#include <linux/cred.h>
#include <linux/ctype.h>
#include <linux/slab.h>
#include <linux/stringhash.h>

#include "args.h"
#include "blob.h"
#include "bus.h"
#include "connection.h"
#include "endpoint.h"
#include "name.h"
#include "notify.h"
#include "queue.h"

#define NAME_KEPT (KDBUS_NAME_ALLOW_REPLACEMENT | KDBUS_NAME_QUEUE)

/**
 * kdbus_name_valid() - check a well-known name
 * @name:	a string
 * @wildcard:	the last element may be "*"
 *
 * At least two elements with dots between them, none empty, none with a digit
 * first; ASCII letters, digits, "_" and "-". (2015's table of letters was
 * Latin-1.)
 *
 * Return: 0, or -EINVAL.
 */
int kdbus_name_valid(const char *name, bool wildcard)
{
	bool start = true, dot = false;
	const char *p;

	for (p = name; *p; p++) {
		if (*p == '.') {
			if (start)
				return -EINVAL;
			start = true;
			dot = true;
			continue;
		}
		if (wildcard && dot && start && p[0] == '*' && !p[1])
			return p - name < KDBUS_NAME_MAX_LEN ? 0 : -EINVAL;
		if (!isascii(*p) || !(isalnum(*p) || *p == '_' || *p == '-') ||
		    (start && isdigit(*p)))
			return -EINVAL;
		start = false;
	}
	if (start || !dot || p - name > KDBUS_NAME_MAX_LEN)
		return -EINVAL;
	return 0;
}

void kdbus_registry_init(struct kdbus_registry *registry)
{
	init_rwsem(&registry->rwsem);
	hash_init(registry->entries);
}

void kdbus_registry_destroy(struct kdbus_registry *registry)
{
	WARN_ON(!hash_empty(registry->entries));
}

static unsigned int name_hash(const char *name)
{
	return full_name_hash(NULL, name, strlen(name));
}

/**
 * kdbus_registry_find() - find a name
 * @registry:	where; its lock is held
 * @name:	the name
 *
 * Return: the name's entry, or NULL.
 */
struct kdbus_entry *kdbus_registry_find(struct kdbus_registry *registry,
					const char *name)
{
	struct kdbus_entry *entry;

	lockdep_assert_held(&registry->rwsem);
	hash_for_each_possible(registry->entries, entry, node, name_hash(name))
		if (!strcmp(entry->name, name))
			return entry;
	return NULL;
}

static struct kdbus_claim *first_in_queue(struct kdbus_entry *entry)
{
	return list_first_entry_or_null(&entry->queue, struct kdbus_claim,
					queue_link);
}

/* Who owns the name; the registry's lock is held. */
struct kdbus_claim *kdbus_entry_owner(struct kdbus_entry *entry)
{
	return first_in_queue(entry) ?: entry->activator;
}

static bool owns(const struct kdbus_claim *claim)
{
	return claim->flags & (KDBUS_NAME_PRIMARY | KDBUS_NAME_ACTIVATOR);
}

/* Whether a connection owns a name, or is its activator; likewise. */
bool kdbus_conn_owns(struct kdbus_conn *conn, const char *name)
{
	struct kdbus_claim *claim;

	lockdep_assert_held(&conn->ep->bus->names.rwsem);
	list_for_each_entry(claim, &conn->claims, conn_link)
		if (owns(claim) && !strcmp(claim->entry->name, name))
			return true;
	return false;
}

/* Add an OWNED_NAME for each name a connection owns; likewise. */
void kdbus_conn_emit_names(struct kdbus_conn *conn, struct kdbus_blob *blob)
{
	struct kdbus_claim *claim;

	lockdep_assert_held(&conn->ep->bus->names.rwsem);
	list_for_each_entry(claim, &conn->claims, conn_link)
		if (owns(claim))
			kdbus_blob_name(blob, claim->flags, claim->entry->name);
}

static struct kdbus_entry *entry_new(struct kdbus_registry *registry,
				     const char *name)
{
	struct kdbus_entry *entry;
	size_t len = strlen(name) + 1;

	entry = kzalloc(struct_size(entry, name, len), GFP_KERNEL_ACCOUNT);
	if (!entry)
		return NULL;
	entry->id = ++registry->last_id;
	INIT_LIST_HEAD(&entry->queue);
	memcpy(entry->name, name, len);
	hash_add(registry->entries, &entry->node, name_hash(name));
	return entry;
}

static void entry_free_if_unclaimed(struct kdbus_entry *entry)
{
	if (entry->activator || !list_empty(&entry->queue))
		return;
	hash_del(&entry->node);
	kfree(entry);
}

static struct kdbus_claim *claim_new(struct kdbus_entry *entry,
				     struct kdbus_conn *conn)
{
	struct kdbus_claim *claim = kzalloc(sizeof(*claim), GFP_KERNEL_ACCOUNT);

	if (!claim)
		return NULL;
	claim->entry = entry;
	claim->conn = conn;
	INIT_LIST_HEAD(&claim->queue_link);
	list_add_tail(&claim->conn_link, &conn->claims);
	conn->claim_count++;
	return claim;
}

static void claim_free(struct kdbus_claim *claim)
{
	list_del(&claim->queue_link);
	list_del(&claim->conn_link);
	claim->conn->claim_count--;
	kfree(claim);
}

static struct kdbus_claim *find_claim(struct kdbus_conn *conn,
				      struct kdbus_entry *entry)
{
	struct kdbus_claim *claim;

	list_for_each_entry(claim, &conn->claims, conn_link)
		if (claim->entry == entry)
			return claim;
	return NULL;
}

static void notify_change(struct kdbus_bus *bus, u64 old_id, u64 old_flags,
			  struct kdbus_claim *now)
{
	kdbus_notify_name(bus, KDBUS_ITEM_NAME_CHANGE, old_id, old_flags,
			  now->conn->id, now->flags, now->entry->name);
}

/* Have a claim, that is in no queue, own its name. */
static void take_over(struct kdbus_bus *bus, struct kdbus_claim *claim, u64 kept)
{
	struct kdbus_entry *entry = claim->entry;
	struct kdbus_claim *old = kdbus_entry_owner(entry);
	u64 old_flags = old ? old->flags : 0;
	u64 old_id = old ? old->conn->id : 0;

	claim->flags = kept | KDBUS_NAME_PRIMARY;
	list_move(&claim->queue_link, &entry->queue);
	if (!old) {
		kdbus_notify_name(bus, KDBUS_ITEM_NAME_ADD, 0, 0,
				  claim->conn->id, claim->flags, entry->name);
		return;
	}
	old->flags &= ~KDBUS_NAME_PRIMARY;
	old->flags |= KDBUS_NAME_IN_QUEUE;
	if (old == entry->activator)
		kdbus_conn_move(claim->conn, old->conn, entry->id);
	else if (!(old->flags & KDBUS_NAME_QUEUE))
		claim_free(old);
	notify_change(bus, old_id, old_flags, claim);
}

/* The cases of NAME_ACQUIRE; returns the state bits of return_flags. */
static s64 claim_name(struct kdbus_conn *conn, struct kdbus_entry *entry,
		      u64 flags)
{
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_claim *first = first_in_queue(entry);
	struct kdbus_claim *own = find_claim(conn, entry);
	bool had = own;

	if (!own) {
		if (conn->claim_count >= KDBUS_CONN_MAX_NAMES)
			return -E2BIG;
		own = claim_new(entry, conn);
		if (!own)
			return -ENOMEM;
	}
	if (!first || (first != own &&
		       first->flags & KDBUS_NAME_ALLOW_REPLACEMENT &&
		       flags & KDBUS_NAME_REPLACE_EXISTING)) {
		take_over(bus, own, flags & NAME_KEPT);
		return KDBUS_NAME_PRIMARY | KDBUS_NAME_ACQUIRED;
	}
	if (first == own) {
		own->flags = (flags & NAME_KEPT) | KDBUS_NAME_PRIMARY;
		return KDBUS_NAME_PRIMARY;
	}
	if (flags & KDBUS_NAME_QUEUE) {
		own->flags = (flags & NAME_KEPT) | KDBUS_NAME_IN_QUEUE;
		if (had)
			return KDBUS_NAME_IN_QUEUE;
		list_add_tail(&own->queue_link, &entry->queue);
		return KDBUS_NAME_IN_QUEUE | KDBUS_NAME_ACQUIRED;
	}
	claim_free(own);
	return had ? 0 : -EEXIST;
}

static int name_acquire(struct kdbus_conn *conn, const char *name, u64 flags,
			u64 *return_flags)
{
	struct kdbus_registry *registry = &conn->ep->bus->names;
	struct kdbus_entry *entry;
	s64 ret = -ENOMEM;

	down_write(&registry->rwsem);
	entry = kdbus_registry_find(registry, name) ?:
		entry_new(registry, name);
	if (entry) {
		ret = claim_name(conn, entry, flags);
		entry_free_if_unclaimed(entry);
	}
	up_write(&registry->rwsem);
	if (ret < 0)
		return ret;
	*return_flags = (flags & NAME_KEPT) | ret;
	return 0;
}

/**
 * kdbus_name_activate() - make a connection the activator of a name
 * @conn:	the connection
 * @name:	the name
 *
 * Return: 0, or a negative error: -EEXIST if the name has an activator.
 */
int kdbus_name_activate(struct kdbus_conn *conn, const char *name)
{
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_entry *entry;
	struct kdbus_claim *claim;
	int ret = -ENOMEM;

	down_write(&bus->names.rwsem);
	entry = kdbus_registry_find(&bus->names, name) ?:
		entry_new(&bus->names, name);
	if (!entry)
		goto unlock;
	if (entry->activator) {
		ret = -EEXIST;
		goto unlock;
	}
	claim = claim_new(entry, conn);
	if (claim) {
		entry->activator = claim;
		claim->flags = KDBUS_NAME_ACTIVATOR;
		if (first_in_queue(entry)) {
			claim->flags |= KDBUS_NAME_IN_QUEUE;
		} else {
			claim->flags |= KDBUS_NAME_PRIMARY;
			kdbus_notify_name(bus, KDBUS_ITEM_NAME_ADD, 0, 0,
					  conn->id, claim->flags, name);
		}
		ret = 0;
	}
	entry_free_if_unclaimed(entry);
unlock:
	up_write(&bus->names.rwsem);
	return ret;
}

/* Give up a claim, and have whoever is next own the name. */
static void release(struct kdbus_bus *bus, struct kdbus_claim *claim)
{
	struct kdbus_entry *entry = claim->entry;
	struct kdbus_conn *conn = claim->conn;
	bool owned = kdbus_entry_owner(entry) == claim;
	struct kdbus_claim *now;
	u64 flags = claim->flags;

	if (claim == entry->activator)
		entry->activator = NULL;
	claim_free(claim);
	if (owned) {
		now = kdbus_entry_owner(entry);
		if (now) {
			now->flags &= ~KDBUS_NAME_IN_QUEUE;
			now->flags |= KDBUS_NAME_PRIMARY;
			if (now == entry->activator)
				kdbus_conn_move(now->conn, conn, entry->id);
			notify_change(bus, conn->id, flags, now);
		} else {
			kdbus_notify_name(bus, KDBUS_ITEM_NAME_REMOVE, conn->id,
					  flags, 0, 0, entry->name);
		}
	}
	entry_free_if_unclaimed(entry);
}

/**
 * kdbus_name_release_all() - give up all claims of a connection that goes
 * @conn:	the connection
 */
void kdbus_name_release_all(struct kdbus_conn *conn)
{
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_claim *claim, *next;

	down_write(&bus->names.rwsem);
	list_for_each_entry_safe(claim, next, &conn->claims, conn_link)
		release(bus, claim);
	up_write(&bus->names.rwsem);
}

static int acquire(struct kdbus_conn *conn, struct kdbus_args *args)
{
	const char *name = (void *)args->argv[0].item->data;
	int ret;

	ret = kdbus_name_valid(name, false);
	if (ret < 0)
		return ret;
	if (!kdbus_conn_may_own(conn, current_cred(), name))
		return -EPERM;
	if (!kdbus_gate_enter(&conn->gate))
		return -ECONNRESET;
	ret = name_acquire(conn, name, args->cmd->flags,
			   &args->cmd->return_flags);
	kdbus_gate_leave(&conn->gate);
	kdbus_notify_flush(conn->ep->bus);
	return ret;
}

/**
 * kdbus_cmd_name_acquire() - KDBUS_CMD_NAME_ACQUIRE
 * @conn:	who asks
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_name_acquire(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NAME, .required = true },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd),
		.allowed = KDBUS_NAME_REPLACE_EXISTING |
			   KDBUS_NAME_ALLOW_REPLACEMENT | KDBUS_NAME_QUEUE,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret)
		ret = acquire(conn, &args);
	return kdbus_args_finish(&args, ret);
}

/* A name that nobody could claim is unknown like any other. */
static int name_release(struct kdbus_conn *conn, const char *name)
{
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_entry *entry;
	struct kdbus_claim *claim;
	int ret = 0;

	down_write(&bus->names.rwsem);
	entry = kdbus_registry_find(&bus->names, name);
	claim = entry ? find_claim(conn, entry) : NULL;
	if (!entry)
		ret = -ESRCH;
	else if (!claim)
		ret = -EADDRINUSE;
	else
		release(bus, claim);
	up_write(&bus->names.rwsem);
	kdbus_notify_flush(bus);
	return ret;
}

/**
 * kdbus_cmd_name_release() - KDBUS_CMD_NAME_RELEASE
 * @conn:	who asks
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_name_release(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NAME, .required = true },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd),
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret)
		ret = name_release(conn, (void *)argv[0].item->data);
	return kdbus_args_finish(&args, ret);
}
