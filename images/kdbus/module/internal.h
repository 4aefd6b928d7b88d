/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What all of kdbus shares: the limits, and the order of the locks.
 *
 * Lock order, outermost first. A lock may be taken while those above it are
 * held, and none below it.
 *
 *	bus->flush_lock		mutex	notifications are delivered in order
 *	bus->conns_rwsem	rwsem	which connections there are
 *	bus->names.rwsem	rwsem	who owns which name, and the claims of each
 *				connection
 *	policy->rwsem		rwsem	of a bus, then of an endpoint; never both
 *	matches->rwsem		rwsem	of one connection
 *	conn->lock		mutex	queue, quota and whether it is closed;
 *				never of two connections at once
 *	pool->lock		mutex	slices of one pool
 *	bus->slots_lock		spin	who waits for whose reply
 *	bus->notices_lock	spin	notifications that wait for the flush
 *
 * Taken with none of the above held, and above them all where they nest:
 *
 *	handle->lock		mutex	the set-up of one file
 *	bus->eps_lock		mutex	endpoints of a bus
 *	ep->lock		mutex	connections of an endpoint
 *	domain->lock		mutex	buses and users; the innermost: the last
 *				put of a user takes it
 *
 * The locks of the VFS (inode, dentry) are taken with none of ours held but
 * handle->lock. Memory of user space is touched with none held but
 * handle->lock: a page that comes slowly stalls its owner alone.
 *
 * Gates (gate.h) are waited for with none held but handle->lock. Inside a gate
 * nobody touches memory of user space, polls a file or waits for a reply, so that
 * nobody can keep another from closing a bus. The gates nest as their objects do:
 * of a bus, of an endpoint, of a connection.
 */
#ifndef _KDBUS_INTERNAL_H
#define _KDBUS_INTERNAL_H

#include <linux/kernel.h>
#include <linux/sizes.h>
#include <linux/types.h>

#include "kdbus.h"

#define KDBUS_CMD_MAX_SIZE		SZ_32K	/* bytes of a command or message */
#define KDBUS_VEC_MAX_SIZE		SZ_2M	/* bytes of a message's payload */
#define KDBUS_MSG_MAX_MEMFDS		16
#define KDBUS_MSG_MAX_FDS		16
#define KDBUS_SYSNAME_MAX_LEN		63	/* characters */
#define KDBUS_NAME_MAX_LEN		255	/* characters */
#define KDBUS_BLOOM_MAX_SIZE		4096	/* bytes */
#define KDBUS_USER_MAX_BUSES		16
#define KDBUS_USER_MAX_CONNS		1024
#define KDBUS_CONN_MAX_MSGS		256	/* of one user at one receiver */
#define KDBUS_CONN_MAX_FDS		16	/* of one user at one receiver */
#define KDBUS_CONN_MAX_REQUESTS		128
#define KDBUS_CONN_MAX_NAMES		256
#define KDBUS_CONN_MAX_MATCHES		256

#define KDBUS_ALIGN8(v)			ALIGN((u64)(v), 8)

#define KDBUS_ITEM_HEADER_SIZE		16
#define KDBUS_ITEM_SIZE(payload)	(KDBUS_ITEM_HEADER_SIZE + (payload))

static inline size_t kdbus_item_len(const struct kdbus_item *item)
{
	return item->size - KDBUS_ITEM_HEADER_SIZE;
}

static inline struct kdbus_item *kdbus_item_next(const struct kdbus_item *item)
{
	return (struct kdbus_item *)((u8 *)item + KDBUS_ALIGN8(item->size));
}

/* Walks a list that kdbus_args_parse() found well-formed, or that we made. */
#define kdbus_for_each_item(item, items, bytes)				\
	for ((item) = (struct kdbus_item *)(items);			\
	     (u8 *)(item) < (u8 *)(items) + (bytes);			\
	     (item) = kdbus_item_next(item))

/**
 * kdbus_attach_flags() - check a mask of attach flags
 * @flags:	as user space gave it
 * @mask:	where to put what it stands for
 *
 * Return: 0, or -EINVAL for a bit that means nothing.
 */
static inline int kdbus_attach_flags(u64 flags, u64 *mask)
{
	if (flags == KDBUS_ATTACH_ANY)
		flags = KDBUS_ATTACH_ALL;
	if (flags & ~KDBUS_ATTACH_ALL)
		return -EINVAL;
	*mask = flags;
	return 0;
}

#endif /* _KDBUS_INTERNAL_H */
