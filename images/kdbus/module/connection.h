/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_CONNECTION_H
#define _KDBUS_CONNECTION_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/path.h>
#include <linux/wait.h>

#include "gate.h"
#include "internal.h"
#include "match.h"
#include "queue.h"

struct cred;
struct file;
struct kdbus_args;
struct kdbus_blob;
struct kdbus_ep;
struct kdbus_meta;
struct kdbus_pool;
struct kdbus_user;
struct pid_namespace;

#define KDBUS_HELLO_SPECIAL	(KDBUS_HELLO_ACTIVATOR |	\
				 KDBUS_HELLO_POLICY_HOLDER |	\
				 KDBUS_HELLO_MONITOR)

/**
 * struct kdbus_conn - a connection
 * @kref:	references
 * @gate:	entered by each call on it; closed when it ends
 * @gone:	done when nothing is left of it
 * @ep:		where it was made
 * @id:		unique in the domain
 * @flags:	KDBUS_HELLO_*
 * @owner:	who opened the file owns the bus
 * @cred:	of who opened the file
 * @user:	who is accounted for it
 * @counted:	it has been counted for @user
 * @pid_ns:	of the task that said HELLO
 * @root:	likewise
 * @meta:	what is told about it on request: of that task, or faked
 * @faked:	it is faked; then nothing is told with its messages
 * @description: or NULL
 * @attach_send: KDBUS_ATTACH_*: what it lets out
 * @attach_recv: what it wants
 * @pool:	where it reads
 * @matches:	which signals it wants
 * @wait:	who polls
 * @lock:	protects @closed and @queue
 * @closed:	nothing can be queued any more
 * @queue:	what it has to receive
 * @ep_link:	in ep->conns, under ep->lock
 * @bus_node:	in bus->conns, under bus->conns_rwsem
 * @monitor_link: in bus->monitors, likewise
 * @claims:	names, under the registry's lock
 * @claim_count: how many these are
 * @request_count: slots of its requests that exist
 * @requests:	slots of its requests that have not ended, under
 *		bus->slots_lock
 * @duties:	slots of requests it can answer, likewise
 */
struct kdbus_conn {
	struct kref kref;
	struct kdbus_gate gate;
	struct completion gone;
	struct kdbus_ep *ep;
	u64 id;
	u64 flags;
	bool owner;
	const struct cred *cred;
	struct kdbus_user *user;
	bool counted;
	struct pid_namespace *pid_ns;
	struct path root;
	struct kdbus_meta *meta;
	bool faked;
	char *description;
	atomic64_t attach_send;
	atomic64_t attach_recv;
	struct kdbus_pool *pool;
	struct kdbus_matches matches;
	wait_queue_head_t wait;

	struct mutex lock;
	bool closed;
	struct kdbus_queue queue;

	struct list_head ep_link;
	struct hlist_node bus_node;
	struct list_head monitor_link;

	struct list_head claims;
	unsigned int claim_count;

	atomic_t request_count;
	struct list_head requests;
	struct list_head duties;
};

static inline bool kdbus_conn_is_ordinary(const struct kdbus_conn *conn)
{
	return !(conn->flags & KDBUS_HELLO_SPECIAL);
}

static inline bool kdbus_conn_is_monitor(const struct kdbus_conn *conn)
{
	return conn->flags & KDBUS_HELLO_MONITOR;
}

struct kdbus_conn *kdbus_conn_ref(struct kdbus_conn *conn);
void kdbus_conn_unref(struct kdbus_conn *conn);
void kdbus_conn_disconnect(struct kdbus_conn *conn);
int kdbus_conn_answer(struct kdbus_conn *conn, struct kdbus_blob *blob,
		      u64 *offset, u64 *size);
int kdbus_conn_answer_info(struct kdbus_conn *conn, struct kdbus_args *args,
			   struct kdbus_blob *blob);

struct kdbus_conn *kdbus_cmd_hello(struct kdbus_ep *ep, struct file *file,
				   void __user *argp);
int kdbus_cmd_update(struct kdbus_conn *conn, void __user *argp);
int kdbus_cmd_byebye(struct kdbus_conn *conn, void __user *argp);
int kdbus_cmd_free(struct kdbus_conn *conn, void __user *argp);
int kdbus_cmd_conn_info(struct kdbus_conn *conn, void __user *argp);
int kdbus_cmd_list(struct kdbus_conn *conn, void __user *argp);

#endif /* _KDBUS_CONNECTION_H */
