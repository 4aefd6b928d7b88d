// SPDX-License-Identifier: GPL-2.0
/*
 * Calling off a synchronous call by a file.
 *
 * The kernel's own way to wait for a file, poll_schedule_timeout(), is not
 * exported. This one puts an entry into each wait queue the file has, and looks
 * at the file again when any was woken. The entries are removed by the task that
 * made them, before it returns to user space, as those of poll(2) are: a file
 * whose wait queue goes with a task or thread cannot lose it meanwhile.
 */
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/slab.h>

#include "cancel.h"

struct kdbus_watch {
	struct list_head link;
	struct kdbus_cancel *cancel;
	wait_queue_entry_t entry;
	wait_queue_head_t *head;
};

/**
 * kdbus_cancel_open() - take a file
 * @cancel:	filled in
 * @fd:		its descriptor
 *
 * Return: 0, -EBADF, or -EINVAL if it cannot be waited for.
 */
int kdbus_cancel_open(struct kdbus_cancel *cancel, int fd)
{
	cancel->file = fget(fd);
	if (!cancel->file)
		return -EBADF;
	if (!file_can_poll(cancel->file)) {
		fput(cancel->file);
		cancel->file = NULL;
		return -EINVAL;
	}
	return 0;
}

static int raise(wait_queue_entry_t *entry, unsigned int mode, int sync,
		 void *key)
{
	struct kdbus_watch *watch = container_of(entry, struct kdbus_watch,
						 entry);

	WRITE_ONCE(watch->cancel->raised, true);
	wake_up_all(watch->cancel->wake);
	return 1;
}

static void add_watch(struct file *file, wait_queue_head_t *head,
		      poll_table *table)
{
	struct kdbus_cancel *cancel = container_of(table, struct kdbus_cancel,
						   table);
	struct kdbus_watch *watch = kmalloc(sizeof(*watch), GFP_KERNEL_ACCOUNT);

	/* Then nothing calls it off. It still has a deadline. */
	if (!watch)
		return;
	watch->cancel = cancel;
	watch->head = head;
	init_waitqueue_func_entry(&watch->entry, raise);
	list_add(&watch->link, &cancel->watches);
	add_wait_queue(head, &watch->entry);
}

/**
 * kdbus_cancel_watch() - begin to watch a file
 * @cancel:	what kdbus_cancel_open() filled in; without a file, nothing is
 *		done here or later
 * @wake:	whom to wake
 */
void kdbus_cancel_watch(struct kdbus_cancel *cancel, wait_queue_head_t *wake)
{
	if (!cancel->file)
		return;
	cancel->wake = wake;
	INIT_LIST_HEAD(&cancel->watches);
	init_poll_funcptr(&cancel->table, add_watch);
	if (vfs_poll(cancel->file, &cancel->table) & EPOLLIN)
		WRITE_ONCE(cancel->raised, true);
}

/* Whether the file is readable. This may sleep. */
bool kdbus_cancel_due(struct kdbus_cancel *cancel)
{
	if (!cancel->file || !READ_ONCE(cancel->raised))
		return false;
	WRITE_ONCE(cancel->raised, false);
	/* What raises it from here on is seen the next time. */
	smp_mb();
	return vfs_poll(cancel->file, NULL) & EPOLLIN;
}

/* Whether it is worth to ask kdbus_cancel_due(). */
bool kdbus_cancel_raised(struct kdbus_cancel *cancel)
{
	return cancel->file && READ_ONCE(cancel->raised);
}

/* Stop watching, and put the file. */
void kdbus_cancel_close(struct kdbus_cancel *cancel)
{
	struct kdbus_watch *watch, *next;

	if (!cancel->file)
		return;
	if (cancel->wake) {
		list_for_each_entry_safe(watch, next, &cancel->watches, link) {
			remove_wait_queue(watch->head, &watch->entry);
			kfree(watch);
		}
	}
	fput(cancel->file);
	cancel->file = NULL;
}
