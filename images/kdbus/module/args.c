// SPDX-License-Identifier: GPL-2.0
/*
 * Commands and messages, from user space to a checked copy.
 *
 * All have the same beginning (size, flags) and the same end, a list of items.
 * What a command takes is said by a table; everything that can be wrong with a
 * command's form is found here, in a fixed order, so that what follows works on
 * a copy that it need not distrust: each item is of a type the command takes, as
 * long as its type wants it, and inside the copy.
 *
 * No lock is held here: this is where user space's memory is read.
 */
#include <linux/ctype.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "args.h"

/**
 * kdbus_string_valid() - check that there is one NUL, at the end
 * @s:		the string
 * @len:	bytes of it, with the NUL
 *
 * Return: 0, or -EINVAL.
 */
int kdbus_string_valid(const void *s, size_t len)
{
	if (len < 1 || strnlen(s, len) != len - 1)
		return -EINVAL;
	return 0;
}

/**
 * kdbus_sysname_valid() - check the name of a bus, an endpoint or a connection
 * @item:	what holds it
 *
 * Such a name can be a file name: it has letters, digits and "_", and "-" and
 * "." inside. ASCII only, unlike what 2015's table of letters let through.
 *
 * Return: 0, -EINVAL, or -ENAMETOOLONG.
 */
int kdbus_sysname_valid(const struct kdbus_item *item)
{
	size_t i, len = kdbus_item_len(item);
	const char *s = (const char *)item->data;

	if (len < 2)
		return -EINVAL;
	if (len > KDBUS_SYSNAME_MAX_LEN + 1)
		return -ENAMETOOLONG;
	if (kdbus_string_valid(s, len) < 0)
		return -EINVAL;
	len--;
	for (i = 0; i < len; i++) {
		if (isascii(s[i]) && (isalnum(s[i]) || s[i] == '_'))
			continue;
		if (i > 0 && i + 1 < len && (s[i] == '-' || s[i] == '.'))
			continue;
		return -EINVAL;
	}
	return 0;
}

static int exactly(size_t len, size_t want)
{
	return len == want ? 0 : -EINVAL;
}

/* A change of a name may go without the name. */
static int name_change_valid(const struct kdbus_item *item)
{
	size_t fixed = sizeof(struct kdbus_notify_name_change);
	size_t len = kdbus_item_len(item);

	if (len < fixed)
		return -EINVAL;
	if (len > fixed)
		return kdbus_string_valid(item->data + fixed, len - fixed);
	return 0;
}

/* What holds for an item of this type wherever it is. */
static int item_valid(const struct kdbus_item *item)
{
	size_t len = kdbus_item_len(item);

	switch (item->type) {
	case KDBUS_ITEM_NEGOTIATE:
		return len % sizeof(u64) ? -EINVAL : 0;

	case KDBUS_ITEM_PAYLOAD_VEC:
		if (len != sizeof(struct kdbus_vec))
			return -EINVAL;
		return ((struct kdbus_vec *)item->data)->size ? 0 : -EINVAL;
	case KDBUS_ITEM_PAYLOAD_MEMFD:
		if (len != sizeof(struct kdbus_memfd))
			return -EINVAL;
		if (!((struct kdbus_memfd *)item->data)->size)
			return -EINVAL;
		return ((struct kdbus_memfd *)item->data)->fd < 0 ? -EBADF : 0;
	case KDBUS_ITEM_FDS:
		return len % sizeof(s32) ? -EINVAL : 0;
	case KDBUS_ITEM_CANCEL_FD:
		return exactly(len, sizeof(s32));

	case KDBUS_ITEM_BLOOM_PARAMETER:
		return exactly(len, sizeof(struct kdbus_bloom_parameter));
	case KDBUS_ITEM_BLOOM_FILTER:
		return len < sizeof(struct kdbus_bloom_filter) ? -EINVAL : 0;
	case KDBUS_ITEM_BLOOM_MASK:
		return 0; /* MATCH_ADD knows the size */

	case KDBUS_ITEM_NAME:
	case KDBUS_ITEM_DST_NAME:
	case KDBUS_ITEM_SECLABEL:
		return kdbus_string_valid(item->data, len);
	case KDBUS_ITEM_MAKE_NAME:
	case KDBUS_ITEM_CONN_DESCRIPTION:
		return kdbus_sysname_valid(item);

	case KDBUS_ITEM_ATTACH_FLAGS_SEND:
	case KDBUS_ITEM_ATTACH_FLAGS_RECV:
	case KDBUS_ITEM_ID:
	case KDBUS_ITEM_DST_ID:
		return exactly(len, sizeof(u64));

	case KDBUS_ITEM_CREDS:
		return exactly(len, sizeof(struct kdbus_creds));
	case KDBUS_ITEM_PIDS:
		/* 2015 did not look, and read beyond a short one. */
		return exactly(len, sizeof(struct kdbus_pids));
	case KDBUS_ITEM_POLICY_ACCESS:
		return exactly(len, sizeof(struct kdbus_policy_access));

	case KDBUS_ITEM_NAME_ADD:
	case KDBUS_ITEM_NAME_REMOVE:
	case KDBUS_ITEM_NAME_CHANGE:
		return name_change_valid(item);
	case KDBUS_ITEM_ID_ADD:
	case KDBUS_ITEM_ID_REMOVE:
		return exactly(len, sizeof(struct kdbus_notify_id_change));
	}
	return -EINVAL;
}

