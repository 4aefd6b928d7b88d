// SPDX-License-Identifier: GPL-2.0
/*
 * Connections: from HELLO to the end.
 *
 * A connection ends once: by BYEBYE, by the last close of its file, or with its
 * endpoint. Who is first marks it closed, under the lock of its queue, where
 * BYEBYE makes sure that the queue is empty: nothing gets in after. The others
 * wait until it is gone. What is linked anywhere is unlinked then, in an order
 * that others can see by the notifications; the structure stays until the last
 * reference goes, which its file has.
 */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/fs_struct.h>
#include <linux/mm.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "args.h"
#include "blob.h"
#include "bus.h"
#include "connection.h"
#include "domain.h"
#include "endpoint.h"
#include "meta.h"
#include "notify.h"
#include "pool.h"
#include "slot.h"

/* The items of HELLO. */
enum {
	HELLO_NAME,
	HELLO_CREDS,
	HELLO_PIDS,
	HELLO_SECLABEL,
	HELLO_DESCRIPTION,
	HELLO_ACCESS,
	HELLO_NEGOTIATE,
	HELLO_ITEMS,
};

struct kdbus_conn *kdbus_conn_ref(struct kdbus_conn *conn)
{
	kref_get(&conn->kref);
	return conn;
}

/* A connection that has ended is not counted, whoever still refers to it. */
static void uncount(struct kdbus_conn *conn)
{
	if (conn->counted)
		atomic_dec(&conn->user->conns);
	conn->counted = false;
}

static void conn_free(struct kref *kref)
{
	struct kdbus_conn *conn = container_of(kref, struct kdbus_conn, kref);

	WARN_ON(!list_empty(&conn->ep_link) || !list_empty(&conn->claims));
	WARN_ON(!list_empty(&conn->requests) || !list_empty(&conn->duties));
	WARN_ON(atomic_read(&conn->request_count));
	uncount(conn);
	kdbus_matches_destroy(&conn->matches);
	kdbus_queue_destroy(&conn->queue);
	kdbus_pool_free(conn->pool);
	kdbus_meta_unref(conn->meta);
	kdbus_user_unref(conn->user);
	path_put(&conn->root);
	if (conn->pid_ns)
		put_pid_ns(conn->pid_ns);
	put_cred(conn->cred);
	kdbus_ep_unref(conn->ep);
	kfree(conn->description);
	kfree(conn);
}

void kdbus_conn_unref(struct kdbus_conn *conn)
{
	kref_put(&conn->kref, conn_free);
}

static struct kdbus_conn *conn_alloc(struct kdbus_ep *ep, struct file *file,
				     const struct kdbus_cmd_hello *cmd)
{
	struct kdbus_conn *conn = kzalloc(sizeof(*conn), GFP_KERNEL_ACCOUNT);

	if (!conn)
		return NULL;
	kref_init(&conn->kref);
	kdbus_gate_init(&conn->gate);
	init_completion(&conn->gone);
	conn->ep = kdbus_ep_ref(ep);
	conn->flags = cmd->flags;
	conn->owner = kdbus_ep_owned_by(ep, file);
	conn->cred = get_cred(file->f_cred);
	conn->pid_ns = get_pid_ns(task_active_pid_ns(current));
	get_fs_root(current->fs, &conn->root);
	kdbus_matches_init(&conn->matches);
	init_waitqueue_head(&conn->wait);
	mutex_init(&conn->lock);
	kdbus_queue_init(&conn->queue);
	INIT_LIST_HEAD(&conn->ep_link);
	INIT_HLIST_NODE(&conn->bus_node);
	INIT_LIST_HEAD(&conn->monitor_link);
	INIT_LIST_HEAD(&conn->claims);
	INIT_LIST_HEAD(&conn->requests);
	INIT_LIST_HEAD(&conn->duties);
	return conn;
}

/* What HELLO wants, and whether the caller may have it. */
static int check_hello(struct kdbus_ep *ep, struct file *file,
		       const struct kdbus_args *args)
{
	const struct kdbus_cmd_hello *cmd = (void *)args->cmd;
	const struct kdbus_item *name = args->argv[HELLO_NAME].item;
	bool holder = cmd->flags & KDBUS_HELLO_POLICY_HOLDER;
	bool named = holder || cmd->flags & KDBUS_HELLO_ACTIVATOR;
	bool owner = kdbus_ep_owned_by(ep, file);

	if (!cmd->pool_size || !IS_ALIGNED(cmd->pool_size, PAGE_SIZE))
		return -EINVAL;
	if (hweight64(cmd->flags & KDBUS_HELLO_SPECIAL) > 1)
		return -EINVAL;
	if (named != !!name)
		return -EINVAL;
	/* An activator's name is one to be owned: 2015 let a wildcard pass. */
	if (name && kdbus_name_valid((char *)name->data, holder) < 0)
		return -EINVAL;
	if (cmd->flags & KDBUS_HELLO_MONITOR && ep->custom)
		return -EOPNOTSUPP;
	if (cmd->flags & KDBUS_HELLO_SPECIAL && !owner)
		return -EPERM;
	if ((args->argv[HELLO_CREDS].item || args->argv[HELLO_PIDS].item ||
	     args->argv[HELLO_SECLABEL].item) && !owner)
		return -EPERM;
	return 0;
}

