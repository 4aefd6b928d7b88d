/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_BUS_H
#define _KDBUS_BUS_H

#include <linux/hashtable.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/uidgid.h>
#include <linux/workqueue.h>

#include "gate.h"
#include "internal.h"
#include "name.h"
#include "policy.h"

struct dentry;
struct file;
struct kdbus_conn;
struct kdbus_domain;
struct kdbus_ep;
struct kdbus_meta;
struct kdbus_user;

/**
 * struct kdbus_bus - a bus
 * @kref:	references: of its maker's file and of its endpoints
 * @gate:	entered to make an endpoint; closed when the maker's file goes
 * @domain:	where it is
 * @domain_link: in domain->buses, under domain->lock
 * @id:		unique in the domain
 * @id128:	unique
 * @flags:	KDBUS_MAKE_ACCESS_*
 * @name:	of its directory
 * @dentry:	its directory
 * @uid:	effective user id of its maker: who has this, owns the bus
 * @gid:	likewise
 * @user:	who is accounted for it
 * @bloom:	what its filters are like
 * @creator:	what is known of the maker
 * @creator_flags: what of it may be shown
 * @eps_lock:	protects @eps
 * @eps:	all endpoints
 * @conns_rwsem: protects @conns and @monitors
 * @conns:	all connections, by id
 * @monitors:	those that see everything
 * @names:	who owns which name
 * @policy:	fed by activators and policy holders
 * @wanted:	KDBUS_ATTACH_*: what any connection ever wanted; senders collect
 *		no more than that
 * @seqnum:	number of the last message
 * @flush_lock:	held while notifications are delivered, for their order
 * @notices_lock: protects @notices
 * @notices:	notifications that wait for being delivered
 * @slots_lock:	protects all slots (slot.h)
 * @deadlines:	slots with a deadline, the earliest first
 * @deadline_work: runs at the earliest
 */
struct kdbus_bus {
	struct kref kref;
	struct kdbus_gate gate;
	struct kdbus_domain *domain;
	struct list_head domain_link;
	u64 id;
	u8 id128[16];
	u64 flags;
	char *name;
	struct dentry *dentry;
	kuid_t uid;
	kgid_t gid;
	struct kdbus_user *user;
	struct kdbus_bloom_parameter bloom;
	struct kdbus_meta *creator;
	u64 creator_flags;

	struct mutex eps_lock;
	struct list_head eps;

	struct rw_semaphore conns_rwsem;
	DECLARE_HASHTABLE(conns, 8);
	struct list_head monitors;

	struct kdbus_registry names;
	struct kdbus_policy policy;

	atomic64_t wanted;
	atomic64_t seqnum;

	struct mutex flush_lock;
	spinlock_t notices_lock;
	struct list_head notices;

	spinlock_t slots_lock;
	struct rb_root_cached deadlines;
	struct delayed_work deadline_work;
};

struct kdbus_bus *kdbus_bus_ref(struct kdbus_bus *bus);
void kdbus_bus_unref(struct kdbus_bus *bus);
void kdbus_bus_shutdown(struct kdbus_bus *bus);
struct kdbus_conn *kdbus_bus_find_conn(struct kdbus_bus *bus, u64 id);

struct kdbus_bus *kdbus_cmd_bus_make(struct kdbus_domain *domain,
				     void __user *argp);
int kdbus_cmd_bus_creator_info(struct kdbus_conn *conn, void __user *argp);

umode_t kdbus_access_mode(u64 flags, umode_t owner);
int kdbus_owned_name_valid(const char *name, struct kdbus_domain *domain);

#endif /* _KDBUS_BUS_H */
