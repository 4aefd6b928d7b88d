// SPDX-License-Identifier: GPL-2.0
/*
 * Pools: how bytes get to a receiver.
 *
 * A pool is a shmem file that its connection maps for reading. The kernel alone
 * writes to it. It is divided into slices; one that is needed is cut off the
 * smallest free slice it fits into, and free neighbours are merged.
 *
 * A slice has two claims: the kernel's, while it is queued or filled, and user
 * space's, from when it was told the offset until it frees it. Its memory
 * returns when both are gone.
 *
 * Pages are written directly, as graphics drivers do, and not by way of the
 * file's write operation: that would hold the sender to its own RLIMIT_FSIZE,
 * and kill it with SIGXFSZ.
 */
#include <linux/file.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>

#include "compat.h"
#include "internal.h"
#include "pool.h"

static struct kdbus_slice *slice_new(struct kdbus_pool *pool, u64 offset,
				     u64 size)
{
	struct kdbus_slice *slice = kzalloc(sizeof(*slice), GFP_KERNEL_ACCOUNT);

	if (!slice)
		return NULL;
	slice->pool = pool;
	slice->offset = offset;
	slice->size = size;
	INIT_LIST_HEAD(&slice->link);
	RB_CLEAR_NODE(&slice->node);
	return slice;
}

static void free_insert(struct kdbus_slice *slice)
{
	struct rb_node **n = &slice->pool->free.rb_node, *parent = NULL;

	while (*n) {
		parent = *n;
		if (slice->size < rb_entry(parent, struct kdbus_slice, node)->size)
			n = &parent->rb_left;
		else
			n = &parent->rb_right;
	}
	rb_link_node(&slice->node, parent, n);
	rb_insert_color(&slice->node, &slice->pool->free);
}

static void busy_insert(struct kdbus_slice *slice)
{
	struct rb_node **n = &slice->pool->busy.rb_node, *parent = NULL;

	while (*n) {
		parent = *n;
		if (slice->offset <
		    rb_entry(parent, struct kdbus_slice, node)->offset)
			n = &parent->rb_left;
		else
			n = &parent->rb_right;
	}
	rb_link_node(&slice->node, parent, n);
	rb_insert_color(&slice->node, &slice->pool->busy);
}

static struct kdbus_slice *busy_find(struct kdbus_pool *pool, u64 offset)
{
	struct rb_node *n = pool->busy.rb_node;
	struct kdbus_slice *slice;

	while (n) {
		slice = rb_entry(n, struct kdbus_slice, node);
		if (offset == slice->offset)
			return slice;
		n = offset < slice->offset ? n->rb_left : n->rb_right;
	}
	return NULL;
}

/* The smallest free slice of at least this size. */
static struct kdbus_slice *free_find(struct kdbus_pool *pool, u64 size)
{
	struct rb_node *n = pool->free.rb_node;
	struct kdbus_slice *slice, *best = NULL;

	while (n) {
		slice = rb_entry(n, struct kdbus_slice, node);
		if (size <= slice->size) {
			best = slice;
			n = n->rb_left;
		} else {
			n = n->rb_right;
		}
	}
	return best;
}

/**
 * kdbus_pool_new() - make a pool
 * @description: of its connection, or NULL; shown in /proc/PID/maps
 * @size:	bytes; a multiple of the page size
 *
 * Return: the pool, or an error pointer.
 */
struct kdbus_pool *kdbus_pool_new(const char *description, u64 size)
{
	char name[sizeof("kdbus-conn:") + KDBUS_SYSNAME_MAX_LEN];
	struct kdbus_slice *slice;
	struct kdbus_pool *pool;
	int ret = -ENOMEM;

	/* Such a size would be negative to the file. */
	if (size > S64_MAX)
		return ERR_PTR(-EINVAL);
	pool = kzalloc(sizeof(*pool), GFP_KERNEL_ACCOUNT);
	if (!pool)
		return ERR_PTR(-ENOMEM);
	pool->size = size;
	mutex_init(&pool->lock);
	INIT_LIST_HEAD(&pool->slices);
	pool->busy = RB_ROOT;
	pool->free = RB_ROOT;

