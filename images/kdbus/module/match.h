/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_MATCH_H
#define _KDBUS_MATCH_H

#include <linux/list.h>
#include <linux/rwsem.h>
#include <linux/types.h>

struct kdbus_conn;
struct kdbus_message;
struct kdbus_notice;

/**
 * struct kdbus_matches - which signals a connection wants
 * @rwsem:	protects the others
 * @entries:	one for each MATCH_ADD
 * @count:	how many these are
 */
struct kdbus_matches {
	struct rw_semaphore rwsem;
	struct list_head entries;
	unsigned int count;
};

void kdbus_matches_init(struct kdbus_matches *matches);
void kdbus_matches_destroy(struct kdbus_matches *matches);
bool kdbus_match_message(struct kdbus_conn *conn, struct kdbus_conn *src,
			 const struct kdbus_message *msg);
bool kdbus_match_notice(struct kdbus_conn *conn,
			const struct kdbus_notice *notice);

int kdbus_cmd_match_add(struct kdbus_conn *conn, void __user *argp);
int kdbus_cmd_match_remove(struct kdbus_conn *conn, void __user *argp);

#endif /* _KDBUS_MATCH_H */
