// SPDX-License-Identifier: GPL-2.0
/*
 * Sending: whom a message goes to.
 *
 * Delivery to one receiver is deliver(): what the receiver wants to know about
 * the sender is added in its own terms, and the whole is charged for, written and
 * put in line. Monitors get theirs first, whatever becomes of the message.
 *
 * A message to a name is delivered with the registry locked for reading, so that
 * the name cannot move away from the queue it is being put into. What needs user
 * memory was done before.
 */
#include <linux/cred.h>
#include <linux/timekeeping.h>
#include <linux/uaccess.h>

#include "args.h"
#include "blob.h"
#include "bus.h"
#include "cancel.h"
#include "connection.h"
#include "domain.h"
#include "endpoint.h"
#include "message.h"
#include "meta.h"
#include "name.h"
#include "notify.h"
#include "policy.h"
#include "pool.h"
#include "queue.h"
#include "slot.h"

/* Give a message its number and time. */
static void stamp(struct kdbus_bus *bus, struct kdbus_message *msg)
{
	msg->stamp.seqnum = atomic64_inc_return(&bus->seqnum);
	msg->stamp.monotonic_ns = ktime_get_ns();
	msg->stamp.realtime_ns = ktime_get_real_ns();
}

/* Add what the receiver is told about the sender, who is the kernel if NULL. */
static void attach(struct kdbus_blob *blob, const struct kdbus_message *msg,
		   struct kdbus_conn *src, struct kdbus_conn *dst)
{
	u64 mask = KDBUS_ATTACH_TIMESTAMP;

	if (src) {
		mask = atomic64_read(&dst->attach_recv);
		mask &= atomic64_read(&src->attach_send) |
			kdbus_meta_unhidden(msg->meta, dst);
	}
	if (msg->meta)
		kdbus_meta_emit(blob, msg->meta, dst, mask);
	if (mask & KDBUS_ATTACH_NAMES)
		kdbus_blob_raw(blob, msg->names.data, msg->names.len);
	if (mask & KDBUS_ATTACH_CONN_DESCRIPTION && src->description)
		kdbus_blob_string(blob, KDBUS_ITEM_CONN_DESCRIPTION,
				  src->description);
	if (mask & KDBUS_ATTACH_TIMESTAMP)
		kdbus_blob_add(blob, KDBUS_ITEM_TIMESTAMP, &msg->stamp,
			       sizeof(msg->stamp));
}

/* Header, items and metadata as this receiver gets them. */
static void compose(struct kdbus_blob *blob, const struct kdbus_message *msg,
		    struct kdbus_conn *src, struct kdbus_conn *dst)
{
	struct kdbus_item *item;
	struct kdbus_msg *head;
	struct kdbus_vec *vec;

	kdbus_blob_raw(blob, msg->head, msg->head_size);
	attach(blob, msg, src, dst);
	if (!blob->error)
		blob->error = msg->names.error;
	if (blob->error)
		return;
	head = (struct kdbus_msg *)blob->data;
	head->size = blob->len;
	kdbus_for_each_item(item, head->items,
			    msg->head_size - sizeof(*head)) {
		if (item->type != KDBUS_ITEM_PAYLOAD_OFF)
			continue;
		vec = (struct kdbus_vec *)item->data;
		if (vec->offset != ~0ULL)
			vec->offset += blob->len;
	}
}

static int fill(struct kdbus_slice *slice, const struct kdbus_message *msg,
		const struct kdbus_blob *blob)
{
	int ret = msg->payload_error;

	if (!ret)
		ret = kdbus_slice_write(slice, 0, blob->data, blob->len);
	if (!ret)
		ret = kdbus_slice_write(slice, blob->len, msg->payload,
					msg->payload_size);
	return ret;
}

/*
 * Bring a message to a receiver, not in line yet. Returns it, to be queued or
 * freed, or an error pointer.
 */
static struct kdbus_queued *bring(const struct kdbus_message *msg,
				  struct kdbus_conn *src,
				  struct kdbus_conn *dst)
{
	struct kdbus_queued *queued;
	struct kdbus_blob blob = {};
	int ret;

