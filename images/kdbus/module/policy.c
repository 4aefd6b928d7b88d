// SPDX-License-Identifier: GPL-2.0
/*
 * Policy: who may see, talk to and own which names.
 *
 * A bus has one, fed by its activators and policy holders; each custom endpoint
 * has one, fed by its maker. A rule is a name and a list of accesses. Whoever
 * sets rules replaces all of its own.
 *
 * "com.example.*" stands for names with exactly one more label. 2015's code
 * never recognised these, by a slip; its documentation is followed here. An
 * exact rule counts before a wildcard, also if it grants nothing.
 */
#include <linux/cred.h>
#include <linux/list.h>
#include <linux/slab.h>
#include <linux/stringhash.h>
#include <linux/uidgid.h>
#include <linux/user_namespace.h>

#include "args.h"
#include "bus.h"
#include "connection.h"
#include "endpoint.h"
#include "name.h"
#include "policy.h"

#define NO_ACCESS	(-1)

/* Who is granted how much. */
struct kdbus_grant {
	struct list_head link;
	u64 type;	/* KDBUS_POLICY_ACCESS_* */
	int access;	/* KDBUS_POLICY_* */
	kuid_t uid;	/* of a user */
	kgid_t gid;	/* of a group */
};

struct kdbus_rule {
	struct hlist_node node;	/* in policy->rules, or on a list of rules */
	const void *owner;
	struct list_head grants;
	bool wildcard;		/* the name is what is before ".*" */
	char name[];
};

void kdbus_policy_init(struct kdbus_policy *policy)
{
	init_rwsem(&policy->rwsem);
	hash_init(policy->rules);
}

static void rule_free(struct kdbus_rule *rule)
{
	struct kdbus_grant *grant, *next;

	list_for_each_entry_safe(grant, next, &rule->grants, link)
		kfree(grant);
	kfree(rule);
}

static void rules_free(struct hlist_head *rules)
{
	struct kdbus_rule *rule;
	struct hlist_node *next;

	hlist_for_each_entry_safe(rule, next, rules, node)
		rule_free(rule);
	INIT_HLIST_HEAD(rules);
}

void kdbus_policy_destroy(struct kdbus_policy *policy)
{
	struct kdbus_rule *rule;
	struct hlist_node *next;
	int i;

	hash_for_each_safe(policy->rules, i, next, rule, node)
		rule_free(rule);
}

static struct kdbus_rule *rule_new(const char *name, const void *owner,
				   bool wildcard)
{
	size_t len = strlen(name);
	struct kdbus_rule *rule;
	int ret;

	ret = kdbus_name_valid(name, wildcard);
	if (ret < 0)
		return ERR_PTR(ret);
	rule = kzalloc(struct_size(rule, name, len + 1), GFP_KERNEL_ACCOUNT);
	if (!rule)
		return ERR_PTR(-ENOMEM);
	rule->owner = owner;
	INIT_LIST_HEAD(&rule->grants);
	rule->wildcard = name[len - 1] == '*';
	if (rule->wildcard)
		len -= strlen(".*");
	memcpy(rule->name, name, len);
	return rule;
}

static int add_grant(struct kdbus_rule *rule,
		     const struct kdbus_policy_access *access)
{
	struct kdbus_grant *grant;
	kuid_t uid = INVALID_UID;
	kgid_t gid = INVALID_GID;

	if (access->access > KDBUS_POLICY_OWN)
		return -EINVAL;
	switch (access->type) {
	case KDBUS_POLICY_ACCESS_USER:
		if (access->id <= U32_MAX)
			uid = make_kuid(current_user_ns(), access->id);
		if (!uid_valid(uid))
			return -EINVAL;
		break;
	case KDBUS_POLICY_ACCESS_GROUP:
		if (access->id <= U32_MAX)
			gid = make_kgid(current_user_ns(), access->id);
		if (!gid_valid(gid))
			return -EINVAL;
		break;
	case KDBUS_POLICY_ACCESS_WORLD:
		break;
	default:
		return -EINVAL;
	}
	grant = kzalloc(sizeof(*grant), GFP_KERNEL_ACCOUNT);
	if (!grant)
		return -ENOMEM;
	grant->type = access->type;
	grant->access = access->access;
	grant->uid = uid;
	grant->gid = gid;
	list_add_tail(&grant->link, &rule->grants);
	return 0;
}