	slice = slice_new(pool, 0, size);
	if (!slice)
		goto err_pool;
	snprintf(name, sizeof(name), "kdbus-conn%s%s", description ? ":" : "",
		 description ?: "");
	pool->file = shmem_file_setup(name, size, 0);
	if (IS_ERR(pool->file)) {
		ret = PTR_ERR(pool->file);
		goto err_slice;
	}
	list_add(&slice->link, &pool->slices);
	free_insert(slice);
	return pool;

err_slice:
	kfree(slice);
err_pool:
	kfree(pool);
	return ERR_PTR(ret);
}

/**
 * kdbus_pool_free() - free a pool that nobody uses any more
 * @pool:	the pool, or NULL
 *
 * A mapping of it stays good.
 */
void kdbus_pool_free(struct kdbus_pool *pool)
{
	struct kdbus_slice *slice, *next;

	if (!pool)
		return;
	list_for_each_entry_safe(slice, next, &pool->slices, link) {
		WARN_ON(slice->queued);
		list_del(&slice->link);
		kfree(slice);
	}
	fput(pool->file);
	kfree(pool);
}

/**
 * kdbus_pool_mmap() - map a pool for reading
 * @pool:	the pool
 * @vma:	the mapping that is being made
 *
 * Return: 0, or a negative error.
 */
int kdbus_pool_mmap(struct kdbus_pool *pool, struct vm_area_struct *vma)
{
	if (vma->vm_flags & VM_WRITE)
		return -EPERM;
	if (vma->vm_end - vma->vm_start > pool->size)
		return -EFAULT;
	kdbus_vm_flags_clear(vma, VM_MAYWRITE);
	vma_set_file(vma, pool->file);
	return call_mmap(pool->file, vma);
}

/**
 * kdbus_pool_alloc() - have a slice, with the kernel's claim on it
 * @pool:	of this pool
 * @size:	bytes, not 0; rounded up to 8
 *
 * Return: the slice, or an error pointer: -EXFULL if there is no room.
 */
struct kdbus_slice *kdbus_pool_alloc(struct kdbus_pool *pool, u64 size)
{
	struct kdbus_slice *slice, *rest = NULL;

	size = KDBUS_ALIGN8(size);
	mutex_lock(&pool->lock);
	slice = free_find(pool, size);
	if (!slice) {
		slice = ERR_PTR(-EXFULL);
		goto unlock;
	}
	if (slice->size > size) {
		rest = slice_new(pool, slice->offset + size,
				 slice->size - size);
		if (!rest) {
			slice = ERR_PTR(-ENOMEM);
			goto unlock;
		}
	}
	rb_erase(&slice->node, &pool->free);
	if (rest) {
		slice->size = size;
		list_add(&rest->link, &slice->link);
		free_insert(rest);
	}
	busy_insert(slice);
	slice->queued = true;
	slice->published = false;
unlock:
	mutex_unlock(&pool->lock);
	return slice;
}

static bool is_free(struct kdbus_slice *slice)
{
	return !slice->queued && !slice->published;
}

/* Take a slice that has lost a claim out of use, if it was the last. */
static void settle(struct kdbus_pool *pool, struct kdbus_slice *slice)
{
	struct kdbus_slice *side;

	lockdep_assert_held(&pool->lock);
	if (!is_free(slice))
		return;
	rb_erase(&slice->node, &pool->busy);
	if (!list_is_last(&slice->link, &pool->slices)) {
		side = list_next_entry(slice, link);
		if (is_free(side)) {
			rb_erase(&side->node, &pool->free);
			list_del(&side->link);
			slice->size += side->size;
			kfree(side);
		}
	}
	if (!list_is_first(&slice->link, &pool->slices)) {
		side = list_prev_entry(slice, link);
		if (is_free(side)) {
			rb_erase(&side->node, &pool->free);
			list_del(&slice->link);
			side->size += slice->size;
			kfree(slice);
			slice = side;
		}
	}
	free_insert(slice);
}

