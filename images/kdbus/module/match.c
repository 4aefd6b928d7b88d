// SPDX-License-Identifier: GPL-2.0
/*
 * Matches: which broadcasts, signals and notifications a connection wants.
 *
 * An entry is a list of rules that must all hold; one without rules holds for
 * everything. A message is wanted if any entry holds. Rules on messages of user
 * space never hold for the kernel's, and the other way round.
 *
 * A bloom mask has a block for each generation of filters; a filter of a later
 * generation than there are blocks is held against the last.
 */
#include <linux/slab.h>
#include <linux/string.h>

#include "args.h"
#include "bus.h"
#include "connection.h"
#include "endpoint.h"
#include "match.h"
#include "message.h"
#include "name.h"
#include "notify.h"

struct kdbus_match {
	struct list_head link;
	u64 cookie;
	struct list_head rules;
};

/* A rule is the item it was made of. */
struct kdbus_match_rule {
	struct list_head link;
	struct kdbus_item item;
};

void kdbus_matches_init(struct kdbus_matches *matches)
{
	init_rwsem(&matches->rwsem);
	INIT_LIST_HEAD(&matches->entries);
}

static void match_free(struct kdbus_match *match)
{
	struct kdbus_match_rule *rule, *next;

	if (!match)
		return;
	list_for_each_entry_safe(rule, next, &match->rules, link)
		kfree(rule);
	kfree(match);
}

void kdbus_matches_destroy(struct kdbus_matches *matches)
{
	struct kdbus_match *match, *next;

	list_for_each_entry_safe(match, next, &matches->entries, link)
		match_free(match);
}

static bool id_is(u64 want, u64 id)
{
	return want == KDBUS_MATCH_ID_ANY || want == id;
}

static bool bloom_holds(const struct kdbus_item *item, size_t size,
			const struct kdbus_bloom_filter *filter)
{
	u64 blocks = kdbus_item_len(item) / size;
	const u64 *mask = (const u64 *)item->data;
	size_t i, n = size / sizeof(u64);

	if (!filter)
		return false;
	mask += min(filter->generation, blocks - 1) * n;
	for (i = 0; i < n; i++)
		if ((filter->data[i] & mask[i]) != mask[i])
			return false;
	return true;
}

static bool holds_for_message(const struct kdbus_item *item,
			      struct kdbus_conn *src,
			      const struct kdbus_message *msg)
{
	switch (item->type) {
	case KDBUS_ITEM_BLOOM_MASK:
		return bloom_holds(item, src->ep->bus->bloom.size, msg->bloom);
	case KDBUS_ITEM_NAME:
		return kdbus_conn_owns(src, (const char *)item->data);
	case KDBUS_ITEM_ID:
		return id_is(*(u64 *)item->data, src->id);
	case KDBUS_ITEM_DST_ID:
		return id_is(*(u64 *)item->data, msg->head->dst_id);
	}
	return false;
}

static bool holds_for_notice(const struct kdbus_item *item,
			     const struct kdbus_notice *notice)
{
	const struct kdbus_notify_name_change *change = (void *)item->data;
	const struct kdbus_notify_id_change *id = (void *)item->data;

	if (item->type != notice->type)
		return false;
	switch (item->type) {
	case KDBUS_ITEM_NAME_ADD:
	case KDBUS_ITEM_NAME_REMOVE:
	case KDBUS_ITEM_NAME_CHANGE:
		return id_is(change->old_id.id, notice->old_id.id) &&
		       id_is(change->new_id.id, notice->new_id.id) &&
		       (kdbus_item_len(item) == sizeof(*change) ||
			!strcmp(change->name, notice->name));
	case KDBUS_ITEM_ID_ADD:
		return id_is(id->id, notice->new_id.id);
	case KDBUS_ITEM_ID_REMOVE:
		return id_is(id->id, notice->old_id.id);
	}
	return false;
}

/**
 * kdbus_match_message() - whether a connection wants a signal
 * @conn:	the connection
 * @src:	who sent it; the registry's lock is held
 * @msg:	the signal
 */
bool kdbus_match_message(struct kdbus_conn *conn, struct kdbus_conn *src,
			 const struct kdbus_message *msg)
{
	struct kdbus_match_rule *rule;
	struct kdbus_match *match;
	bool all = false;

	down_read(&conn->matches.rwsem);
	list_for_each_entry(match, &conn->matches.entries, link) {
		all = true;
		list_for_each_entry(rule, &match->rules, link)
			all = all && holds_for_message(&rule->item, src, msg);
		if (all)
			break;
	}
	up_read(&conn->matches.rwsem);
	return all;
}

/* Whether a connection wants a notification. */
bool kdbus_match_notice(struct kdbus_conn *conn,
			const struct kdbus_notice *notice)
{
	struct kdbus_match_rule *rule;
	struct kdbus_match *match;
	bool all = false;

	down_read(&conn->matches.rwsem);
	list_for_each_entry(match, &conn->matches.entries, link) {
		all = true;
		list_for_each_entry(rule, &match->rules, link)
			all = all && holds_for_notice(&rule->item, notice);
		if (all)
			break;
	}
	up_read(&conn->matches.rwsem);
	return all;
}