/* Make rules of a command's items: names, each with its accesses after it. */
static int parse_rules(struct hlist_head *rules, const void *owner,
		       const struct kdbus_args *args, size_t max, bool wildcard)
{
	struct kdbus_rule *rule = NULL;
	struct kdbus_item *item;
	size_t n = 0;
	int ret = 0;

	kdbus_for_each_item(item, args->items, args->items_size) {
		if (item->type == KDBUS_ITEM_NAME) {
			if (n++ == max)
				return -E2BIG;
			rule = rule_new((char *)item->data, owner, wildcard);
			if (IS_ERR(rule))
				return PTR_ERR(rule);
			hlist_add_head(&rule->node, rules);
		} else if (item->type == KDBUS_ITEM_POLICY_ACCESS) {
			ret = rule ? add_grant(rule, (void *)item->data) :
				     -EINVAL;
			if (ret < 0)
				return ret;
		}
	}
	return 0;
}

static u32 rule_hash(const char *name, size_t len)
{
	return full_name_hash(NULL, name, len);
}

static struct kdbus_rule *find_rule(struct kdbus_policy *policy,
				    const char *name, size_t len, bool wildcard)
{
	struct kdbus_rule *rule;

	hash_for_each_possible(policy->rules, rule, node, rule_hash(name, len))
		if (rule->wildcard == wildcard && strlen(rule->name) == len &&
		    !memcmp(rule->name, name, len))
			return rule;
	return NULL;
}

/* Move the rules of an owner from the policy to a list. */
static void take_rules(struct kdbus_policy *policy, const void *owner,
		       struct hlist_head *taken)
{
	struct kdbus_rule *rule;
	struct hlist_node *next;
	int i;

	hash_for_each_safe(policy->rules, i, next, rule, node) {
		if (rule->owner != owner)
			continue;
		hash_del(&rule->node);
		hlist_add_head(&rule->node, taken);
	}
}

/* Move rules from a list to the policy, up to the first that is there. */
static int put_rules(struct kdbus_policy *policy, struct hlist_head *rules)
{
	struct kdbus_rule *rule;
	struct hlist_node *next;

	hlist_for_each_entry_safe(rule, next, rules, node) {
		size_t len = strlen(rule->name);

		if (find_rule(policy, rule->name, len, rule->wildcard))
			return -EEXIST;
		hlist_del(&rule->node);
		hash_add(policy->rules, &rule->node, rule_hash(rule->name, len));
	}
	return 0;
}

/**
 * kdbus_policy_set() - replace an owner's rules
 * @policy:	where
 * @owner:	whose
 * @args:	the command that has the rules
 * @max:	how many rules it may have at most
 * @wildcard:	they may be wildcards
 *
 * Return: 0, or a negative error, which leaves all as it was: -E2BIG for too
 * many, -EEXIST if another rule has such a name.
 */
int kdbus_policy_set(struct kdbus_policy *policy, const void *owner,
		     const struct kdbus_args *args, size_t max, bool wildcard)
{
	HLIST_HEAD(rules);
	HLIST_HEAD(old);
	int ret;

	ret = parse_rules(&rules, owner, args, max, wildcard);
	if (!ret) {
		down_write(&policy->rwsem);
		take_rules(policy, owner, &old);
		ret = put_rules(policy, &rules);
		if (ret < 0) {
			take_rules(policy, owner, &rules);
			WARN_ON(put_rules(policy, &old) < 0);
		}
		up_write(&policy->rwsem);
	}
	rules_free(&rules);
	rules_free(&old);
	return ret;
}

/* Remove all rules of an owner that goes. */
void kdbus_policy_forget(struct kdbus_policy *policy, const void *owner)
{
	HLIST_HEAD(old);

	down_write(&policy->rwsem);
	take_rules(policy, owner, &old);
	up_write(&policy->rwsem);
	rules_free(&old);
}

