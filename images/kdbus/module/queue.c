// SPDX-License-Identifier: GPL-2.0
/*
 * Queues: messages at their receiver, and what their senders may fill it with.
 *
 * A message arrives in three steps. It is charged for and gets a slice
 * (kdbus_queued_new()), its bytes are written with no lock of the queue held,
 * and it is put in line (kdbus_queued_add()). The receiver may have gone in
 * between, or the bytes may turn out not to be there: then it is freed, and
 * nothing of it is left in the accounts. (2015 kept what it had charged if the
 * pool was full.)
 *
 * Half of a pool can be filled with messages. Of what others have left of that,
 * a user gets a third.
 *
 * Files are installed when a message is received, never before: a look at it
 * (PEEK) shows -1 in their place, as the documentation of 2015 said and its code
 * did not.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "args.h"
#include "bus.h"
#include "compat.h"
#include "connection.h"
#include "domain.h"
#include "endpoint.h"
#include "notify.h"
#include "pool.h"
#include "queue.h"
#include "slot.h"

/* What a user has in a queue. */
struct kdbus_quota {
	u64 bytes;
	unsigned int messages;
	unsigned int fds;
};

struct kdbus_cargo *kdbus_cargo_ref(struct kdbus_cargo *cargo)
{
	kref_get(&cargo->kref);
	return cargo;
}

static void cargo_free(struct kref *kref)
{
	struct kdbus_cargo *cargo = container_of(kref, struct kdbus_cargo, kref);
	unsigned int i;

	for (i = 0; i < cargo->fds + cargo->memfds; i++)
		fput(cargo->files[i]);
	kfree(cargo);
}

void kdbus_cargo_unref(struct kdbus_cargo *cargo)
{
	if (cargo)
		kref_put(&cargo->kref, cargo_free);
}

void kdbus_queue_init(struct kdbus_queue *queue)
{
	INIT_LIST_HEAD(&queue->messages);
	queue->priorities = RB_ROOT_CACHED;
	xa_init(&queue->quotas);
}

void kdbus_queue_destroy(struct kdbus_queue *queue)
{
	WARN_ON(!list_empty(&queue->messages) || queue->bytes);
	WARN_ON(!xa_empty(&queue->quotas));
	xa_destroy(&queue->quotas);
}

static struct kdbus_quota *quota_of(struct kdbus_queue *queue, u64 number)
{
	struct kdbus_quota *quota = xa_load(&queue->quotas, number);
	int ret;

	if (quota)
		return quota;
	quota = kzalloc(sizeof(*quota), GFP_KERNEL_ACCOUNT);
	if (!quota)
		return ERR_PTR(-ENOMEM);
	ret = xa_err(xa_store(&queue->quotas, number, quota,
			      GFP_KERNEL_ACCOUNT));
	if (ret < 0) {
		kfree(quota);
		return ERR_PTR(ret);
	}
	return quota;
}

static void quota_free_if_unused(struct kdbus_queue *queue, u64 number,
				 struct kdbus_quota *quota)
{
	if (quota->messages)
		return;
	xa_erase(&queue->quotas, number);
	kfree(quota);
}

static int fits(struct kdbus_conn *conn, const struct kdbus_quota *quota,
		u64 size, unsigned int fds)
{
	u64 half = conn->pool->size / 2, limit;

	if (half < conn->queue.bytes)
		return -ENOBUFS;
	limit = (half - conn->queue.bytes + quota->bytes) / 3;
	if (quota->bytes > limit || size > limit - quota->bytes)
		return -ENOBUFS;
	if (quota->messages >= KDBUS_CONN_MAX_MSGS)
		return -ENOBUFS;
	if (quota->fds + fds > KDBUS_CONN_MAX_FDS)
		return -EMFILE;
	return 0;
}

static u64 number_of(const struct kdbus_user *user)
{
	return user ? user->number : 0;
}

static int charge(struct kdbus_conn *conn, struct kdbus_user *user, u64 size,
		  unsigned int fds)
{
	struct kdbus_queue *queue = &conn->queue;
	struct kdbus_quota *quota;
	int ret;

	lockdep_assert_held(&conn->lock);
	quota = quota_of(queue, number_of(user));
	if (IS_ERR(quota))
		return PTR_ERR(quota);
	ret = fits(conn, quota, size, fds);
	if (ret < 0) {
		quota_free_if_unused(queue, number_of(user), quota);
		return ret;
	}
	queue->bytes += size;
	quota->bytes += size;
	quota->messages++;
	quota->fds += fds;
	return 0;
}