static int rule_valid(const struct kdbus_item *item, size_t bloom_size)
{
	size_t len = kdbus_item_len(item);

	switch (item->type) {
	case KDBUS_ITEM_BLOOM_MASK:
		return !len || len % bloom_size ? -EDOM : 0;
	case KDBUS_ITEM_NAME:
		return kdbus_name_valid((const char *)item->data, false);
	}
	return 0;
}

static struct kdbus_match *match_new(const struct kdbus_args *args,
				     size_t bloom_size)
{
	struct kdbus_match_rule *rule;
	struct kdbus_match *match;
	struct kdbus_item *item;
	int ret;

	match = kzalloc(sizeof(*match), GFP_KERNEL_ACCOUNT);
	if (!match)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&match->rules);
	match->cookie = ((struct kdbus_cmd_match *)args->cmd)->cookie;
	kdbus_for_each_item(item, args->items, args->items_size) {
		/* Not a rule; 2015 made one of it, and tripped over that. */
		if (item->type == KDBUS_ITEM_NEGOTIATE)
			continue;
		ret = rule_valid(item, bloom_size);
		if (ret < 0)
			goto err;
		ret = -ENOMEM;
		rule = kmalloc(sizeof(*rule) + kdbus_item_len(item),
			       GFP_KERNEL_ACCOUNT);
		if (!rule)
			goto err;
		rule->item.size = item->size;
		rule->item.type = item->type;
		memcpy(rule->item.data, item->data, kdbus_item_len(item));
		list_add_tail(&rule->link, &match->rules);
	}
	return match;

err:
	match_free(match);
	return ERR_PTR(ret);
}

/* Removes all entries with the cookie; returns how many. */
static int remove_cookie(struct kdbus_matches *matches, u64 cookie)
{
	struct kdbus_match *match, *next;
	int n = 0;

	lockdep_assert_held_write(&matches->rwsem);
	list_for_each_entry_safe(match, next, &matches->entries, link) {
		if (match->cookie != cookie)
			continue;
		list_del(&match->link);
		match_free(match);
		matches->count--;
		n++;
	}
	return n;
}

static int match_add(struct kdbus_conn *conn, const struct kdbus_args *args)
{
	struct kdbus_matches *matches = &conn->matches;
	struct kdbus_match *match;
	int ret = 0;

	match = match_new(args, conn->ep->bus->bloom.size);
	if (IS_ERR(match))
		return PTR_ERR(match);
	down_write(&matches->rwsem);
	if (args->cmd->flags & KDBUS_MATCH_REPLACE)
		remove_cookie(matches, match->cookie);
	if (matches->count < KDBUS_CONN_MAX_MATCHES) {
		list_add_tail(&match->link, &matches->entries);
		matches->count++;
		match = NULL;
	} else {
		ret = -EMFILE;
	}
	up_write(&matches->rwsem);
	match_free(match);
	return ret;
}

/**
 * kdbus_cmd_match_add() - KDBUS_CMD_MATCH_ADD
 * @conn:	who wants
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_match_add(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_BLOOM_MASK, .multiple = true },
		{ .type = KDBUS_ITEM_NAME, .multiple = true },
		{ .type = KDBUS_ITEM_ID, .multiple = true },
		{ .type = KDBUS_ITEM_DST_ID, .multiple = true },
		{ .type = KDBUS_ITEM_NAME_ADD, .multiple = true },
		{ .type = KDBUS_ITEM_NAME_REMOVE, .multiple = true },
		{ .type = KDBUS_ITEM_NAME_CHANGE, .multiple = true },
		{ .type = KDBUS_ITEM_ID_ADD, .multiple = true },
		{ .type = KDBUS_ITEM_ID_REMOVE, .multiple = true },
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_match),
		.allowed = KDBUS_MATCH_REPLACE,
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret)
		ret = match_add(conn, &args);
	return kdbus_args_finish(&args, ret);
}

/**
 * kdbus_cmd_match_remove() - KDBUS_CMD_MATCH_REMOVE
 * @conn:	who wants no more
 * @argp:	the command
 *
 * Return: 0, or a negative error.
 */
int kdbus_cmd_match_remove(struct kdbus_conn *conn, void __user *argp)
{
	struct kdbus_arg argv[] = {
		{ .type = KDBUS_ITEM_NEGOTIATE },
	};
	struct kdbus_args args = {
		.fixed = sizeof(struct kdbus_cmd_match),
		.argv = argv,
		.argc = ARRAY_SIZE(argv),
	};
	int ret;

	ret = kdbus_args_parse(&args, argp);
	if (!ret) {
		struct kdbus_cmd_match *cmd = (void *)args.cmd;

		down_write(&conn->matches.rwsem);
		if (!remove_cookie(&conn->matches, cmd->cookie))
			ret = -EBADSLT;
		up_write(&conn->matches.rwsem);
	}
	return kdbus_args_finish(&args, ret);
}