static bool in_group(const struct cred *cred, kgid_t gid)
{
	const struct group_info *groups = cred->group_info;
	int i;

	if (gid_eq(cred->egid, gid))
		return true;
	/* in_group_p() looks at the caller only. */
	for (i = 0; i < groups->ngroups; i++)
		if (gid_eq(groups->gid[i], gid))
			return true;
	return false;
}

static bool applies(const struct kdbus_grant *grant, const struct cred *cred)
{
	switch (grant->type) {
	case KDBUS_POLICY_ACCESS_USER:
		return uid_eq(grant->uid, cred->euid);
	case KDBUS_POLICY_ACCESS_GROUP:
		return in_group(cred, grant->gid);
	}
	return true;
}

/* The highest access to a name, or NO_ACCESS. */
static int lookup(struct kdbus_policy *policy, const struct cred *cred,
		  const char *name)
{
	struct kdbus_rule *rule;
	struct kdbus_grant *grant;
	int access = NO_ACCESS;
	const char *dot;

	down_read(&policy->rwsem);
	rule = find_rule(policy, name, strlen(name), false);
	dot = strrchr(name, '.');
	if (!rule && dot)
		rule = find_rule(policy, name, dot - name, true);
	if (rule)
		list_for_each_entry(grant, &rule->grants, link)
			if (grant->access > access && applies(grant, cred))
				access = grant->access;
	up_read(&policy->rwsem);
	return access;
}

/* Whether there is the access to any of the names a connection owns. */
static bool any_name(struct kdbus_policy *policy, const struct cred *cred,
		     struct kdbus_conn *conn, int access)
{
	struct kdbus_claim *claim;

	lockdep_assert_held(&conn->ep->bus->names.rwsem);
	list_for_each_entry(claim, &conn->claims, conn_link)
		if (claim->flags & (KDBUS_NAME_PRIMARY | KDBUS_NAME_ACTIVATOR) &&
		    lookup(policy, cred, claim->entry->name) >= access)
			return true;
	return false;
}

/**
 * kdbus_conn_may_own() - whether a connection may own a name
 * @conn:	the connection
 * @cred:	who acts
 * @name:	the name
 */
bool kdbus_conn_may_own(struct kdbus_conn *conn, const struct cred *cred,
			const char *name)
{
	struct kdbus_ep *ep = conn->ep;

	if (ep->custom && lookup(&ep->policy, cred, name) < KDBUS_POLICY_OWN)
		return false;
	return conn->owner ||
	       lookup(&ep->bus->policy, cred, name) >= KDBUS_POLICY_OWN;
}

/**
 * kdbus_conn_may_talk() - whether a connection may send to another
 * @conn:	the connection
 * @cred:	who acts
 * @to:		the other; the registry's lock is held
 */
bool kdbus_conn_may_talk(struct kdbus_conn *conn, const struct cred *cred,
			 struct kdbus_conn *to)
{
	struct kdbus_ep *ep = conn->ep;

	if (ep->custom && !any_name(&ep->policy, cred, to, KDBUS_POLICY_TALK))
		return false;
	return conn->owner || uid_eq(cred->euid, to->cred->uid) ||
	       any_name(&ep->bus->policy, cred, to, KDBUS_POLICY_TALK);
}

/* Whether a connection may know of a name. */
bool kdbus_conn_may_see_name(struct kdbus_conn *conn, const struct cred *cred,
			     const char *name)
{
	struct kdbus_ep *ep = conn->ep;

	return !ep->custom ||
	       lookup(&ep->policy, cred, name) >= KDBUS_POLICY_SEE;
}

/* Whether a connection may know of another; the registry's lock is held. */
bool kdbus_conn_may_see(struct kdbus_conn *conn, const struct cred *cred,
			struct kdbus_conn *other)
{
	struct kdbus_ep *ep = conn->ep;

	return !ep->custom ||
	       any_name(&ep->policy, cred, other, KDBUS_POLICY_SEE);
}
