/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_ARGS_H
#define _KDBUS_ARGS_H

#include <linux/compiler.h>
#include <linux/types.h>

#include "internal.h"

/**
 * struct kdbus_arg - an item that a command takes
 * @type:	its type
 * @required:	it has to be there
 * @multiple:	it may be there more than once
 * @item:	the last one found, or NULL; filled in
 */
struct kdbus_arg {
	u64 type;
	bool required;
	bool multiple;
	struct kdbus_item *item;
};

/**
 * struct kdbus_args - a command or a message, taken from user space
 * @fixed:	bytes in front of the items
 * @allowed:	the flags that mean something, without NEGOTIATE
 * @message:	it is a message, which has no return_flags
 * @argv:	the items it takes
 * @argc:	how many these are
 * @user:	where it is in user space
 * @cmd:	the copy of it; its items are well-formed
 * @items:	the items in it
 * @items_size:	bytes of them, the last one padded
 */
struct kdbus_args {
	size_t fixed;
	u64 allowed;
	bool message;
	struct kdbus_arg *argv;
	size_t argc;

	void __user *user;
	struct kdbus_cmd *cmd;
	struct kdbus_item *items;
	size_t items_size;
};

int kdbus_args_parse(struct kdbus_args *args, void __user *user);
int kdbus_args_finish(struct kdbus_args *args, int ret);

int kdbus_string_valid(const void *s, size_t len);
int kdbus_sysname_valid(const struct kdbus_item *item);

/* Put a field of the command's copy into user space. */
#define kdbus_args_put(args, field, from)				\
	(copy_to_user((args)->user + offsetof(typeof(*(from)), field),	\
		      &(from)->field, sizeof((from)->field)) ? -EFAULT : 0)

#endif /* _KDBUS_ARGS_H */