static void give_back(struct kdbus_conn *conn, struct kdbus_user *user,
		      u64 size, unsigned int fds)
{
	struct kdbus_queue *queue = &conn->queue;
	struct kdbus_quota *quota = xa_load(&queue->quotas, number_of(user));

	lockdep_assert_held(&conn->lock);
	if (WARN_ON_ONCE(!quota))
		return;
	queue->bytes -= size;
	quota->bytes -= size;
	quota->messages--;
	quota->fds -= fds;
	quota_free_if_unused(queue, number_of(user), quota);
}

static void uncharge(struct kdbus_queued *queued)
{
	if (queued->charged)
		give_back(queued->conn, queued->user, queued->slice->size,
			  queued->cargo ? queued->cargo->fds : 0);
	queued->charged = false;
}

/**
 * kdbus_queued_new() - charge for a message, and have a slice for it
 * @conn:	its receiver; outlives the message
 * @user:	who is charged; NULL for the kernel
 * @size:	bytes of the slice; a multiple of 8
 * @cargo:	its files, or NULL
 *
 * Return: the message, or an error pointer.
 */
struct kdbus_queued *kdbus_queued_new(struct kdbus_conn *conn,
				      struct kdbus_user *user, u64 size,
				      struct kdbus_cargo *cargo)
{
	unsigned int fds = cargo ? cargo->fds : 0;
	struct kdbus_queued *queued;
	int ret;

	queued = kzalloc(sizeof(*queued), GFP_KERNEL_ACCOUNT);
	if (!queued)
		return ERR_PTR(-ENOMEM);
	queued->conn = conn;
	INIT_LIST_HEAD(&queued->link);
	RB_CLEAR_NODE(&queued->node);

	mutex_lock(&conn->lock);
	ret = conn->closed ? -ECONNRESET : charge(conn, user, size, fds);
	if (!ret) {
		queued->slice = kdbus_pool_alloc(conn->pool, size);
		ret = PTR_ERR_OR_ZERO(queued->slice);
		if (ret < 0)
			give_back(conn, user, size, fds);
	}
	mutex_unlock(&conn->lock);
	if (ret < 0) {
		kfree(queued);
		return ERR_PTR(ret);
	}
	queued->charged = true;
	queued->user = user ? kdbus_user_ref(user) : NULL;
	queued->cargo = cargo ? kdbus_cargo_ref(cargo) : NULL;
	return queued;
}

/* Take what a message was charged off its user's account. */
void kdbus_queued_settle(struct kdbus_queued *queued)
{
	mutex_lock(&queued->conn->lock);
	uncharge(queued);
	mutex_unlock(&queued->conn->lock);
}

/* Free a message that is in no queue; user space may keep the slice. */
void kdbus_queued_free(struct kdbus_queued *queued)
{
	if (!queued)
		return;
	kdbus_queued_settle(queued);
	kdbus_slice_drop(queued->slice);
	kdbus_cargo_unref(queued->cargo);
	if (queued->slot)
		kdbus_slot_unref(queued->slot);
	kdbus_user_unref(queued->user);
	kfree(queued);
}

static void insert_by_priority(struct kdbus_queue *queue,
			       struct kdbus_queued *queued)
{
	struct rb_node **n = &queue->priorities.rb_root.rb_node;
	struct rb_node *parent = NULL;
	bool first = true;

	while (*n) {
		parent = *n;
		if (queued->priority <
		    rb_entry(parent, struct kdbus_queued, node)->priority) {
			n = &parent->rb_left;
		} else {
			n = &parent->rb_right;
			first = false;
		}
	}
	rb_link_node(&queued->node, parent, n);
	rb_insert_color_cached(&queued->node, &queue->priorities, first);
}

/**
 * kdbus_queued_add() - put a message in line
 * @queued:	the message
 * @slot:	who waits for the answer to it, not linked yet; or NULL
 *
 * Return: 0, or -ECONNRESET if the receiver has gone.
 */
