// SPDX-License-Identifier: GPL-2.0
/*
 * Buses.
 *
 * A bus lives as long as the file that made it: its last close shuts the bus
 * down, from the top: no endpoint can be made any more, the directory goes, then
 * each endpoint with its connections. Who still has a reference to it finds
 * everything closed.
 */
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/user_namespace.h>

#include "args.h"
#include "blob.h"
#include "bus.h"
#include "connection.h"
#include "domain.h"
#include "endpoint.h"
#include "fs.h"
#include "meta.h"
#include "notify.h"
#include "slot.h"

/**
 * kdbus_access_mode() - the permissions of a directory or a file
 * @flags:	KDBUS_MAKE_ACCESS_*; the world includes the group
 * @owner:	what its owner may, 0..7
 *
 * Return: the mode bits.
 */
umode_t kdbus_access_mode(u64 flags, umode_t owner)
{
	umode_t mode = owner << 6;

	if (flags & (KDBUS_MAKE_ACCESS_GROUP | KDBUS_MAKE_ACCESS_WORLD))
		mode |= owner << 3;
	if (flags & KDBUS_MAKE_ACCESS_WORLD)
		mode |= owner;
	return mode;
}

/**
 * kdbus_owned_name_valid() - check that a name begins with the caller's user id
 * @name:	the name of a bus or an endpoint
 * @domain:	the id is as seen here
 *
 * Return: 0, or -EINVAL.
 */
int kdbus_owned_name_valid(const char *name, struct kdbus_domain *domain)
{
	char prefix[16];
	uid_t uid;
	int len;

	uid = from_kuid(domain->user_ns, current_euid());
	if (uid == (uid_t)-1)
		return -EINVAL;
	len = snprintf(prefix, sizeof(prefix), "%u-", uid);
	return strncmp(name, prefix, len) ? -EINVAL : 0;
}

struct kdbus_bus *kdbus_bus_ref(struct kdbus_bus *bus)
{
	kref_get(&bus->kref);
	return bus;
}

static void bus_free(struct kref *kref)
{
	struct kdbus_bus *bus = container_of(kref, struct kdbus_bus, kref);

	WARN_ON(!list_empty(&bus->eps));
	WARN_ON(!list_empty(&bus->monitors) || !hash_empty(bus->conns));
	WARN_ON(!RB_EMPTY_ROOT(&bus->deadlines.rb_root));
	kdbus_notices_free(bus);
	kdbus_policy_destroy(&bus->policy);
	kdbus_registry_destroy(&bus->names);
	kdbus_meta_unref(bus->creator);
	kdbus_user_unref(bus->user);
	kdbus_domain_unref(bus->domain);
	kfree(bus->name);
	kfree(bus);
}

void kdbus_bus_unref(struct kdbus_bus *bus)
{
	kref_put(&bus->kref, bus_free);
}

static struct kdbus_bus *bus_new(struct kdbus_domain *domain, const char *name,
				 u64 flags)
{
	struct kdbus_bus *bus = kzalloc(sizeof(*bus), GFP_KERNEL_ACCOUNT);

	if (!bus)
		return NULL;
	kref_init(&bus->kref);
	kdbus_gate_init(&bus->gate);
	bus->domain = kdbus_domain_ref(domain);
	INIT_LIST_HEAD(&bus->domain_link);
	get_random_bytes(bus->id128, sizeof(bus->id128));
	bus->flags = flags & (KDBUS_MAKE_ACCESS_GROUP | KDBUS_MAKE_ACCESS_WORLD);
	bus->uid = current_euid();
	bus->gid = current_egid();
	mutex_init(&bus->eps_lock);
	INIT_LIST_HEAD(&bus->eps);
	init_rwsem(&bus->conns_rwsem);
	hash_init(bus->conns);
	INIT_LIST_HEAD(&bus->monitors);
	kdbus_registry_init(&bus->names);
	kdbus_policy_init(&bus->policy);
	mutex_init(&bus->flush_lock);
	spin_lock_init(&bus->notices_lock);
	INIT_LIST_HEAD(&bus->notices);
	spin_lock_init(&bus->slots_lock);
	bus->deadlines = RB_ROOT_CACHED;
	INIT_DELAYED_WORK(&bus->deadline_work, kdbus_slots_expire);

	bus->name = kstrdup(name, GFP_KERNEL_ACCOUNT);
	bus->user = kdbus_user_get(domain, current_uid());
	if (!bus->name || !bus->user) {
		kdbus_bus_unref(bus);
		return NULL;
	}
	return bus;
}

