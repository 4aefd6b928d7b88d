// SPDX-License-Identifier: GPL-2.0
/*
 * Endpoints.
 *
 * Each bus has the endpoint "bus". Its owner can make more: these have a policy
 * of their own that says what can be seen, talked to and owned from there, and
 * nobody who connects there counts as an owner of the bus.
 *
 * An endpoint goes with the file that made it, or with the bus, whichever is
 * first. The other of the two waits until nothing is left.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "args.h"
#include "bus.h"
#include "connection.h"
#include "domain.h"
#include "endpoint.h"
#include "fs.h"

struct kdbus_ep *kdbus_ep_ref(struct kdbus_ep *ep)
{
	kref_get(&ep->kref);
	return ep;
}

static void ep_free(struct kref *kref)
{
	struct kdbus_ep *ep = container_of(kref, struct kdbus_ep, kref);

	WARN_ON(!list_empty(&ep->conns));
	kdbus_policy_destroy(&ep->policy);
	kdbus_user_unref(ep->user);
	kdbus_bus_unref(ep->bus);
	kfree(ep->name);
	kfree(ep);
}

void kdbus_ep_unref(struct kdbus_ep *ep)
{
	kref_put(&ep->kref, ep_free);
}

static struct kdbus_ep *ep_alloc(struct kdbus_bus *bus, const char *name)
{
	struct kdbus_ep *ep = kzalloc(sizeof(*ep), GFP_KERNEL_ACCOUNT);

	if (!ep)
		return NULL;
	kref_init(&ep->kref);
	kdbus_gate_init(&ep->gate);
	init_completion(&ep->gone);
	ep->bus = kdbus_bus_ref(bus);
	INIT_LIST_HEAD(&ep->bus_link);
	kdbus_policy_init(&ep->policy);
	mutex_init(&ep->lock);
	INIT_LIST_HEAD(&ep->conns);
	ep->name = kstrdup(name, GFP_KERNEL_ACCOUNT);
	if (!ep->name) {
		kdbus_ep_unref(ep);
		return NULL;
	}
	return ep;
}

static int ep_register(struct kdbus_ep *ep)
{
	struct kdbus_ep *other;
	int ret = 0;

	mutex_lock(&ep->bus->eps_lock);
	list_for_each_entry(other, &ep->bus->eps, bus_link)
		if (!strcmp(other->name, ep->name))
			ret = -EEXIST;
	if (!ret)
		list_add_tail(&ep->bus_link, &ep->bus->eps);
	mutex_unlock(&ep->bus->eps_lock);
	return ret;
}

/**
 * kdbus_ep_new() - make an endpoint and its file
 * @bus:	of which bus; its gate was entered, or nobody else knows it
 * @name:	of the file
 * @access:	KDBUS_MAKE_ACCESS_*
 * @uid:	whose file it is
 * @gid:	likewise
 * @custom:	not the first of its bus
 *
 * Return: the endpoint, with a reference, or an error pointer.
 */
struct kdbus_ep *kdbus_ep_new(struct kdbus_bus *bus, const char *name,
			      u64 access, kuid_t uid, kgid_t gid, bool custom)
{
	struct kdbus_ep *ep = ep_alloc(bus, name);
	int ret;

	if (!ep)
		return ERR_PTR(-ENOMEM);
	ep->mode = kdbus_access_mode(access, 06);
	ep->uid = uid;
	ep->gid = gid;
	ep->custom = custom;
	if (custom) {
		ep->user = kdbus_user_get(bus->domain, INVALID_UID);
		if (!ep->user) {
			kdbus_ep_unref(ep);
			return ERR_PTR(-ENOMEM);
		}
	}
	ret = ep_register(ep);
	if (!ret) {
		ep->dentry = kdbus_fs_add_ep(bus->dentry, name, ep->mode, ep);
		ret = PTR_ERR_OR_ZERO(ep->dentry);
		if (ret < 0)
			kdbus_ep_shutdown(ep);
	}
	if (ret < 0) {
		kdbus_ep_unref(ep);
		return ERR_PTR(ret);
	}
	return ep;
}

/**
 * kdbus_ep_shutdown() - end an endpoint and all connections made there
 * @ep:		the endpoint; the caller keeps its reference
 *
 * Returns when nothing is left, also if somebody else was first.
 */
