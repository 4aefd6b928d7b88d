/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_MESSAGE_H
#define _KDBUS_MESSAGE_H

#include <linux/types.h>

#include "blob.h"
#include "internal.h"

struct kdbus_bus;
struct kdbus_cargo;
struct kdbus_conn;
struct kdbus_meta;
struct kdbus_notice;

/**
 * struct kdbus_message - a message on its way
 * @head:	header and items as a receiver gets them, but for what depends on
 *		the receiver: the size, where the payload is, descriptors
 * @head_size:	bytes of it; a multiple of 8
 * @payload:	the bytes of all vectors
 * @payload_size: how many; a multiple of 8
 * @payload_error: why these could not be read, or 0
 * @cargo:	its files, or NULL
 * @bloom:	its filter, in @head, or NULL
 * @dst_name:	the name it is sent to, in @head, or NULL
 * @meta:	what is told about the sender, or NULL
 * @names:	OWNED_NAME items of the sender
 * @stamp:	its number and the time; always told if from the kernel
 */
struct kdbus_message {
	struct kdbus_msg *head;
	size_t head_size;
	void *payload;
	size_t payload_size;
	int payload_error;
	struct kdbus_cargo *cargo;
	const struct kdbus_bloom_filter *bloom;
	const char *dst_name;
	struct kdbus_meta *meta;
	struct kdbus_blob names;
	struct kdbus_timestamp stamp;
};

struct kdbus_args;

int kdbus_message_check(struct kdbus_message *msg, struct kdbus_conn *conn,
			const struct kdbus_args *args, bool sync);
int kdbus_message_import(struct kdbus_message *msg);
void kdbus_message_destroy(struct kdbus_message *msg);

int kdbus_cmd_send(struct kdbus_conn *conn, void __user *argp);
void kdbus_message_send_notice(struct kdbus_bus *bus,
			       const struct kdbus_notice *notice);

#endif /* _KDBUS_MESSAGE_H */
