// SPDX-License-Identifier: GPL-2.0
/*
 * Blobs: items and records for user space, put together in kernel memory.
 *
 * A blob grows as needed. It remembers an error, so that whoever puts one
 * together asks once, at the end. Memory beyond what was put in is zero: nothing
 * of the kernel's gets out by way of padding.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "blob.h"
#include "internal.h"

static int grow(struct kdbus_blob *blob, size_t need)
{
	size_t cap = max_t(size_t, need, max_t(size_t, 512, 2 * blob->cap));
	u8 *data = kvzalloc(cap, GFP_KERNEL_ACCOUNT);

	if (!data)
		return -ENOMEM;
	if (blob->len)
		memcpy(data, blob->data, blob->len);
	kvfree(blob->data);
	blob->data = data;
	blob->cap = cap;
	return 0;
}

/**
 * kdbus_blob_reserve() - have room at the end of a blob
 * @blob:	the blob
 * @len:	bytes; what is taken is rounded up to 8
 *
 * Return: the room, zeroed, or NULL after an error. It is good until the next
 * call.
 */
void *kdbus_blob_reserve(struct kdbus_blob *blob, size_t len)
{
	size_t need = blob->len + KDBUS_ALIGN8(len);
	void *room;

	if (!blob->error && need > blob->cap)
		blob->error = grow(blob, need);
	if (blob->error)
		return NULL;
	room = blob->data + blob->len;
	blob->len = need;
	return room;
}

/**
 * kdbus_blob_item() - add an item whose payload is filled in by the caller
 * @blob:	the blob
 * @type:	of the item
 * @len:	of the payload, in bytes
 *
 * Return: the payload, zeroed, or NULL after an error.
 */
void *kdbus_blob_item(struct kdbus_blob *blob, u64 type, size_t len)
{
	struct kdbus_item *item = kdbus_blob_reserve(blob, KDBUS_ITEM_SIZE(len));

	if (!item)
		return NULL;
	item->size = KDBUS_ITEM_SIZE(len);
	item->type = type;
	return item->data;
}

void kdbus_blob_add(struct kdbus_blob *blob, u64 type, const void *data,
		    size_t len)
{
	void *to = kdbus_blob_item(blob, type, len);

	if (to)
		memcpy(to, data, len);
}

void kdbus_blob_string(struct kdbus_blob *blob, u64 type, const char *s)
{
	kdbus_blob_add(blob, type, s, strlen(s) + 1);
}

/* Add an OWNED_NAME. */
void kdbus_blob_name(struct kdbus_blob *blob, u64 flags, const char *name)
{
	struct kdbus_name *to = kdbus_blob_item(blob, KDBUS_ITEM_OWNED_NAME,
						sizeof(*to) + strlen(name) + 1);

	if (to) {
		to->flags = flags;
		memcpy(to->name, name, strlen(name) + 1);
	}
}

/* Add bytes as they are. */
void kdbus_blob_raw(struct kdbus_blob *blob, const void *data, size_t len)
{
	void *to = kdbus_blob_reserve(blob, len);

	if (to && len)
		memcpy(to, data, len);
}

void kdbus_blob_free(struct kdbus_blob *blob)
{
	kvfree(blob->data);
	memset(blob, 0, sizeof(*blob));
}

/**
 * kdbus_blob_info() - begin a record
 * @blob:	the blob
 * @id:		what the record is about
 * @flags:	likewise
 *
 * Return: where it begins, for kdbus_blob_info_end().
 */
size_t kdbus_blob_info(struct kdbus_blob *blob, u64 id, u64 flags)
{
	struct kdbus_info *info;
	size_t at = blob->len;

	info = kdbus_blob_reserve(blob, sizeof(*info));
	if (info) {
		info->id = id;
		info->flags = flags;
	}
	return at;
}

/* End a record with the items that were added since. */
void kdbus_blob_info_end(struct kdbus_blob *blob, size_t at)
{
	if (!blob->error)
		((struct kdbus_info *)(blob->data + at))->size = blob->len - at;
}