int kdbus_queued_add(struct kdbus_queued *queued, struct kdbus_slot *slot)
{
	struct kdbus_conn *conn = queued->conn;

	mutex_lock(&conn->lock);
	if (conn->closed) {
		mutex_unlock(&conn->lock);
		return -ECONNRESET;
	}
	list_add_tail(&queued->link, &conn->queue.messages);
	insert_by_priority(&conn->queue, queued);
	if (slot) {
		queued->slot = kdbus_slot_ref(slot);
		kdbus_slot_link(slot);
	}
	mutex_unlock(&conn->lock);
	wake_up_interruptible(&conn->wait);
	return 0;
}

static void unqueue(struct kdbus_queued *queued)
{
	struct kdbus_conn *conn = queued->conn;

	lockdep_assert_held(&conn->lock);
	list_del_init(&queued->link);
	rb_erase_cached(&queued->node, &conn->queue.priorities);
	uncharge(queued);
}

/* Count a message that did not get in. */
void kdbus_queue_lose(struct kdbus_conn *conn)
{
	bool first;

	mutex_lock(&conn->lock);
	first = !conn->queue.lost++;
	mutex_unlock(&conn->lock);
	if (first)
		wake_up_interruptible(&conn->wait);
}

/* Discard a message; who waits for an answer is told. */
static void discard(struct kdbus_queued *queued)
{
	if (queued->slot)
		kdbus_slot_fail(queued->slot);
	kdbus_queued_free(queued);
}

/**
 * kdbus_queue_flush() - discard all messages of a connection that has closed
 * @conn:	the connection
 */
void kdbus_queue_flush(struct kdbus_conn *conn)
{
	struct kdbus_queued *queued, *next;
	LIST_HEAD(all);

	mutex_lock(&conn->lock);
	list_for_each_entry_safe(queued, next, &conn->queue.messages, link) {
		unqueue(queued);
		list_add_tail(&queued->link, &all);
	}
	mutex_unlock(&conn->lock);
	list_for_each_entry_safe(queued, next, &all, link)
		discard(queued);
}

/* A message that goes on to another queue; the name's new owner may refuse. */
static int move_one(struct kdbus_conn *to, struct kdbus_queued *from)
{
	struct kdbus_queued *queued;
	int ret;

	if (from->cargo && from->cargo->fds &&
	    !(to->flags & KDBUS_HELLO_ACCEPT_FD))
		return -ECOMM;
	queued = kdbus_queued_new(to, from->user, from->slice->size,
				  from->cargo);
	if (IS_ERR(queued))
		return PTR_ERR(queued);
	queued->priority = from->priority;
	queued->name_id = from->name_id;
	ret = kdbus_slice_copy(queued->slice, from->slice);
	if (!ret) {
		/* Before it can be received there, and answered. */
		swap(queued->slot, from->slot);
		if (queued->slot)
			kdbus_slot_move(queued->slot, to);
		ret = kdbus_queued_add(queued, NULL);
		if (ret < 0)
			swap(queued->slot, from->slot);
	}
	if (ret < 0)
		kdbus_queued_free(queued);
	return ret;
}

/**
 * kdbus_conn_move() - move messages to the new owner of the name they went to
 * @to:		the new owner
 * @from:	the old owner
 * @name_id:	the name; the registry's lock is held for writing
 *
 * Those that do not fit, or carry what the new owner does not take, are lost.
 */
void kdbus_conn_move(struct kdbus_conn *to, struct kdbus_conn *from,
		     u64 name_id)
{
	struct kdbus_queued *queued, *next;
	LIST_HEAD(moving);

	mutex_lock(&from->lock);
	list_for_each_entry_safe(queued, next, &from->queue.messages, link) {
		if (queued->name_id != name_id)
			continue;
		unqueue(queued);
		list_add_tail(&queued->link, &moving);
	}
	mutex_unlock(&from->lock);
	list_for_each_entry_safe(queued, next, &moving, link) {
		if (move_one(to, queued) < 0) {
			kdbus_queue_lose(to);
			discard(queued);
		} else {
			kdbus_queued_free(queued);
		}
	}
}

/* Install one file, and write its number into the slice. */
static bool install(struct kdbus_queued *queued, struct file *file, u64 at,
		    bool refuse)
{
	s32 fd = -1;

	if (!refuse)
		fd = kdbus_receive_fd(file, O_CLOEXEC);
	if (fd < 0)
		return false;
	/* The page is there: the slice was written before. */
	return !kdbus_slice_write(queued->slice, at, &fd, sizeof(fd));
}