	if (kdbus_gate_is_closed(&dst->gate))
		return ERR_PTR(-ECONNRESET);
	if (msg->cargo && msg->cargo->fds && !kdbus_conn_is_monitor(dst) &&
	    !(dst->flags & KDBUS_HELLO_ACCEPT_FD))
		return ERR_PTR(-ECOMM);
	compose(&blob, msg, src, dst);
	if (blob.error) {
		queued = ERR_PTR(blob.error);
		goto free;
	}
	queued = kdbus_queued_new(dst, src ? src->user : NULL,
				  blob.len + msg->payload_size, msg->cargo);
	if (IS_ERR(queued))
		goto free;
	queued->priority = msg->head->priority;
	ret = fill(queued->slice, msg, &blob);
	if (ret < 0) {
		kdbus_queued_free(queued);
		queued = ERR_PTR(ret);
	}
free:
	kdbus_blob_free(&blob);
	return queued;
}

static int deliver(const struct kdbus_message *msg, struct kdbus_conn *src,
		   struct kdbus_conn *dst, u64 name_id, struct kdbus_slot *slot)
{
	struct kdbus_queued *queued = bring(msg, src, dst);
	int ret;

	if (IS_ERR(queued))
		return PTR_ERR(queued);
	queued->name_id = name_id;
	ret = kdbus_queued_add(queued, slot);
	if (ret < 0)
		kdbus_queued_free(queued);
	return ret;
}

/* Nobody waits for these: what does not get in is counted. */
static void deliver_or_lose(const struct kdbus_message *msg,
			    struct kdbus_conn *src, struct kdbus_conn *dst)
{
	if (deliver(msg, src, dst, 0, NULL) < 0)
		kdbus_queue_lose(dst);
}

static void lock_bus(struct kdbus_bus *bus)
{
	down_read(&bus->conns_rwsem);
	down_read(&bus->names.rwsem);
}

static void unlock_bus(struct kdbus_bus *bus)
{
	up_read(&bus->names.rwsem);
	up_read(&bus->conns_rwsem);
}

/* Let the monitors see a message. One that cannot be read is none to be seen. */
static void deliver_to_monitors(struct kdbus_bus *bus,
				const struct kdbus_message *msg,
				struct kdbus_conn *src)
{
	struct kdbus_conn *conn;

	lockdep_assert_held(&bus->conns_rwsem);
	if (msg->payload_error)
		return;
	list_for_each_entry(conn, &bus->monitors, monitor_link)
		deliver_or_lose(msg, src, conn);
}

static int broadcast(struct kdbus_conn *src, struct kdbus_message *msg)
{
	struct kdbus_bus *bus = src->ep->bus;
	struct kdbus_conn *conn;
	int i;

	/* Nothing to be delivered: 2015 counted that at the receivers. */
	if (msg->payload_error)
		return msg->payload_error;
	lock_bus(bus);
	kdbus_conn_emit_names(src, &msg->names);
	deliver_to_monitors(bus, msg, src);
	hash_for_each(bus->conns, i, conn, bus_node)
		if (kdbus_conn_is_ordinary(conn) &&
		    kdbus_match_message(conn, src, msg) &&
		    kdbus_conn_may_talk(conn, conn->cred, src))
			deliver_or_lose(msg, src, conn);
	unlock_bus(bus);
	return 0;
}

/* Whom a message goes to, and by which name. The bus is locked. */
static struct kdbus_conn *find_receiver(struct kdbus_bus *bus,
					const struct kdbus_message *msg,
					u64 *name_id)
{
	const struct kdbus_msg *head = msg->head;
	struct kdbus_entry *entry;
	struct kdbus_claim *owner;
	struct kdbus_conn *conn;

	*name_id = 0;
	if (!msg->dst_name) {
		conn = kdbus_bus_find_conn(bus, head->dst_id);
		if (!conn || !kdbus_conn_is_ordinary(conn))
			return ERR_PTR(-ENXIO);
		return conn;
	}
	entry = kdbus_registry_find(&bus->names, msg->dst_name);
	if (!entry)
		return ERR_PTR(-ESRCH);
	owner = kdbus_entry_owner(entry);
	if (head->dst_id && head->dst_id != owner->conn->id)
		return ERR_PTR(-EREMCHG);
	/* The header of 2015 said that this was ignored; its code did this. */
	if (head->flags & KDBUS_MSG_NO_AUTO_START &&
	    owner->flags & KDBUS_NAME_ACTIVATOR)
		return ERR_PTR(-EADDRNOTAVAIL);
	*name_id = entry->id;
	return owner->conn;
}

