/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_POLICY_H
#define _KDBUS_POLICY_H

#include <linux/hashtable.h>
#include <linux/rwsem.h>
#include <linux/types.h>

struct cred;
struct kdbus_args;
struct kdbus_conn;
struct kdbus_ep;

#define KDBUS_POLICY_ANY_NUMBER	SIZE_MAX

/**
 * struct kdbus_policy - who may do what with which name
 * @rwsem:	protects @rules
 * @rules:	by the hash of their names
 */
struct kdbus_policy {
	struct rw_semaphore rwsem;
	DECLARE_HASHTABLE(rules, 6);
};

void kdbus_policy_init(struct kdbus_policy *policy);
void kdbus_policy_destroy(struct kdbus_policy *policy);
int kdbus_policy_set(struct kdbus_policy *policy, const void *owner,
		     const struct kdbus_args *args, size_t max, bool wildcard);
void kdbus_policy_forget(struct kdbus_policy *policy, const void *owner);

bool kdbus_conn_may_own(struct kdbus_conn *conn, const struct cred *cred,
			const char *name);
bool kdbus_conn_may_talk(struct kdbus_conn *conn, const struct cred *cred,
			 struct kdbus_conn *to);
bool kdbus_conn_may_see_name(struct kdbus_conn *conn, const struct cred *cred,
			     const char *name);
bool kdbus_conn_may_see(struct kdbus_conn *conn, const struct cred *cred,
			struct kdbus_conn *other);

#endif /* _KDBUS_POLICY_H */