/* Install all files in the calling process; returns KDBUS_RECV_RETURN_*. */
static u64 install_files(struct kdbus_queued *queued)
{
	struct kdbus_cargo *cargo = queued->cargo;
	bool refuse = !(queued->conn->flags & KDBUS_HELLO_ACCEPT_FD);
	bool all = true;
	unsigned int i;

	if (!cargo)
		return 0;
	for (i = 0; i < cargo->fds; i++)
		all &= install(queued, cargo->files[i],
			       cargo->fds_at + i * sizeof(s32), refuse);
	for (i = 0; i < cargo->memfds; i++)
		all &= install(queued, cargo->files[cargo->fds + i],
			       cargo->memfd_at[i], false);
	return all ? 0 : KDBUS_RECV_RETURN_INCOMPLETE_FDS;
}

/**
 * kdbus_queued_hand_over() - give a message to the calling process
 * @queued:	the message, in no queue; it is freed
 * @info:	where to put what the process is told about it
 *
 * info->msg_size is that of the whole slice, the payload included. (2015's
 * header called it a copy of the message's own size, its code did this.)
 */
void kdbus_queued_hand_over(struct kdbus_queued *queued,
			    struct kdbus_msg_info *info)
{
	info->offset = queued->slice->offset;
	info->msg_size = queued->slice->size;
	info->return_flags = install_files(queued);
	kdbus_slice_publish(queued->slice);
	kdbus_queued_free(queued);
}

static struct kdbus_queued *next_message(struct kdbus_queue *queue,
					 const struct kdbus_cmd_recv *cmd)
{
	struct kdbus_queued *queued;

	if (!(cmd->flags & KDBUS_RECV_USE_PRIORITY))
		return list_first_entry_or_null(&queue->messages,
						struct kdbus_queued, link);
	queued = rb_entry_safe(rb_first_cached(&queue->priorities),
			       struct kdbus_queued, node);
	return queued && queued->priority <= cmd->priority ? queued : NULL;
}

static int recv(struct kdbus_conn *conn, struct kdbus_cmd_recv *cmd)
{
	struct kdbus_queue *queue = &conn->queue;
	struct kdbus_queued *queued;
	bool drop = cmd->flags & KDBUS_RECV_DROP;
	bool peek = cmd->flags & KDBUS_RECV_PEEK && !drop;

	cmd->msg.offset = conn->pool->size;
	cmd->msg.msg_size = 0;
	cmd->msg.return_flags = 0;

	mutex_lock(&conn->lock);
	cmd->dropped_msgs = queue->lost;
	queue->lost = 0;
	queued = next_message(queue, cmd);
	if (queued && peek) {
		cmd->msg.offset = queued->slice->offset;
		cmd->msg.msg_size = queued->slice->size;
		kdbus_slice_publish(queued->slice);
	} else if (queued) {
		unqueue(queued);
	}
	mutex_unlock(&conn->lock);

	if (cmd->dropped_msgs)
		cmd->return_flags |= KDBUS_RECV_RETURN_DROPPED_MSGS;
	if (!queued)
		return -EAGAIN;
	if (drop) {
		discard(queued);
		kdbus_notify_flush(conn->ep->bus);
	} else if (!peek) {
		kdbus_queued_hand_over(queued, &cmd->msg);
	}
	return 0;
}

/**
 * kdbus_cmd_recv() - KDBUS_CMD_RECV
 * @conn:	who receives
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_recv(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_recv),
		.allowed = KDBUS_RECV_PEEK | KDBUS_RECV_DROP |
			   KDBUS_RECV_USE_PRIORITY,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	struct kdbus_cmd_recv *cmd;
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (ret)
		goto finish;
	cmd = (struct kdbus_cmd_recv *)args.cmd;
	if (cmd->flags & KDBUS_RECV_DROP &&
	    cmd->flags & KDBUS_RECV_USE_PRIORITY) {
		ret = -EINVAL;
		goto finish;
	}
	ret = recv(conn, cmd);
	if (kdbus_args_put(&args, dropped_msgs, cmd) ||
	    kdbus_args_put(&args, msg, cmd))
		ret = -EFAULT;
finish:
	return kdbus_args_finish(&args, ret);
}
