/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_CANCEL_H
#define _KDBUS_CANCEL_H

#include <linux/list.h>
#include <linux/poll.h>
#include <linux/types.h>
#include <linux/wait.h>

/**
 * struct kdbus_cancel - a file that calls off a wait when it becomes readable
 * @file:	the file, or NULL
 * @table:	how it tells us its wait queues
 * @watches:	our entries in these
 * @wake:	who is to be woken
 * @raised:	the file woke us since it was last looked at
 */
struct kdbus_cancel {
	struct file *file;
	poll_table table;
	struct list_head watches;
	wait_queue_head_t *wake;
	bool raised;
};

int kdbus_cancel_open(struct kdbus_cancel *cancel, int fd);
void kdbus_cancel_watch(struct kdbus_cancel *cancel, wait_queue_head_t *wake);
bool kdbus_cancel_due(struct kdbus_cancel *cancel);
bool kdbus_cancel_raised(struct kdbus_cancel *cancel);
void kdbus_cancel_close(struct kdbus_cancel *cancel);

#endif /* _KDBUS_CANCEL_H */