/**
 * kdbus_pool_release() - give up user space's claim on a slice
 * @pool:	the pool
 * @offset:	where the slice begins; the pool's size stands for no slice
 *
 * A queued slice that was published by a look at it may be released too: it
 * stays where it is, and is published again with the next look. 2015's
 * documentation says EINVAL here, its code did this.
 *
 * Return: 0, or -ENXIO if user space has no claim on such a slice.
 */
int kdbus_pool_release(struct kdbus_pool *pool, u64 offset)
{
	struct kdbus_slice *slice;
	int ret = -ENXIO;

	if (offset == pool->size)
		return 0;
	mutex_lock(&pool->lock);
	slice = busy_find(pool, offset);
	if (slice && slice->published) {
		slice->published = false;
		settle(pool, slice);
		ret = 0;
	}
	mutex_unlock(&pool->lock);
	return ret;
}

/* Let user space have a claim on a slice. The kernel's must still be there. */
void kdbus_slice_publish(struct kdbus_slice *slice)
{
	mutex_lock(&slice->pool->lock);
	slice->published = true;
	mutex_unlock(&slice->pool->lock);
}

/* Give up the kernel's claim on a slice; the slice is not to be used after. */
void kdbus_slice_drop(struct kdbus_slice *slice)
{
	struct kdbus_pool *pool = slice->pool;

	mutex_lock(&pool->lock);
	slice->queued = false;
	settle(pool, slice);
	mutex_unlock(&pool->lock);
}

static struct page *page_at(struct kdbus_slice *slice, u64 at)
{
	struct address_space *mapping = slice->pool->file->f_mapping;

	return shmem_read_mapping_page(mapping,
				       (slice->offset + at) >> PAGE_SHIFT);
}

/**
 * kdbus_slice_write() - write to a slice
 * @slice:	the slice; the kernel has its claim
 * @at:		where, from its beginning
 * @data:	what
 * @len:	bytes of it
 *
 * Return: 0, or a negative error if there is no memory.
 */
int kdbus_slice_write(struct kdbus_slice *slice, u64 at, const void *data,
		      size_t len)
{
	size_t n, in_page;
	struct page *page;

	if (WARN_ON_ONCE(at > slice->size || len > slice->size - at))
		return -EFAULT;
	while (len) {
		in_page = offset_in_page(slice->offset + at);
		n = min_t(size_t, len, PAGE_SIZE - in_page);
		page = page_at(slice, at);
		if (IS_ERR(page))
			return PTR_ERR(page);
		memcpy_to_page(page, in_page, data, n);
		set_page_dirty(page);
		put_page(page);
		data += n;
		at += n;
		len -= n;
		cond_resched();
	}
	return 0;
}

/**
 * kdbus_slice_copy() - copy a slice to one of another pool
 * @to:		where to; of the same size
 * @from:	where from; the kernel has its claim on both
 *
 * Return: 0, or a negative error if there is no memory.
 */
int kdbus_slice_copy(struct kdbus_slice *to, struct kdbus_slice *from)
{
	u64 at = 0, n;
	size_t in_page;
	struct page *page;
	void *bounce;
	int ret = 0;

	bounce = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;
	while (at < from->size && !ret) {
		in_page = offset_in_page(from->offset + at);
		n = min_t(u64, from->size - at, PAGE_SIZE - in_page);
		page = page_at(from, at);
		if (IS_ERR(page)) {
			ret = PTR_ERR(page);
			break;
		}
		memcpy_from_page(bounce, page, in_page, n);
		put_page(page);
		ret = kdbus_slice_write(to, at, bounce, n);
		at += n;
	}
	kfree(bounce);
	return ret;
}