/* Enter the bus into its domain, where its name is the only one. */
static int bus_register(struct kdbus_bus *bus)
{
	struct kdbus_domain *domain = bus->domain;
	struct kdbus_bus *other;
	int ret = 0;

	mutex_lock(&domain->lock);
	list_for_each_entry(other, &domain->buses, domain_link)
		if (!strcmp(other->name, bus->name))
			ret = -EEXIST;
	if (!ret && !kdbus_user_charge(&bus->user->buses, KDBUS_USER_MAX_BUSES))
		ret = -EMFILE;
	if (!ret) {
		bus->id = atomic64_inc_return(&domain->last_id);
		list_add_tail(&bus->domain_link, &domain->buses);
	}
	mutex_unlock(&domain->lock);
	return ret;
}

static void bus_unregister(struct kdbus_bus *bus)
{
	mutex_lock(&bus->domain->lock);
	list_del_init(&bus->domain_link);
	atomic_dec(&bus->user->buses);
	mutex_unlock(&bus->domain->lock);
}

/**
 * kdbus_bus_shutdown() - end a bus and all that is on it
 * @bus:	the bus; the caller keeps its reference
 *
 * Called once, when the maker's file goes.
 */
void kdbus_bus_shutdown(struct kdbus_bus *bus)
{
	struct kdbus_ep *ep;

	kdbus_gate_close(&bus->gate);
	kdbus_gate_drain(&bus->gate);
	if (!IS_ERR_OR_NULL(bus->dentry))
		kdbus_fs_remove(bus->dentry);
	bus->dentry = NULL;

	mutex_lock(&bus->eps_lock);
	while ((ep = list_first_entry_or_null(&bus->eps, struct kdbus_ep,
					      bus_link))) {
		kdbus_ep_ref(ep);
		mutex_unlock(&bus->eps_lock);
		kdbus_ep_shutdown(ep);
		kdbus_ep_unref(ep);
		mutex_lock(&bus->eps_lock);
	}
	mutex_unlock(&bus->eps_lock);

	cancel_delayed_work_sync(&bus->deadline_work);
	bus_unregister(bus);
}

/**
 * kdbus_bus_find_conn() - find a connection by its id
 * @bus:	where; its conns_rwsem is held
 * @id:		the id
 *
 * Return: the connection, of whatever kind but monitors, or NULL.
 */
struct kdbus_conn *kdbus_bus_find_conn(struct kdbus_bus *bus, u64 id)
{
	struct kdbus_conn *conn;

	lockdep_assert_held(&bus->conns_rwsem);
	hash_for_each_possible(bus->conns, conn, bus_node, id)
		if (conn->id == id)
			return conn;
	return NULL;
}

static int bloom_valid(const struct kdbus_bloom_parameter *bloom)
{
	if (bloom->size < 8 || bloom->size > KDBUS_BLOOM_MAX_SIZE ||
	    bloom->size % 8 || bloom->n_hash < 1)
		return -EINVAL;
	return 0;
}

/* Make the directory of the bus, and its first endpoint in it. */
static int bus_publish(struct kdbus_bus *bus)
{
	struct kdbus_ep *ep;

	bus->dentry = kdbus_fs_add_dir(bus->domain, bus->name,
				       kdbus_access_mode(bus->flags, 05),
				       bus->uid, bus->gid);
	if (IS_ERR(bus->dentry))
		return PTR_ERR(bus->dentry);
	ep = kdbus_ep_new(bus, "bus", bus->flags, bus->uid, bus->gid, false);
	if (IS_ERR(ep))
		return PTR_ERR(ep);
	kdbus_ep_unref(ep); /* its inode has it */
	return 0;
}

