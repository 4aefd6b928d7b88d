// SPDX-License-Identifier: GPL-2.0
/*
 * Handles: open files, and what they have become.
 *
 * A file begins as one on "control" or on an endpoint. One successful set-up
 * makes it the owner of a bus, the owner of an endpoint, or a connection; what it
 * has become it stays, also when the bus has gone. Set-ups of one file wait for
 * each other; once it is set up, nothing here takes a lock.
 */
#include <linux/compat.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bus.h"
#include "connection.h"
#include "domain.h"
#include "endpoint.h"
#include "fs.h"
#include "gate.h"
#include "handle.h"
#include "message.h"
#include "pool.h"

enum kdbus_handle_type {
	HANDLE_CONTROL,		/* fresh, on "control" */
	HANDLE_EP,		/* fresh, on an endpoint */
	HANDLE_BUS_OWNER,
	HANDLE_EP_OWNER,
	HANDLE_CONNECTED,
};

/**
 * struct kdbus_handle - an open file
 * @lock:	held by whoever sets it up
 * @type:	what it is; written last, and once, under @lock
 * @ep:		the endpoint it was opened on, or NULL
 * @bus:	the bus it owns
 * @owned:	the endpoint it owns
 * @conn:	the connection it is
 */
struct kdbus_handle {
	struct mutex lock;
	enum kdbus_handle_type type;
	struct kdbus_ep *ep;
	union {
		struct kdbus_bus *bus;
		struct kdbus_ep *owned;
		struct kdbus_conn *conn;
	};
};

static int kdbus_handle_open(struct inode *inode, struct file *file)
{
	struct kdbus_ep *ep = kdbus_fs_ep(inode);
	struct kdbus_handle *handle;

	if (ep && kdbus_gate_is_closed(&ep->gate))
		return -ESHUTDOWN;
	handle = kzalloc(sizeof(*handle), GFP_KERNEL_ACCOUNT);
	if (!handle)
		return -ENOMEM;
	mutex_init(&handle->lock);
	handle->type = ep ? HANDLE_EP : HANDLE_CONTROL;
	handle->ep = ep ? kdbus_ep_ref(ep) : NULL;
	file->private_data = handle;
	return 0;
}

static int kdbus_handle_release(struct inode *inode, struct file *file)
{
	struct kdbus_handle *handle = file->private_data;

	switch (handle->type) {
	case HANDLE_BUS_OWNER:
		kdbus_bus_shutdown(handle->bus);
		kdbus_bus_unref(handle->bus);
		break;
	case HANDLE_EP_OWNER:
		kdbus_ep_shutdown(handle->owned);
		kdbus_ep_unref(handle->owned);
		break;
	case HANDLE_CONNECTED:
		kdbus_conn_disconnect(handle->conn);
		kdbus_conn_unref(handle->conn);
		break;
	default:
		break;
	}
	if (handle->ep)
		kdbus_ep_unref(handle->ep);
	kfree(handle);
	return 0;
}

/* What the file is; what comes with that is there to be read. */
static enum kdbus_handle_type type_of(struct kdbus_handle *handle)
{
	/* Pairs with set_type(). */
	return smp_load_acquire(&handle->type);
}

static void set_type(struct kdbus_handle *handle, enum kdbus_handle_type type)
{
	/* Pairs with type_of(). */
	smp_store_release(&handle->type, type);
}

static long set_up_bus(struct file *file, void __user *argp)
{
	struct kdbus_handle *handle = file->private_data;
	struct kdbus_bus *bus;

	bus = kdbus_cmd_bus_make(kdbus_fs_domain(file_inode(file)), argp);
	if (IS_ERR_OR_NULL(bus))
		return PTR_ERR_OR_ZERO(bus);
	handle->bus = bus;
	set_type(handle, HANDLE_BUS_OWNER);
	return 0;
}

static long set_up_ep(struct file *file, void __user *argp)
{
	struct kdbus_handle *handle = file->private_data;
	struct kdbus_ep *ep = kdbus_cmd_ep_make(handle->ep, file, argp);

	if (IS_ERR_OR_NULL(ep))
		return PTR_ERR_OR_ZERO(ep);
	handle->owned = ep;
	set_type(handle, HANDLE_EP_OWNER);
	return 0;
}

static long set_up_conn(struct file *file, void __user *argp)
{
	struct kdbus_handle *handle = file->private_data;
	struct kdbus_conn *conn;

	if (kdbus_gate_is_closed(&handle->ep->gate))
		return -ESHUTDOWN;
	conn = kdbus_cmd_hello(handle->ep, file, argp);
	if (IS_ERR_OR_NULL(conn))
		return PTR_ERR_OR_ZERO(conn);
	handle->conn = conn;
	set_type(handle, HANDLE_CONNECTED);
	return 0;
}

/* The command of a file that has not been set up. */
static long set_up(struct file *file, unsigned int cmd, void __user *argp)
{
	struct kdbus_handle *handle = file->private_data;
	long ret = -EBADFD;

	mutex_lock(&handle->lock);
	if (handle->type == HANDLE_CONTROL && cmd == KDBUS_CMD_BUS_MAKE)
		ret = set_up_bus(file, argp);
	else if (handle->type == HANDLE_EP && cmd == KDBUS_CMD_ENDPOINT_MAKE)
		ret = kdbus_gate_is_closed(&handle->ep->gate) ? -ESHUTDOWN :
		      set_up_ep(file, argp);
	else if (handle->type == HANDLE_EP && cmd == KDBUS_CMD_HELLO)
		ret = set_up_conn(file, argp);
	mutex_unlock(&handle->lock);
	return ret;
}

