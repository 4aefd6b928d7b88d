/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_DOMAIN_H
#define _KDBUS_DOMAIN_H

#include <linux/atomic.h>
#include <linux/hashtable.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/uidgid.h>

struct super_block;
struct user_namespace;

/**
 * struct kdbus_domain - all that belongs to one mount
 * @kref:	references; the super block has one, and each bus and user
 * @sb:		the mount's super block; outlives every bus
 * @user_ns:	of who mounted it: user ids in names are as seen here
 * @last_id:	the last id that was given to a bus or a connection
 * @lock:	protects @buses and @users, and the link in these
 * @buses:	all buses
 * @users:	the users that have an id, by it
 * @last_user:	the number of the last user
 */
struct kdbus_domain {
	struct kref kref;
	struct super_block *sb;
	struct user_namespace *user_ns;
	atomic64_t last_id;
	struct mutex lock;
	struct list_head buses;
	DECLARE_HASHTABLE(users, 6);
	u64 last_user;
};

/**
 * struct kdbus_user - who is accounted for something
 * @kref:	references
 * @domain:	where
 * @number:	not 0, never used again
 * @uid:	the user id; invalid for the one user of a custom endpoint
 * @node:	link in domain->users, unless @uid is invalid
 * @buses:	how many it has
 * @conns:	how many it has
 */
struct kdbus_user {
	struct kref kref;
	struct kdbus_domain *domain;
	u64 number;
	kuid_t uid;
	struct hlist_node node;
	atomic_t buses;
	atomic_t conns;
};

struct kdbus_domain *kdbus_domain_new(struct super_block *sb,
				      struct user_namespace *user_ns);
struct kdbus_domain *kdbus_domain_ref(struct kdbus_domain *domain);
void kdbus_domain_unref(struct kdbus_domain *domain);

struct kdbus_user *kdbus_user_get(struct kdbus_domain *domain, kuid_t uid);
struct kdbus_user *kdbus_user_ref(struct kdbus_user *user);
void kdbus_user_unref(struct kdbus_user *user);

/* Counts one more, up to max. */
static inline bool kdbus_user_charge(atomic_t *count, int max)
{
	return atomic_add_unless(count, 1, max);
}

#endif /* _KDBUS_DOMAIN_H */
