/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_POOL_H
#define _KDBUS_POOL_H

#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>
#include <linux/types.h>

struct vm_area_struct;

/**
 * struct kdbus_slice - a piece of a pool, in use or free
 * @pool:	the pool
 * @link:	in pool->slices, by offset
 * @node:	in pool->busy by offset, or in pool->free by size
 * @offset:	where it begins; a multiple of 8
 * @size:	bytes; a multiple of 8
 * @queued:	the kernel's claim
 * @published:	user space's claim; a slice without either is free
 */
struct kdbus_slice {
	struct kdbus_pool *pool;
	struct list_head link;
	struct rb_node node;
	u64 offset;
	u64 size;
	bool queued;
	bool published;
};

/**
 * struct kdbus_pool - memory that a connection reads and only the kernel writes
 * @file:	the memory
 * @size:	bytes
 * @lock:	protects all slices
 * @slices:	all slices; they cover the pool
 * @busy:	those in use
 * @free:	the others
 */
struct kdbus_pool {
	struct file *file;
	u64 size;
	struct mutex lock;
	struct list_head slices;
	struct rb_root busy;
	struct rb_root free;
};

struct kdbus_pool *kdbus_pool_new(const char *description, u64 size);
void kdbus_pool_free(struct kdbus_pool *pool);
int kdbus_pool_mmap(struct kdbus_pool *pool, struct vm_area_struct *vma);

struct kdbus_slice *kdbus_pool_alloc(struct kdbus_pool *pool, u64 size);
int kdbus_pool_release(struct kdbus_pool *pool, u64 offset);
void kdbus_slice_publish(struct kdbus_slice *slice);
void kdbus_slice_drop(struct kdbus_slice *slice);

int kdbus_slice_write(struct kdbus_slice *slice, u64 at, const void *data,
		      size_t len);
int kdbus_slice_copy(struct kdbus_slice *to, struct kdbus_slice *from);

#endif /* _KDBUS_POOL_H */