/* What is told about the connection, and who is accounted for it. */
static int identify(struct kdbus_conn *conn, struct file *file,
		    const struct kdbus_args *args)
{
	const struct kdbus_item *creds = args->argv[HELLO_CREDS].item;
	const struct kdbus_item *pids = args->argv[HELLO_PIDS].item;
	const struct kdbus_item *label = args->argv[HELLO_SECLABEL].item;
	kuid_t uid = conn->cred->uid, claimed;

	conn->faked = creds || pids || label;
	conn->meta = conn->faked ? kdbus_meta_fake(creds, pids, label) :
				   kdbus_meta_new(KDBUS_ATTACH_ALL);
	if (IS_ERR(conn->meta)) {
		int ret = PTR_ERR(conn->meta);

		conn->meta = NULL;
		return ret;
	}
	if (conn->ep->user) {
		conn->user = kdbus_user_ref(conn->ep->user);
		return 0;
	}
	if (creds && kdbus_ep_privileged(conn->ep, file)) {
		claimed = make_kuid(current_user_ns(),
				    ((struct kdbus_creds *)creds->data)->uid);
		if (uid_valid(claimed))
			uid = claimed;
	}
	conn->user = kdbus_user_get(conn->ep->bus->domain, uid);
	return conn->user ? 0 : -ENOMEM;
}

static int set_up(struct kdbus_conn *conn, struct file *file,
		  const struct kdbus_args *args)
{
	const struct kdbus_item *label = args->argv[HELLO_DESCRIPTION].item;
	const struct kdbus_cmd_hello *cmd = (void *)args->cmd;
	u64 send, recv;
	int ret;

	ret = kdbus_attach_flags(cmd->attach_flags_send, &send);
	if (!ret)
		ret = kdbus_attach_flags(cmd->attach_flags_recv, &recv);
	if (ret < 0)
		return ret;
	atomic64_set(&conn->attach_send, send);
	atomic64_set(&conn->attach_recv, recv);
	atomic64_or(recv, &conn->ep->bus->wanted);
	if (label) {
		conn->description = kstrdup((char *)label->data,
					    GFP_KERNEL_ACCOUNT);
		if (!conn->description)
			return -ENOMEM;
	}
	ret = identify(conn, file, args);
	if (ret < 0)
		return ret;
	conn->pool = kdbus_pool_new(conn->description, cmd->pool_size);
	if (IS_ERR(conn->pool)) {
		ret = PTR_ERR(conn->pool);
		conn->pool = NULL;
		return ret;
	}
	if (!kdbus_user_charge(&conn->user->conns, KDBUS_USER_MAX_CONNS))
		return -EMFILE;
	conn->counted = true;
	return 0;
}

/* Let the connection be seen. */
static void conn_register(struct kdbus_conn *conn)
{
	struct kdbus_ep *ep = conn->ep;
	struct kdbus_bus *bus = ep->bus;

	mutex_lock(&ep->lock);
	list_add_tail(&conn->ep_link, &ep->conns);
	mutex_unlock(&ep->lock);

	down_write(&bus->conns_rwsem);
	conn->id = atomic64_inc_return(&bus->domain->last_id);
	hash_add(bus->conns, &conn->bus_node, conn->id);
	if (kdbus_conn_is_monitor(conn))
		list_add_tail(&conn->monitor_link, &bus->monitors);
	else
		kdbus_notify_id(bus, KDBUS_ITEM_ID_ADD, conn->id, conn->flags);
	up_write(&bus->conns_rwsem);
}

static void conn_unregister(struct kdbus_conn *conn)
{
	struct kdbus_ep *ep = conn->ep;

	mutex_lock(&ep->lock);
	list_del_init(&conn->ep_link);
	mutex_unlock(&ep->lock);

	down_write(&ep->bus->conns_rwsem);
	hash_del(&conn->bus_node);
	list_del_init(&conn->monitor_link);
	up_write(&ep->bus->conns_rwsem);
}

