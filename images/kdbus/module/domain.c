// SPDX-License-Identifier: GPL-2.0
/*
 * Domains, and the users that are accounted in them.
 *
 * A domain is what one mount of kdbusfs holds: buses, the ids they and their
 * connections get, and users. A user is found by its id and lives as long as
 * something is accounted to it. A custom endpoint has a user of its own, with no
 * id, that all who connect there share.
 */
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "domain.h"

/**
 * kdbus_domain_new() - make a domain
 * @sb:		the super block of its mount
 * @user_ns:	of who mounts it
 *
 * Return: the domain, with one reference, or NULL.
 */
struct kdbus_domain *kdbus_domain_new(struct super_block *sb,
				      struct user_namespace *user_ns)
{
	struct kdbus_domain *domain = kzalloc(sizeof(*domain), GFP_KERNEL_ACCOUNT);

	if (!domain)
		return NULL;
	kref_init(&domain->kref);
	domain->sb = sb;
	domain->user_ns = get_user_ns(user_ns);
	mutex_init(&domain->lock);
	INIT_LIST_HEAD(&domain->buses);
	hash_init(domain->users);
	return domain;
}

struct kdbus_domain *kdbus_domain_ref(struct kdbus_domain *domain)
{
	kref_get(&domain->kref);
	return domain;
}

static void domain_free(struct kref *kref)
{
	struct kdbus_domain *domain =
		container_of(kref, struct kdbus_domain, kref);

	WARN_ON(!list_empty(&domain->buses));
	WARN_ON(!hash_empty(domain->users));
	put_user_ns(domain->user_ns);
	kfree(domain);
}

void kdbus_domain_unref(struct kdbus_domain *domain)
{
	kref_put(&domain->kref, domain_free);
}

static struct kdbus_user *find_user(struct kdbus_domain *domain, kuid_t uid)
{
	struct kdbus_user *user;

	lockdep_assert_held(&domain->lock);
	hash_for_each_possible(domain->users, user, node, __kuid_val(uid))
		if (uid_eq(user->uid, uid))
			return user;
	return NULL;
}

/**
 * kdbus_user_get() - find a user, or make it
 * @domain:	where
 * @uid:	the user's id; if invalid, a user is made that nobody else finds
 *
 * Return: the user, with a reference, or NULL if there is no memory.
 */
struct kdbus_user *kdbus_user_get(struct kdbus_domain *domain, kuid_t uid)
{
	struct kdbus_user *user, *fresh;

	fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
	if (!fresh)
		return NULL;
	kref_init(&fresh->kref);
	fresh->uid = uid;
	INIT_HLIST_NODE(&fresh->node);

	mutex_lock(&domain->lock);
	/* One that is found has a reference: the last put takes the lock. */
	user = uid_valid(uid) ? find_user(domain, uid) : NULL;
	if (user) {
		kdbus_user_ref(user);
		kfree(fresh);
	} else {
		user = fresh;
		user->domain = kdbus_domain_ref(domain);
		user->number = ++domain->last_user;
		if (uid_valid(uid))
			hash_add(domain->users, &user->node, __kuid_val(uid));
	}
	mutex_unlock(&domain->lock);
	return user;
}

struct kdbus_user *kdbus_user_ref(struct kdbus_user *user)
{
	kref_get(&user->kref);
	return user;
}

static void user_free(struct kref *kref)
{
	struct kdbus_user *user = container_of(kref, struct kdbus_user, kref);
	struct kdbus_domain *domain = user->domain;

	hash_del(&user->node);
	mutex_unlock(&domain->lock);
	WARN_ON(atomic_read(&user->buses) || atomic_read(&user->conns));
	kdbus_domain_unref(domain);
	kfree(user);
}

void kdbus_user_unref(struct kdbus_user *user)
{
	if (user)
		kref_put_mutex(&user->kref, user_free, &user->domain->lock);
}