static struct kdbus_bus *bus_make(struct kdbus_domain *domain,
				  const struct kdbus_args *args)
{
	const struct kdbus_bloom_parameter *bloom =
		(void *)args->argv[1].item->data;
	const char *name = (void *)args->argv[0].item->data;
	const struct kdbus_item *attach = args->argv[2].item;
	struct kdbus_bus *bus;
	u64 shown = 0;
	int ret;

	ret = bloom_valid(bloom);
	if (!ret && attach)
		ret = kdbus_attach_flags(*(u64 *)attach->data, &shown);
	if (!ret)
		ret = kdbus_owned_name_valid(name, domain);
	if (ret < 0)
		return ERR_PTR(ret);
	bus = bus_new(domain, name, args->cmd->flags);
	if (!bus)
		return ERR_PTR(-ENOMEM);
	bus->bloom = *bloom;
	bus->creator_flags = shown;
	bus->creator = kdbus_meta_new(KDBUS_ATTACH_ALL);
	ret = PTR_ERR_OR_ZERO(bus->creator);
	if (ret < 0)
		bus->creator = NULL;
	else
		ret = bus_register(bus);
	if (!ret) {
		ret = bus_publish(bus);
		if (ret < 0)
			kdbus_bus_shutdown(bus);
	}
	if (ret < 0) {
		kdbus_bus_unref(bus);
		return ERR_PTR(ret);
	}
	return bus;
}

/**
 * kdbus_cmd_bus_make() - KDBUS_CMD_BUS_MAKE
 * @domain:	where
 * @argp:	the command
 *
 * Return: the bus, with a reference; NULL if it was only asked what the command
 * takes; or an error pointer.
 */
struct kdbus_bus *kdbus_cmd_bus_make(struct kdbus_domain *domain,
				     void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_MAKE_NAME, .required = true },
		{ .type = KDBUS_ITEM_BLOOM_PARAMETER, .required = true },
		{ .type = KDBUS_ITEM_ATTACH_FLAGS_SEND },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd),
		.allowed = KDBUS_MAKE_ACCESS_GROUP | KDBUS_MAKE_ACCESS_WORLD,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	struct kdbus_bus *bus = NULL;
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret) {
		bus = bus_make(domain, &args);
		ret = PTR_ERR_OR_ZERO(bus);
	}
	ret = kdbus_args_finish(&args, ret);
	if (ret < 0) {
		if (!IS_ERR_OR_NULL(bus)) {
			kdbus_bus_shutdown(bus);
			kdbus_bus_unref(bus);
		}
		return ERR_PTR(ret);
	}
	return bus;
}

static int creator_info(struct kdbus_conn *conn, struct kdbus_args *args)
{
	struct kdbus_cmd_info *cmd = (void *)args->cmd;
	struct kdbus_bus *bus = conn->ep->bus;
	struct kdbus_blob blob = {};
	u64 mask;
	int ret;

	ret = kdbus_attach_flags(cmd->attach_flags, &mask);
	if (ret < 0)
		return ret;
	kdbus_blob_info(&blob, bus->id, bus->flags);
	kdbus_blob_string(&blob, KDBUS_ITEM_MAKE_NAME, bus->name);
	kdbus_meta_emit(&blob, bus->creator, conn, mask & bus->creator_flags);
	return kdbus_conn_answer_info(conn, args, &blob);
}

/**
 * kdbus_cmd_bus_creator_info() - KDBUS_CMD_BUS_CREATOR_INFO
 * @conn:	who asks
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_bus_creator_info(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_info),
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret)
		ret = creator_info(conn, &args);
	return kdbus_args_finish(&args, ret);
}