/* What an activator and a policy holder do with their name. */
static int claim(struct kdbus_conn *conn, const struct kdbus_args *args)
{
	const struct kdbus_item *name = args->argv[HELLO_NAME].item;
	int ret = 0;

	if (!name)
		return 0;
	if (conn->flags & KDBUS_HELLO_ACTIVATOR)
		ret = kdbus_name_activate(conn, (char *)name->data);
	if (!ret)
		ret = kdbus_policy_set(&conn->ep->bus->policy, conn, args, 1,
				       conn->flags & KDBUS_HELLO_POLICY_HOLDER);
	return ret;
}

static int enter(struct kdbus_conn *conn, const struct kdbus_args *args)
{
	int ret;

	if (!kdbus_gate_enter(&conn->ep->gate))
		return -ESHUTDOWN;
	conn_register(conn);
	ret = claim(conn, args);
	kdbus_gate_leave(&conn->ep->gate);
	kdbus_notify_flush(conn->ep->bus);
	if (ret < 0)
		kdbus_conn_disconnect(conn);
	return ret;
}

/* The first slice tells what filters are like on this bus. */
static int greet(struct kdbus_conn *conn, struct kdbus_cmd_hello *cmd)
{
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_blob blob = {};

	cmd->bus_flags = bus->flags;
	cmd->id = conn->id;
	memcpy(cmd->id128, bus->id128, sizeof(cmd->id128));
	kdbus_blob_add(&blob, KDBUS_ITEM_BLOOM_PARAMETER, &bus->bloom,
		       sizeof(bus->bloom));
	return kdbus_conn_answer(conn, &blob, &cmd->offset, &cmd->items_size);
}

static struct kdbus_conn *hello(struct kdbus_ep *ep, struct file *file,
				struct kdbus_args *args)
{
	struct kdbus_cmd_hello *cmd = (void *)args->cmd;
	struct kdbus_conn *conn;
	int ret;

	ret = check_hello(ep, file, args);
	if (ret < 0)
		return ERR_PTR(ret);
	conn = conn_alloc(ep, file, cmd);
	if (!conn)
		return ERR_PTR(-ENOMEM);
	ret = set_up(conn, file, args);
	if (!ret)
		ret = enter(conn, args);
	if (!ret) {
		ret = greet(conn, cmd);
		if (!ret && copy_to_user(args->user, cmd, sizeof(*cmd)))
			ret = -EFAULT;
		if (ret < 0)
			kdbus_conn_disconnect(conn);
	}
	if (ret < 0) {
		kdbus_conn_unref(conn);
		return ERR_PTR(ret);
	}
	return conn;
}

/**
 * kdbus_cmd_hello() - KDBUS_CMD_HELLO
 * @ep:		the endpoint the caller's file was opened on
 * @file:	that file
 * @argp:	the command
 *
 * Return: the connection, with a reference; NULL if it was only asked what the
 * command takes; or an error pointer.
 */
struct kdbus_conn *kdbus_cmd_hello(struct kdbus_ep *ep, struct file *file,
				   void __user *argp)
{
	struct kdbus_arg argv[HELLO_ITEMS] = {
		[HELLO_NAME] = { .type = KDBUS_ITEM_NAME },
		[HELLO_CREDS] = { .type = KDBUS_ITEM_CREDS },
		[HELLO_PIDS] = { .type = KDBUS_ITEM_PIDS },
		[HELLO_SECLABEL] = { .type = KDBUS_ITEM_SECLABEL },
		[HELLO_DESCRIPTION] = { .type = KDBUS_ITEM_CONN_DESCRIPTION },
		[HELLO_ACCESS] = { .type = KDBUS_ITEM_POLICY_ACCESS,
				   .multiple = true },
		[HELLO_NEGOTIATE] = { .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_hello),
		.allowed = KDBUS_HELLO_ACCEPT_FD | KDBUS_HELLO_SPECIAL,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	struct kdbus_conn *conn = NULL;
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret) {
		conn = hello(ep, file, &args);
		ret = PTR_ERR_OR_ZERO(conn);
	}
	ret = kdbus_args_finish(&args, ret);
	if (ret < 0) {
		if (!IS_ERR_OR_NULL(conn)) {
			kdbus_conn_disconnect(conn);
			kdbus_conn_unref(conn);
		}
		return ERR_PTR(ret);
	}
	return conn;
}

