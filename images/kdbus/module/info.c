// SPDX-License-Identifier: GPL-2.0
/*
 * What a connection can ask about the others: LIST and CONN_INFO.
 *
 * The answer is put together under the locks, and written to the asker's pool
 * without; it is charged to nobody.
 */
#include <linux/cred.h>
#include <linux/uaccess.h>

#include "args.h"
#include "blob.h"
#include "bus.h"
#include "connection.h"
#include "endpoint.h"
#include "meta.h"
#include "name.h"
#include "policy.h"
#include "pool.h"

/**
 * kdbus_conn_answer() - publish a blob in a connection's pool
 * @conn:	the connection
 * @blob:	the blob; it is freed
 * @offset:	where to put the offset; an empty blob has the pool's size
 * @size:	where to put the size
 *
 * Return: 0, or a negative error.
 */
int kdbus_conn_answer(struct kdbus_conn *conn, struct kdbus_blob *blob,
		      u64 *offset, u64 *size)
{
	struct kdbus_slice *slice;
	int ret = blob->error;

	*offset = conn->pool->size;
	*size = 0;
	if (ret < 0 || !blob->len)
		goto free;
	slice = kdbus_pool_alloc(conn->pool, blob->len);
	ret = PTR_ERR_OR_ZERO(slice);
	if (ret < 0)
		goto free;
	ret = kdbus_slice_write(slice, 0, blob->data, blob->len);
	if (!ret) {
		*offset = slice->offset;
		*size = blob->len;
		kdbus_slice_publish(slice);
	}
	kdbus_slice_drop(slice);
free:
	kdbus_blob_free(blob);
	return ret;
}

/**
 * kdbus_conn_answer_info() - publish a record, and tell where it is
 * @conn:	who asked
 * @args:	its command, a kdbus_cmd_info
 * @blob:	the record, not ended; it is freed
 *
 * Return: 0, or a negative error.
 */
int kdbus_conn_answer_info(struct kdbus_conn *conn, struct kdbus_args *args,
			   struct kdbus_blob *blob)
{
	struct kdbus_cmd_info *cmd = (void *)args->cmd;
	int ret;

	kdbus_blob_info_end(blob, 0);
	ret = kdbus_conn_answer(conn, blob, &cmd->offset, &cmd->info_size);
	if (ret < 0)
		return ret;
	if (kdbus_args_put(args, offset, cmd) ||
	    kdbus_args_put(args, info_size, cmd)) {
		kdbus_pool_release(conn->pool, cmd->offset);
		return -EFAULT;
	}
	return 0;
}

/* The registry's lock and that of the connections are held. */
static struct kdbus_conn *find_by_name(struct kdbus_conn *conn,
				       const char *name, u64 id)
{
	struct kdbus_entry *entry;
	struct kdbus_claim *owner;

	entry = kdbus_registry_find(&conn->ep->bus->names, name);
	if (!entry || !kdbus_conn_may_see_name(conn, current_cred(), name))
		return ERR_PTR(-ESRCH);
	owner = kdbus_entry_owner(entry);
	if (id && id != owner->conn->id)
		return ERR_PTR(-ESRCH);
	return owner->conn;
}

static struct kdbus_conn *find_by_id(struct kdbus_conn *conn, u64 id)
{
	struct kdbus_conn *found = kdbus_bus_find_conn(conn->ep->bus, id);

	if (!found || !kdbus_conn_may_see(conn, current_cred(), found))
		return ERR_PTR(-ENXIO);
	return found;
}