#define ORDINARY	BIT(0)
#define ACTIVATOR	BIT(1)
#define HOLDER		BIT(2)
#define MONITOR		BIT(3)
#define ANY		(ORDINARY | ACTIVATOR | HOLDER | MONITOR)

/* What a connection can be asked to do, and of which kind it has to be. */
static const struct kdbus_call {
	unsigned int cmd;
	unsigned int kinds;
	int (*run)(struct kdbus_conn *conn, void __user *argp);
} calls[] = {
	{ KDBUS_CMD_SEND, ORDINARY, kdbus_cmd_send },
	{ KDBUS_CMD_RECV, ANY & ~HOLDER, kdbus_cmd_recv },
	{ KDBUS_CMD_FREE, ANY & ~HOLDER, kdbus_cmd_free },
	{ KDBUS_CMD_NAME_ACQUIRE, ORDINARY, kdbus_cmd_name_acquire },
	{ KDBUS_CMD_NAME_RELEASE, ORDINARY, kdbus_cmd_name_release },
	{ KDBUS_CMD_MATCH_ADD, ORDINARY, kdbus_cmd_match_add },
	{ KDBUS_CMD_MATCH_REMOVE, ORDINARY, kdbus_cmd_match_remove },
	{ KDBUS_CMD_BYEBYE, ORDINARY, kdbus_cmd_byebye },
	{ KDBUS_CMD_LIST, ANY, kdbus_cmd_list },
	{ KDBUS_CMD_CONN_INFO, ANY, kdbus_cmd_conn_info },
	{ KDBUS_CMD_BUS_CREATOR_INFO, ANY, kdbus_cmd_bus_creator_info },
	/* Which kind may update what depends on the items. */
	{ KDBUS_CMD_UPDATE, ANY, kdbus_cmd_update },
};

static unsigned int kind_of(const struct kdbus_conn *conn)
{
	if (conn->flags & KDBUS_HELLO_ACTIVATOR)
		return ACTIVATOR;
	if (conn->flags & KDBUS_HELLO_POLICY_HOLDER)
		return HOLDER;
	if (conn->flags & KDBUS_HELLO_MONITOR)
		return MONITOR;
	return ORDINARY;
}

static const struct kdbus_call *find_call(unsigned int cmd)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (calls[i].cmd == cmd)
			return &calls[i];
	return NULL;
}

static long call_conn(struct kdbus_conn *conn, const struct kdbus_call *call,
		      void __user *argp)
{
	if (kdbus_gate_is_closed(&conn->gate))
		return -ECONNRESET;
	if (!(call->kinds & kind_of(conn)))
		return -EOPNOTSUPP;
	return call->run(conn, argp);
}

static long kdbus_handle_ioctl(struct file *file, unsigned int cmd,
			       unsigned long arg)
{
	struct kdbus_handle *handle = file->private_data;
	const struct kdbus_call *call = find_call(cmd);
	void __user *argp = (void __user *)arg;

	switch (cmd) {
	case KDBUS_CMD_BUS_MAKE:
	case KDBUS_CMD_ENDPOINT_MAKE:
	case KDBUS_CMD_HELLO:
		return set_up(file, cmd, argp);
	case KDBUS_CMD_ENDPOINT_UPDATE:
		if (type_of(handle) != HANDLE_EP_OWNER)
			return -EBADFD;
		if (kdbus_gate_is_closed(&handle->owned->gate))
			return -ESHUTDOWN;
		return kdbus_cmd_ep_update(handle->owned, argp);
	}
	if (!call)
		return -ENOTTY;
	/* A known command on the wrong file; ENOTTY in the docs of 2015. */
	if (type_of(handle) != HANDLE_CONNECTED)
		return -EBADFD;
	return call_conn(handle->conn, call, argp);
}

static __poll_t kdbus_handle_poll(struct file *file, poll_table *table)
{
	struct kdbus_handle *handle = file->private_data;
	__poll_t mask = EPOLLOUT | EPOLLWRNORM;
	struct kdbus_conn *conn;

	if (type_of(handle) != HANDLE_CONNECTED)
		return EPOLLERR | EPOLLHUP;
	conn = handle->conn;
	poll_wait(file, &conn->wait, table);
	mutex_lock(&conn->lock);
	if (conn->closed)
		mask = EPOLLERR | EPOLLHUP;
	else if (!list_empty(&conn->queue.messages) || conn->queue.lost)
		mask |= EPOLLIN | EPOLLRDNORM;
	mutex_unlock(&conn->lock);
	return mask;
}

static int kdbus_handle_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct kdbus_handle *handle = file->private_data;

	if (type_of(handle) != HANDLE_CONNECTED)
		return -EBADFD;
	return kdbus_pool_mmap(handle->conn->pool, vma);
}

const struct file_operations kdbus_handle_fops = {
	.owner = THIS_MODULE,
	.open = kdbus_handle_open,
	.release = kdbus_handle_release,
	.unlocked_ioctl = kdbus_handle_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = kdbus_handle_poll,
	.mmap = kdbus_handle_mmap,
	.llseek = noop_llseek,
};
