/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_BLOB_H
#define _KDBUS_BLOB_H

#include <linux/types.h>

/**
 * struct kdbus_blob - what is written into a pool, while it is put together
 * @data:	the bytes; padding is zero
 * @len:	how many; a multiple of 8 between any two calls
 * @cap:	how many fit
 * @error:	the first error; what follows it does nothing
 */
struct kdbus_blob {
	u8 *data;
	size_t len;
	size_t cap;
	int error;
};

void *kdbus_blob_reserve(struct kdbus_blob *blob, size_t len);
void *kdbus_blob_item(struct kdbus_blob *blob, u64 type, size_t len);
void kdbus_blob_add(struct kdbus_blob *blob, u64 type, const void *data,
		    size_t len);
void kdbus_blob_string(struct kdbus_blob *blob, u64 type, const char *s);
void kdbus_blob_name(struct kdbus_blob *blob, u64 flags, const char *name);
void kdbus_blob_raw(struct kdbus_blob *blob, const void *data, size_t len);
void kdbus_blob_free(struct kdbus_blob *blob);

size_t kdbus_blob_info(struct kdbus_blob *blob, u64 id, u64 flags);
void kdbus_blob_info_end(struct kdbus_blob *blob, size_t at);

#endif /* _KDBUS_BLOB_H */