static int conn_info(struct kdbus_conn *conn, struct kdbus_args *args)
{
	struct kdbus_cmd_info *cmd = (void *)args->cmd;
	const struct kdbus_item *name = args->argv[0].item;
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_blob blob = {};
	struct kdbus_conn *found;
	u64 mask;
	int ret;

	ret = kdbus_attach_flags(cmd->attach_flags, &mask);
	if (ret < 0)
		return ret;
	if (!name && !cmd->id)
		return -EINVAL;

	down_read(&bus->conns_rwsem);
	down_read(&bus->names.rwsem);
	found = name ? find_by_name(conn, (char *)name->data, cmd->id) :
		       find_by_id(conn, cmd->id);
	if (!IS_ERR(found)) {
		mask &= atomic64_read(&found->attach_send);
		kdbus_blob_info(&blob, found->id, found->flags);
		kdbus_meta_emit(&blob, found->meta, conn, mask);
		if (mask & KDBUS_ATTACH_NAMES)
			kdbus_conn_emit_names(found, &blob);
		if (mask & KDBUS_ATTACH_CONN_DESCRIPTION && found->description)
			kdbus_blob_string(&blob, KDBUS_ITEM_CONN_DESCRIPTION,
					  found->description);
	}
	up_read(&bus->names.rwsem);
	up_read(&bus->conns_rwsem);

	if (IS_ERR(found))
		return PTR_ERR(found);
	return kdbus_conn_answer_info(conn, args, &blob);
}

/**
 * kdbus_cmd_conn_info() - KDBUS_CMD_CONN_INFO
 * @conn:	who asks
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_conn_info(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NAME },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_info),
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret)
		ret = conn_info(conn, &args);
	return kdbus_args_finish(&args, ret);
}

static bool is_listed(const struct kdbus_claim *claim, u64 flags)
{
	if (claim->flags & KDBUS_NAME_ACTIVATOR)
		return flags & KDBUS_LIST_ACTIVATORS;
	if (claim->flags & KDBUS_NAME_IN_QUEUE)
		return flags & KDBUS_LIST_QUEUED;
	return flags & KDBUS_LIST_NAMES;
}

/*
 * The records of one connection. On a custom endpoint, one whose names are all
 * hidden is not shown at all.
 */
static void list_one(struct kdbus_conn *conn, struct kdbus_conn *other,
		     u64 flags, struct kdbus_blob *blob)
{
	struct kdbus_claim *claim;
	bool shown = false;
	size_t at;

	list_for_each_entry(claim, &other->claims, conn_link) {
		if (!is_listed(claim, flags))
			continue;
		shown = true;
		if (!kdbus_conn_may_see_name(conn, current_cred(),
					     claim->entry->name))
			continue;
		at = kdbus_blob_info(blob, other->id, other->flags);
		kdbus_blob_name(blob, claim->flags, claim->entry->name);
		kdbus_blob_info_end(blob, at);
	}
	if (!shown && flags & KDBUS_LIST_UNIQUE) {
		at = kdbus_blob_info(blob, other->id, other->flags);
		kdbus_blob_info_end(blob, at);
	}
}

static int list(struct kdbus_conn *conn, struct kdbus_args *args)
{
	struct kdbus_cmd_list *cmd = (void *)args->cmd;
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_blob blob = {};
	struct kdbus_conn *other;
	int i, ret;

	down_read(&bus->conns_rwsem);
	down_read(&bus->names.rwsem);
	hash_for_each(bus->conns, i, other, bus_node)
		/* What is too much for the pool need not grow any more. */
		if (!kdbus_conn_is_monitor(other) &&
		    blob.len <= conn->pool->size)
			list_one(conn, other, cmd->flags, &blob);
	up_read(&bus->names.rwsem);
	up_read(&bus->conns_rwsem);

	ret = kdbus_conn_answer(conn, &blob, &cmd->offset, &cmd->list_size);
	if (ret < 0)
		return ret;
	if (kdbus_args_put(args, offset, cmd) ||
	    kdbus_args_put(args, list_size, cmd)) {
		kdbus_pool_release(conn->pool, cmd->offset);
		return -EFAULT;
	}
	return 0;
}

/**
 * kdbus_cmd_list() - KDBUS_CMD_LIST
 * @conn:	who asks
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_list(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_list),
		.allowed = KDBUS_LIST_UNIQUE | KDBUS_LIST_NAMES |
			   KDBUS_LIST_ACTIVATORS | KDBUS_LIST_QUEUED,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret)
		ret = list(conn, &args);
	return kdbus_args_finish(&args, ret);
}