static struct kdbus_arg *arg_of(struct kdbus_args *args, u64 type)
{
	size_t i;

	for (i = 0; i < args->argc; i++)
		if (args->argv[i].type == type)
			return &args->argv[i];
	return NULL;
}

static int check_items(struct kdbus_args *args, size_t bytes)
{
	struct kdbus_item *item;
	struct kdbus_arg *arg;
	size_t pos = 0;
	int ret;

	while (pos < bytes) {
		item = (struct kdbus_item *)((u8 *)args->items + pos);
		if (bytes - pos < KDBUS_ITEM_HEADER_SIZE ||
		    item->size < KDBUS_ITEM_HEADER_SIZE ||
		    item->size > bytes - pos)
			return -EINVAL;
		ret = item_valid(item);
		if (ret < 0)
			return ret;
		arg = arg_of(args, item->type);
		if (!arg || (arg->item && !arg->multiple))
			return -EINVAL;
		arg->item = item;
		pos += KDBUS_ALIGN8(item->size);
	}
	args->items_size = KDBUS_ALIGN8(bytes);
	return pos == args->items_size ? 0 : -EINVAL;
}

/* Tell user space what is known of what it asked about. */
static int negotiate(struct kdbus_args *args)
{
	struct kdbus_item *item;
	u64 __user *to;
	size_t i;

	kdbus_for_each_item(item, args->items, args->items_size) {
		const u64 *types = (const u64 *)item->data;

		if (item->type != KDBUS_ITEM_NEGOTIATE)
			continue;
		to = args->user + ((u8 *)types - (u8 *)args->cmd);
		for (i = 0; i < kdbus_item_len(item) / sizeof(u64); i++)
			if (!arg_of(args, types[i]) && put_user(0, &to[i]))
				return -EFAULT;
	}
	if (args->cmd->flags & KDBUS_FLAG_NEGOTIATE) {
		to = args->user + offsetof(struct kdbus_cmd, flags);
		if (put_user(args->allowed, to))
			return -EFAULT;
	}
	return 0;
}

static int take(struct kdbus_args *args)
{
	u64 size;
	int ret;

	if (!IS_ALIGNED((unsigned long)args->user, 8))
		return -EFAULT;
	if (get_user(size, (u64 __user *)args->user))
		return -EFAULT;
	if (size < args->fixed)
		return -EINVAL;
	if (size > KDBUS_CMD_MAX_SIZE)
		return -EMSGSIZE;
	args->cmd = kzalloc(KDBUS_ALIGN8(size), GFP_KERNEL_ACCOUNT);
	if (!args->cmd)
		return -ENOMEM;
	if (copy_from_user(args->cmd, args->user, size))
		ret = -EFAULT;
	else if (args->cmd->size != size)
		ret = -EINVAL;
	else
		return 0;
	kfree(args->cmd);
	args->cmd = NULL;
	return ret;
}

/**
 * kdbus_args_parse() - take a command, and check its form
 * @args:	what the command is like; filled in
 * @user:	where it is
 *
 * Whatever this returns, kdbus_args_finish() must follow.
 *
 * Return: 0 if the command is to be run, 1 if it was only asked what it takes,
 * or a negative error.
 */
int kdbus_args_parse(struct kdbus_args *args, void __user *user)
{
	bool asked;
	size_t i;
	int ret;

	args->user = user;
	ret = take(args);
	if (ret < 0)
		return ret;
	args->items = (struct kdbus_item *)((u8 *)args->cmd + args->fixed);
	if (!args->message)
		args->cmd->return_flags = 0;

	if (args->cmd->flags & ~(args->allowed | KDBUS_FLAG_NEGOTIATE))
		return -EINVAL;
	ret = check_items(args, args->cmd->size - args->fixed);
	if (ret < 0)
		return ret;
	asked = args->cmd->flags & KDBUS_FLAG_NEGOTIATE;
	ret = negotiate(args);
	if (ret < 0)
		return ret;
	for (i = 0; i < args->argc && !asked; i++)
		if (args->argv[i].required && !args->argv[i].item)
			return -EINVAL;
	return asked;
}

/**
 * kdbus_args_finish() - tell user space the return flags, and free the copy
 * @args:	the command
 * @ret:	what became of it
 *
 * Return: @ret, 0 in place of a positive value, or -EFAULT.
 */
int kdbus_args_finish(struct kdbus_args *args, int ret)
{
	struct kdbus_cmd *cmd = args->cmd;

	if (cmd && !args->message) {
		u64 __user *to = args->user +
				 offsetof(struct kdbus_cmd, return_flags);

		if (put_user(cmd->return_flags, to))
			ret = -EFAULT;
	}
	kfree(cmd);
	args->cmd = NULL;
	return ret < 0 ? ret : 0;
}
