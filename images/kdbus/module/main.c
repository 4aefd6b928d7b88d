// SPDX-License-Identifier: GPL-2.0
/*
 * kdbus: an inter-process bus in the kernel.
 *
 * An implementation of the interface of 2015 for today's kernels. Where to find
 * what, from the outside in:
 *
 *	kdbus.h		the interface to user space; layout.c asserts it
 *	fs.c		the file system buses are seen in
 *	handle.c	open files: what they have become, and which ioctl goes where
 *	args.c		commands, from user space to a checked copy
 *	domain.c	a mount, and the users accounted in it
 *	bus.c		buses
 *	endpoint.c	ways into a bus
 *	connection.c	connections: HELLO to disconnect
 *	info.c		what a connection can ask about others
 *	name.c		well-known names
 *	policy.c	who may see, talk to and own what
 *	match.c		which signals a connection wants
 *	message.c	messages, from the sender's memory to a form to be delivered
 *	send.c		whom a message goes to
 *	notify.c	messages of the kernel
 *	meta.c		what is told about a sender
 *	queue.c		messages at their receiver: quota, RECV
 *	pool.c		the receiver's memory
 *	slot.c		requests that wait for a reply
 *	cancel.c	calling off such a wait
 *	blob.c		putting items together
 *	gate.h		counting the calls in progress
 *	internal.h	limits, and the order of all locks
 */
#include <linux/init.h>
#include <linux/module.h>

#include "fs.h"

static int __init kdbus_init(void)
{
	return kdbus_fs_init();
}

static void __exit kdbus_exit(void)
{
	kdbus_fs_exit();
}

module_init(kdbus_init);
module_exit(kdbus_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("inter-process bus");