/* Take the connection apart; it has been marked closed by the caller. */
static void take_apart(struct kdbus_conn *conn)
{
	struct kdbus_bus *bus = conn->ep->bus;

	kdbus_gate_close(&conn->gate);
	wake_up_interruptible(&conn->wait);
	kdbus_gate_drain(&conn->gate);

	kdbus_policy_forget(&bus->policy, conn);
	conn_unregister(conn);
	kdbus_name_release_all(conn);
	kdbus_queue_flush(conn);
	kdbus_slots_forget(conn);
	kdbus_slots_fail(conn);
	if (!kdbus_conn_is_monitor(conn))
		kdbus_notify_id(bus, KDBUS_ITEM_ID_REMOVE, conn->id,
				conn->flags);
	kdbus_notify_flush(bus);
	uncount(conn);
	complete_all(&conn->gone);
}

/**
 * kdbus_conn_disconnect() - end a connection
 * @conn:	the connection; the caller keeps its reference
 *
 * Returns when nothing is left, also if somebody else was first.
 */
void kdbus_conn_disconnect(struct kdbus_conn *conn)
{
	bool first;

	mutex_lock(&conn->lock);
	first = !conn->closed;
	conn->closed = true;
	mutex_unlock(&conn->lock);
	if (first)
		take_apart(conn);
	else
		wait_for_completion(&conn->gone);
}

static int byebye(struct kdbus_conn *conn)
{
	int ret = 0;

	mutex_lock(&conn->lock);
	if (conn->closed)
		ret = -ECONNRESET;
	else if (!list_empty(&conn->queue.messages))
		ret = -EBUSY;
	else
		conn->closed = true;
	mutex_unlock(&conn->lock);
	if (!ret)
		take_apart(conn);
	return ret;
}

/**
 * kdbus_cmd_byebye() - KDBUS_CMD_BYEBYE
 * @conn:	the connection
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_byebye(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
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
		ret = byebye(conn);
	return kdbus_args_finish(&args, ret);
}

/**
 * kdbus_cmd_free() - KDBUS_CMD_FREE
 * @conn:	the connection
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_free(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_free),
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret) {
		struct kdbus_cmd_free *cmd = (void *)args.cmd;

		ret = kdbus_pool_release(conn->pool, cmd->offset);
	}
	return kdbus_args_finish(&args, ret);
}

/* The items of UPDATE. */
enum {
	UPDATE_SEND,
	UPDATE_RECV,
	UPDATE_NAME,
	UPDATE_ACCESS,
	UPDATE_NEGOTIATE,
	UPDATE_ITEMS,
};

static int update_policy(struct kdbus_conn *conn, const struct kdbus_args *args)
{
	int ret = -ECONNRESET;

	if (kdbus_gate_enter(&conn->gate)) {
		ret = kdbus_policy_set(&conn->ep->bus->policy, conn, args, 1,
				       true);
		kdbus_gate_leave(&conn->gate);
	}
	return ret;
}

static int update(struct kdbus_conn *conn, const struct kdbus_args *args)
{
	const struct kdbus_item *send = args->argv[UPDATE_SEND].item;
	const struct kdbus_item *recv = args->argv[UPDATE_RECV].item;
	bool holder = conn->flags & KDBUS_HELLO_POLICY_HOLDER;
	bool policy = args->argv[UPDATE_NAME].item ||
		      args->argv[UPDATE_ACCESS].item;
	u64 send_flags, recv_flags;
	int ret = 0;

	if (send && !kdbus_conn_is_ordinary(conn) &&
	    !kdbus_conn_is_monitor(conn))
		return -EOPNOTSUPP;
	if (recv && holder)
		return -EOPNOTSUPP;
	if (policy && !holder)
		return -EOPNOTSUPP;
	if (send)
		ret = kdbus_attach_flags(*(u64 *)send->data, &send_flags);
	if (!ret && recv)
		ret = kdbus_attach_flags(*(u64 *)recv->data, &recv_flags);
	if (!ret && policy)
		ret = update_policy(conn, args);
	if (ret < 0)
		return ret;
	if (send)
		atomic64_set(&conn->attach_send, send_flags);
	if (recv) {
		atomic64_or(recv_flags, &conn->ep->bus->wanted);
		atomic64_set(&conn->attach_recv, recv_flags);
	}
	return 0;
}

/**
 * kdbus_cmd_update() - KDBUS_CMD_UPDATE
 * @conn:	the connection
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_update(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[UPDATE_ITEMS] = {
		[UPDATE_SEND] = { .type = KDBUS_ITEM_ATTACH_FLAGS_SEND },
		[UPDATE_RECV] = { .type = KDBUS_ITEM_ATTACH_FLAGS_RECV },
		[UPDATE_NAME] = { .type = KDBUS_ITEM_NAME, .multiple = true },
		[UPDATE_ACCESS] = { .type = KDBUS_ITEM_POLICY_ACCESS,
				    .multiple = true },
		[UPDATE_NEGOTIATE] = { .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd),
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret)
		ret = update(conn, &args);
	return kdbus_args_finish(&args, ret);
}