/* A signal to one receiver: like a broadcast, but for who gets it. */
static void send_signal(struct kdbus_conn *src, struct kdbus_message *msg,
			struct kdbus_conn *dst, u64 name_id)
{
	deliver_to_monitors(src->ep->bus, msg, src);
	if (kdbus_match_message(dst, src, msg) &&
	    kdbus_conn_may_talk(dst, dst->cred, src))
		deliver(msg, src, dst, name_id, NULL);
}

static int send_request(struct kdbus_conn *src, struct kdbus_message *msg,
			struct kdbus_conn *dst, u64 name_id, bool sync,
			struct kdbus_slot **slot)
{
	*slot = kdbus_slot_new(src, dst, msg->head->cookie,
			       msg->head->timeout_ns, sync);
	if (IS_ERR(*slot))
		return PTR_ERR(*slot);
	deliver_to_monitors(src->ep->bus, msg, src);
	return deliver(msg, src, dst, name_id, *slot);
}

/*
 * Send a message to one receiver, for which it is no reply. If the caller is
 * going to wait, it gets the slot to be put, whatever is returned.
 */
static int unicast(struct kdbus_conn *src, struct kdbus_message *msg, bool sync,
		   struct kdbus_slot **slot)
{
	struct kdbus_bus *bus = src->ep->bus;
	struct kdbus_conn *dst;
	u64 name_id;
	int ret = 0;

	lock_bus(bus);
	dst = find_receiver(bus, msg, &name_id);
	if (IS_ERR(dst)) {
		ret = PTR_ERR(dst);
		goto unlock;
	}
	kdbus_conn_emit_names(src, &msg->names);
	if (msg->head->flags & KDBUS_MSG_SIGNAL) {
		send_signal(src, msg, dst, name_id);
		goto unlock;
	}
	if (!kdbus_conn_may_talk(src, current_cred(), dst)) {
		ret = -EPERM;
		goto unlock;
	}
	if (msg->head->flags & KDBUS_MSG_EXPECT_REPLY) {
		ret = send_request(src, msg, dst, name_id, sync, slot);
		goto unlock;
	}
	deliver_to_monitors(bus, msg, src);
	ret = deliver(msg, src, dst, name_id, NULL);
unlock:
	unlock_bus(bus);
	return ret;
}

/* Bring a reply to a requester that waits for it. */
static int answer(struct kdbus_conn *src, struct kdbus_message *msg,
		  struct kdbus_conn *dst, struct kdbus_slot *slot)
{
	struct kdbus_queued *queued = bring(msg, src, dst);

	if (IS_ERR(queued)) {
		int ret = PTR_ERR(queued);

		/* The requester did not send what it would not take. */
		kdbus_slot_answer(slot, ret == -ECOMM ? -EREMOTEIO : ret, NULL);
		return ret;
	}
	kdbus_queued_settle(queued);
	kdbus_slot_answer(slot, 0, queued);
	return 0;
}

static int reply(struct kdbus_conn *src, struct kdbus_message *msg)
{
	struct kdbus_bus *bus = src->ep->bus;
	struct kdbus_slot *slot = NULL;
	struct kdbus_conn *dst;
	u64 name_id;
	int ret;

	lock_bus(bus);
	dst = find_receiver(bus, msg, &name_id);
	if (IS_ERR(dst)) {
		ret = PTR_ERR(dst);
		goto unlock;
	}
	kdbus_conn_emit_names(src, &msg->names);
	slot = kdbus_slot_claim(src, dst, msg->head->cookie_reply);
	if (!slot) {
		ret = -EBADSLT;
		goto unlock;
	}
	deliver_to_monitors(bus, msg, src);
	if (slot->sync)
		ret = answer(src, msg, dst, slot);
	else
		ret = deliver(msg, src, dst, name_id, NULL);
unlock:
	unlock_bus(bus);
	if (slot)
		kdbus_slot_unref(slot);
	return ret;
}

/* Send a request, unless a signal made us start over after that. */
static struct kdbus_slot *request(struct kdbus_conn *src,
				  struct kdbus_message *msg)
{
	struct kdbus_slot *slot;
	int ret;