void kdbus_ep_shutdown(struct kdbus_ep *ep)
{
	struct kdbus_conn *conn;

	if (!kdbus_gate_close(&ep->gate)) {
		wait_for_completion(&ep->gone);
		return;
	}
	if (!IS_ERR_OR_NULL(ep->dentry))
		kdbus_fs_remove(ep->dentry);
	ep->dentry = NULL;
	kdbus_gate_drain(&ep->gate);

	mutex_lock(&ep->lock);
	while ((conn = list_first_entry_or_null(&ep->conns, struct kdbus_conn,
						ep_link))) {
		kdbus_conn_ref(conn);
		mutex_unlock(&ep->lock);
		kdbus_conn_disconnect(conn);
		kdbus_conn_unref(conn);
		mutex_lock(&ep->lock);
	}
	mutex_unlock(&ep->lock);

	mutex_lock(&ep->bus->eps_lock);
	list_del_init(&ep->bus_link);
	mutex_unlock(&ep->bus->eps_lock);
	complete_all(&ep->gone);
}

/**
 * kdbus_ep_privileged() - whether who opened a file has CAP_IPC_OWNER
 * @ep:		the endpoint it was opened on
 * @file:	the file
 */
bool kdbus_ep_privileged(struct kdbus_ep *ep, struct file *file)
{
	return !ep->custom && file_ns_capable(file, ep->bus->domain->user_ns,
					      CAP_IPC_OWNER);
}

/**
 * kdbus_ep_owned_by() - whether who opened a file owns the bus
 * @ep:		the endpoint it was opened on
 * @file:	the file
 */
bool kdbus_ep_owned_by(struct kdbus_ep *ep, struct file *file)
{
	if (ep->custom)
		return false;
	return uid_eq(file->f_cred->euid, ep->bus->uid) ||
	       kdbus_ep_privileged(ep, file);
}

static struct kdbus_ep *ep_make(struct kdbus_bus *bus,
				const struct kdbus_args *args)
{
	const char *name = (void *)args->argv[0].item->data;
	struct kdbus_ep *ep;
	int ret;

	ret = kdbus_owned_name_valid(name, bus->domain);
	if (ret < 0)
		return ERR_PTR(ret);
	if (!kdbus_gate_enter(&bus->gate))
		return ERR_PTR(-ESHUTDOWN);
	ep = kdbus_ep_new(bus, name, args->cmd->flags, current_euid(),
			  current_egid(), true);
	kdbus_gate_leave(&bus->gate);
	return ep;
}

/**
 * kdbus_cmd_ep_make() - KDBUS_CMD_ENDPOINT_MAKE
 * @ep:		the endpoint the caller's file was opened on
 * @file:	that file
 * @argp:	the command
 *
 * Return: the endpoint, with a reference; NULL if it was only asked what the
 * command takes; or an error pointer.
 */
struct kdbus_ep *kdbus_cmd_ep_make(struct kdbus_ep *ep, struct file *file,
				   void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_MAKE_NAME, .required = true },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd),
		.allowed = KDBUS_MAKE_ACCESS_GROUP | KDBUS_MAKE_ACCESS_WORLD,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	struct kdbus_ep *made = NULL;
	int ret;

	if (!kdbus_ep_owned_by(ep, file))
		return ERR_PTR(-EPERM);
	ret = kdbus_args_parse(&args, argp);
	if (!ret) {
		made = ep_make(ep->bus, &args);
		ret = PTR_ERR_OR_ZERO(made);
	}
	ret = kdbus_args_finish(&args, ret);
	if (ret < 0) {
		if (!IS_ERR_OR_NULL(made)) {
			kdbus_ep_shutdown(made);
			kdbus_ep_unref(made);
		}
		return ERR_PTR(ret);
	}
	return made;
}

/**
 * kdbus_cmd_ep_update() - KDBUS_CMD_ENDPOINT_UPDATE
 * @ep:		the endpoint the caller made
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_ep_update(struct kdbus_ep *ep, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NAME, .multiple = true },
		{ .type = KDBUS_ITEM_POLICY_ACCESS, .multiple = true },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd),
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret) {
		ret = -ESHUTDOWN;
		if (kdbus_gate_enter(&ep->gate)) {
			ret = kdbus_policy_set(&ep->policy, ep, &args,
					       KDBUS_POLICY_ANY_NUMBER, true);
			kdbus_gate_leave(&ep->gate);
		}
	}
	return kdbus_args_finish(&args, ret);
}
