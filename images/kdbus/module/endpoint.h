/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_ENDPOINT_H
#define _KDBUS_ENDPOINT_H

#include <linux/completion.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/uidgid.h>

#include "gate.h"
#include "policy.h"

struct dentry;
struct file;
struct kdbus_bus;
struct kdbus_user;

/**
 * struct kdbus_ep - a way into a bus
 * @kref:	references: of its inode, of files opened on it and its connections
 * @gate:	entered while a connection is set up; closed when it goes
 * @gone:	done when nothing is left of it
 * @bus:	the bus
 * @bus_link:	in bus->eps, under bus->eps_lock
 * @name:	of its file
 * @dentry:	its file
 * @mode:	permissions of the file
 * @uid:	whose file it is
 * @gid:	likewise
 * @custom:	not the one the bus came with: has a policy and no owners
 * @user:	who all that connect here are accounted to; NULL unless @custom
 * @policy:	what can be seen from here, if @custom
 * @lock:	protects @conns
 * @conns:	connections
 */
struct kdbus_ep {
	struct kref kref;
	struct kdbus_gate gate;
	struct completion gone;
	struct kdbus_bus *bus;
	struct list_head bus_link;
	char *name;
	struct dentry *dentry;
	umode_t mode;
	kuid_t uid;
	kgid_t gid;
	bool custom;
	struct kdbus_user *user;
	struct kdbus_policy policy;
	struct mutex lock;
	struct list_head conns;
};

struct kdbus_ep *kdbus_ep_new(struct kdbus_bus *bus, const char *name,
			      u64 access, kuid_t uid, kgid_t gid, bool custom);
struct kdbus_ep *kdbus_ep_ref(struct kdbus_ep *ep);
void kdbus_ep_unref(struct kdbus_ep *ep);
void kdbus_ep_shutdown(struct kdbus_ep *ep);
bool kdbus_ep_owned_by(struct kdbus_ep *ep, struct file *file);
bool kdbus_ep_privileged(struct kdbus_ep *ep, struct file *file);

struct kdbus_ep *kdbus_cmd_ep_make(struct kdbus_ep *ep, struct file *file,
				   void __user *argp);
int kdbus_cmd_ep_update(struct kdbus_ep *ep, void __user *argp);

#endif /* _KDBUS_ENDPOINT_H */