	slot = kdbus_slot_resume(src, msg->head->cookie);
	if (slot)
		return slot;
	/* What is negative to the clock's type has always been too late. */
	if (msg->head->timeout_ns > S64_MAX ||
	    msg->head->timeout_ns <= ktime_get_ns())
		return ERR_PTR(-ETIMEDOUT);
	ret = unicast(src, msg, true, &slot);
	if (ret < 0) {
		if (!IS_ERR_OR_NULL(slot))
			kdbus_slot_unref(slot);
		return ERR_PTR(ret);
	}
	return slot;
}

/* Send a request and wait for the reply. */
static int call(struct kdbus_conn *src, struct kdbus_message *msg,
		struct kdbus_cancel *cancel, struct kdbus_msg_info *info)
{
	struct kdbus_queued *queued = NULL;
	struct kdbus_slot *slot;
	int ret;

	if (!kdbus_gate_enter(&src->gate))
		return -ECONNRESET;
	slot = request(src, msg);
	kdbus_gate_leave(&src->gate);
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	kdbus_cancel_watch(cancel, &slot->wait);
	ret = kdbus_slot_wait(slot, cancel, &queued);
	/* Its entries in the file's queues wake the slot. */
	kdbus_cancel_close(cancel);
	kdbus_slot_unref(slot);
	if (queued)
		kdbus_queued_hand_over(queued, info);
	return ret;
}

static int post(struct kdbus_conn *src, struct kdbus_message *msg)
{
	struct kdbus_slot *slot = NULL;
	int ret;

	if (!kdbus_gate_enter(&src->gate))
		return -ECONNRESET;
	if (msg->head->dst_id == KDBUS_DST_ID_BROADCAST)
		ret = broadcast(src, msg);
	else if (msg->head->flags & KDBUS_MSG_EXPECT_REPLY ||
		 !msg->head->cookie_reply)
		ret = unicast(src, msg, false, &slot);
	else
		ret = reply(src, msg);
	kdbus_gate_leave(&src->gate);
	if (!IS_ERR_OR_NULL(slot))
		kdbus_slot_unref(slot);
	return ret;
}

/* Send what has the form of a message. */
static int send(struct kdbus_conn *conn, struct kdbus_cmd_send *cmd,
		const struct kdbus_args *args, struct kdbus_cancel *cancel)
{
	bool sync = cmd->flags & KDBUS_SEND_SYNC_REPLY;
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_message msg = {};
	int ret;

	ret = kdbus_message_check(&msg, conn, args, sync);
	if (!ret)
		ret = kdbus_message_import(&msg);
	if (!ret && !conn->faked) {
		msg.meta = kdbus_meta_new(atomic64_read(&bus->wanted));
		ret = PTR_ERR_OR_ZERO(msg.meta);
		if (ret < 0)
			msg.meta = NULL;
	}
	if (!ret) {
		stamp(bus, &msg);
		cmd->reply.offset = conn->pool->size;
		cmd->reply.msg_size = 0;
		cmd->reply.return_flags = 0;
		if (sync)
			ret = call(conn, &msg, cancel, &cmd->reply);
		else
			ret = post(conn, &msg);
	}
	kdbus_message_destroy(&msg);
	return ret;
}

/* Take the message that a command points to. */
static int take_message(struct kdbus_args *args, u64 address, bool asked)
{
	int ret;

	if (address > ULONG_MAX)
		return -EFAULT;
	ret = kdbus_args_parse(args, (void __user *)(unsigned long)address);
	/* The message alone cannot be asked about. */
	if (ret >= 0 && !asked && args->cmd->flags & KDBUS_FLAG_NEGOTIATE)
		ret = -EINVAL;
	return ret;
}

static int send_command(struct kdbus_conn *conn, struct kdbus_args *args,
			bool asked)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_PAYLOAD_VEC, .multiple = true },
		{ .type = KDBUS_ITEM_PAYLOAD_MEMFD, .multiple = true },
		{ .type = KDBUS_ITEM_FDS },
		{ .type = KDBUS_ITEM_BLOOM_FILTER },
		{ .type = KDBUS_ITEM_DST_NAME },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args message = {
		.fixed = sizeof(struct kdbus_msg),
		.allowed = KDBUS_MSG_EXPECT_REPLY | KDBUS_MSG_NO_AUTO_START |
			   KDBUS_MSG_SIGNAL,
		.message = true,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	struct kdbus_cmd_send *cmd = (void *)args->cmd;
	struct kdbus_item *item = args->argv[0].item;
	struct kdbus_cancel cancel = {};
	int ret;

	if (asked && !cmd->msg_address)
		return 0;
	ret = take_message(&message, cmd->msg_address, asked);
	if (ret < 0 || asked)
		goto finish;
	if (item)
		ret = kdbus_cancel_open(&cancel, *(s32 *)item->data);
	if (!ret)
		ret = send(conn, cmd, &message, &cancel);
	kdbus_cancel_close(&cancel);
	if (!ret)
		ret = kdbus_args_put(args, reply, cmd);
finish:
	return kdbus_args_finish(&message, ret);
}

