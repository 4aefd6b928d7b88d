/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_QUEUE_H
#define _KDBUS_QUEUE_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/rbtree.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include "internal.h"

struct file;
struct kdbus_conn;
struct kdbus_slice;
struct kdbus_slot;
struct kdbus_user;

/**
 * struct kdbus_cargo - the files that go with a message
 * @kref:	references: of the message, and of each queue it is in
 * @fds:	how many entries its FDS item has
 * @fds_at:	where these are, from the message's beginning
 * @memfds:	how many PAYLOAD_MEMFD items it has
 * @memfd_at:	where the descriptor of each is, likewise
 * @files:	those of the FDS item, then the memfds
 */
struct kdbus_cargo {
	struct kref kref;
	unsigned int fds;
	u64 fds_at;
	unsigned int memfds;
	u64 memfd_at[KDBUS_MSG_MAX_MEMFDS];
	struct file *files[KDBUS_MSG_MAX_FDS + KDBUS_MSG_MAX_MEMFDS];
};

/**
 * struct kdbus_queued - a message at its receiver
 * @conn:	the receiver
 * @link:	in queue->messages, in the order of arrival
 * @node:	in queue->priorities
 * @priority:	the lowest comes first
 * @slice:	its bytes
 * @user:	who is charged for it, until it leaves the queue
 * @charged:	it is charged for; @user is NULL if to the kernel
 * @cargo:	its files, or NULL
 * @name_id:	the name it was sent to, or 0
 * @slot:	who waits for the answer, or NULL
 */
struct kdbus_queued {
	struct kdbus_conn *conn;
	struct list_head link;
	struct rb_node node;
	s64 priority;
	struct kdbus_slice *slice;
	struct kdbus_user *user;
	bool charged;
	struct kdbus_cargo *cargo;
	u64 name_id;
	struct kdbus_slot *slot;
};

/**
 * struct kdbus_queue - what a connection has to receive; under conn->lock
 * @messages:	all messages
 * @priorities:	all messages
 * @quotas:	struct kdbus_quota by the number of the user, 0 is the kernel
 * @bytes:	of all that is charged for
 * @lost:	messages that did not get in since the last RECV
 */
struct kdbus_queue {
	struct list_head messages;
	struct rb_root_cached priorities;
	struct xarray quotas;
	u64 bytes;
	u64 lost;
};

struct kdbus_cargo *kdbus_cargo_ref(struct kdbus_cargo *cargo);
void kdbus_cargo_unref(struct kdbus_cargo *cargo);

void kdbus_queue_init(struct kdbus_queue *queue);
void kdbus_queue_destroy(struct kdbus_queue *queue);
void kdbus_queue_flush(struct kdbus_conn *conn);
void kdbus_queue_lose(struct kdbus_conn *conn);

struct kdbus_queued *kdbus_queued_new(struct kdbus_conn *conn,
				      struct kdbus_user *user, u64 size,
				      struct kdbus_cargo *cargo);
void kdbus_queued_free(struct kdbus_queued *queued);
int kdbus_queued_add(struct kdbus_queued *queued, struct kdbus_slot *slot);
void kdbus_queued_settle(struct kdbus_queued *queued);
void kdbus_queued_hand_over(struct kdbus_queued *queued,
			    struct kdbus_msg_info *info);
void kdbus_conn_move(struct kdbus_conn *to, struct kdbus_conn *from,
		     u64 name_id);

int kdbus_cmd_recv(struct kdbus_conn *conn, void __user *argp);

#endif /* _KDBUS_QUEUE_H */