/**
 * kdbus_cmd_send() - KDBUS_CMD_SEND
 * @conn:	who sends
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_send(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_CANCEL_FD },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_send),
		.allowed = KDBUS_SEND_SYNC_REPLY,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (ret >= 0)
		ret = send_command(conn, &args, ret);
	return kdbus_args_finish(&args, ret);
}

/* The item of a notification. */
static void compose_notice(struct kdbus_blob *blob,
			   const struct kdbus_notice *notice)
{
	struct kdbus_notify_name_change *change;
	size_t len = strlen(notice->name) + 1;

	switch (notice->type) {
	case KDBUS_ITEM_ID_ADD:
	case KDBUS_ITEM_ID_REMOVE:
		kdbus_blob_add(blob, notice->type, &notice->new_id,
			       sizeof(notice->new_id));
		break;
	case KDBUS_ITEM_REPLY_TIMEOUT:
	case KDBUS_ITEM_REPLY_DEAD:
		kdbus_blob_item(blob, notice->type, 0);
		break;
	default:
		change = kdbus_blob_item(blob, notice->type,
					 sizeof(*change) + len);
		if (change) {
			change->old_id = notice->old_id;
			change->new_id = notice->new_id;
			memcpy(change->name, notice->name, len);
		}
	}
}

static bool wants_notice(struct kdbus_conn *conn,
			 const struct kdbus_notice *notice)
{
	if (!kdbus_conn_is_ordinary(conn) || !kdbus_match_notice(conn, notice))
		return false;
	/* That a connection is there, everybody may know. */
	return !notice->name[0] ||
	       kdbus_conn_may_see_name(conn, conn->cred, notice->name);
}

static void broadcast_notice(struct kdbus_bus *bus,
			     const struct kdbus_notice *notice,
			     const struct kdbus_message *msg)
{
	struct kdbus_conn *conn;
	int i;

	hash_for_each(bus->conns, i, conn, bus_node)
		if (wants_notice(conn, notice))
			deliver_or_lose(msg, NULL, conn);
}

/**
 * kdbus_message_send_notice() - deliver a notification
 * @bus:	where
 * @notice:	what
 *
 * One to a single connection that does not get in is lost without a word.
 */
void kdbus_message_send_notice(struct kdbus_bus *bus,
			       const struct kdbus_notice *notice)
{
	struct kdbus_message msg = {};
	struct kdbus_blob blob = {};
	struct kdbus_conn *conn;
	struct kdbus_msg *head;

	if (kdbus_blob_reserve(&blob, sizeof(*head)))
		compose_notice(&blob, notice);
	if (blob.error)
		goto free;
	head = (struct kdbus_msg *)blob.data;
	head->size = blob.len;
	head->dst_id = notice->dst_id;
	head->src_id = KDBUS_SRC_ID_KERNEL;
	head->payload_type = KDBUS_PAYLOAD_KERNEL;
	head->cookie_reply = notice->cookie;
	if (notice->dst_id == KDBUS_DST_ID_BROADCAST)
		head->flags = KDBUS_MSG_SIGNAL;
	msg.head = head;
	msg.head_size = blob.len;
	stamp(bus, &msg);

	down_read(&bus->conns_rwsem);
	deliver_to_monitors(bus, &msg, NULL);
	if (notice->dst_id == KDBUS_DST_ID_BROADCAST) {
		broadcast_notice(bus, notice, &msg);
	} else {
		conn = kdbus_bus_find_conn(bus, notice->dst_id);
		if (conn)
			deliver(&msg, NULL, conn, 0, NULL);
	}
	up_read(&bus->conns_rwsem);
free:
	kdbus_blob_free(&blob);
}
