// SPDX-License-Identifier: GPL-2.0
/*
 * Messages: from the sender's memory to a form that can be delivered.
 *
 * A message is checked item by item, then its files are taken and its payload is
 * copied. All this is over before anybody is looked for or locked, so that a page
 * that comes slowly stalls the sender alone. A payload that cannot be read is no
 * error yet: others come first, and are found when the message is delivered.
 *
 * The items are rewritten where they are: vectors become offsets, in the stream
 * of all bytes at first, and descriptors become -1 until they are installed.
 *
 * Files: a queue must not hold what could hold the queue, or neither would ever
 * be closed. So no file of kdbus can be sent, nor what can carry files itself:
 * sockets of the Unix domain, as in 2015, and io_uring, whose registered files
 * came later; the kernel refuses it over Unix sockets too, since 6.7.
 * Descriptors made with O_PATH hold nothing, and can be sent always.
 */
#include <linux/cred.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/net.h>
#include <linux/overflow.h>
#include <linux/shmem_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <net/sock.h>

#include "args.h"
#include "bus.h"
#include "connection.h"
#include "endpoint.h"
#include "handle.h"
#include "message.h"
#include "meta.h"
#include "name.h"
#include "queue.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

static int check_vec(const struct kdbus_vec *vec, u64 *total)
{
	if (check_add_overflow(*total, vec->size, total) ||
	    *total > KDBUS_VEC_MAX_SIZE)
		return -EMSGSIZE;
	if (vec->address &&
	    (vec->address > ULONG_MAX ||
	     !access_ok((void __user *)(unsigned long)vec->address, vec->size)))
		return -EFAULT;
	return 0;
}

static int check_bloom(const struct kdbus_item *item, u64 bus_size)
{
	size_t size = kdbus_item_len(item) - sizeof(struct kdbus_bloom_filter);

	if (size % sizeof(u64))
		return -EFAULT;
	return size == bus_size ? 0 : -EDOM;
}

static int check_item(struct kdbus_message *msg, struct kdbus_conn *conn,
		      const struct kdbus_item *item, u64 *vecs,
		      unsigned int *memfds)
{
	const struct kdbus_memfd *memfd = (void *)item->data;
	u64 end;
	int ret;

	switch (item->type) {
	case KDBUS_ITEM_PAYLOAD_VEC:
		return check_vec((void *)item->data, vecs);
	case KDBUS_ITEM_PAYLOAD_MEMFD:
		if (check_add_overflow(memfd->start, memfd->size, &end))
			return -EMSGSIZE;
		return ++*memfds > KDBUS_MSG_MAX_MEMFDS ? -E2BIG : 0;
	case KDBUS_ITEM_FDS:
		/* One without entries is as good as none. */
		return kdbus_item_len(item) / sizeof(s32) > KDBUS_MSG_MAX_FDS ?
		       -EMFILE : 0;
	case KDBUS_ITEM_BLOOM_FILTER:
		ret = check_bloom(item, conn->ep->bus->bloom.size);
		if (ret < 0)
			return ret;
		msg->bloom = (void *)item->data;
		return 0;
	case KDBUS_ITEM_DST_NAME:
		ret = kdbus_name_valid((char *)item->data, false);
		if (ret < 0)
			return ret;
		if (msg->head->dst_id == KDBUS_DST_ID_BROADCAST)
			return -EBADMSG;
		msg->dst_name = (char *)item->data;
		return 0;
	}
	return -EINVAL; /* NEGOTIATE, in one that is really sent */
}

static int check_header(struct kdbus_msg *head, struct kdbus_conn *conn,
			bool sync)
{
	bool broadcast = head->dst_id == KDBUS_DST_ID_BROADCAST;
	bool signal = head->flags & KDBUS_MSG_SIGNAL;

	if (head->src_id && head->src_id != conn->id)
		return -EINVAL;
	head->src_id = conn->id;
	if (head->payload_type == KDBUS_PAYLOAD_KERNEL)
		return -EINVAL;
	if (broadcast && !signal)
		return -EBADMSG;
	if (broadcast && head->timeout_ns)
		return -ENOTUNIQ;
	if (head->flags & KDBUS_MSG_EXPECT_REPLY) {
		if (!head->timeout_ns)
			return -EINVAL;
		return signal ? -ENOTUNIQ : 0;
	}
	if (sync || (head->cookie_reply && signal))
		return -EINVAL;
	return 0;
}

/**
 * kdbus_message_check() - check what a message says
 * @msg:	filled in
 * @conn:	its sender
 * @args:	its form, which has been checked; outlives @msg
 * @sync:	its sender will wait for the reply
 *
 * Return: 0, or a negative error.
 */
int kdbus_message_check(struct kdbus_message *msg, struct kdbus_conn *conn,
			const struct kdbus_args *args, bool sync)
{
	struct kdbus_msg *head = (void *)args->cmd;
	struct kdbus_item *item, *fds = NULL;
	unsigned int memfds = 0;
	u64 vecs = 0;
	int ret;

	msg->head = head;
	msg->head_size = sizeof(*head) + args->items_size;
	ret = check_header(head, conn, sync);
	if (ret < 0)
		return ret;
	kdbus_for_each_item(item, args->items, args->items_size) {
		ret = check_item(msg, conn, item, &vecs, &memfds);
		if (ret < 0)
			return ret;
		if (item->type == KDBUS_ITEM_FDS)
			fds = item;
	}
	if (!!msg->bloom != !!(head->flags & KDBUS_MSG_SIGNAL))
		return -EBADMSG;
	if (head->dst_id == KDBUS_DST_ID_NAME && !msg->dst_name)
		return -EDESTADDRREQ;
	if (fds && head->dst_id == KDBUS_DST_ID_BROADCAST)
		return -ENOTUNIQ;
	return 0;
}

/* io_is_uring_fops() is not exported: go by the name of its inode. */
static bool is_io_uring(struct file *file)
{
	struct dentry *dentry = file->f_path.dentry;

	return dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       !strcmp(dentry->d_name.name, "[io_uring]");
}

static bool is_unix_socket(struct file *file)
{
	struct socket *sock = sock_from_file(file);

	return sock && sock->ops && sock->ops->family == PF_UNIX;
}

/* Whether a queue may hold the file. */
static int check_file(struct file *file)
{
	if (file->f_mode & FMODE_PATH)
		return 0;
	if (file->f_op == &kdbus_handle_fops || is_unix_socket(file) ||
	    is_io_uring(file))
		return -EOPNOTSUPP;
	return 0;
}

static int take_fds(struct kdbus_message *msg, struct kdbus_item *item)
{
	struct kdbus_cargo *cargo = msg->cargo;
	size_t i, n = kdbus_item_len(item) / sizeof(s32);
	s32 *fds = (s32 *)item->data;
	struct file *file;
	int ret;

	cargo->fds_at = (u8 *)fds - (u8 *)msg->head;
	for (i = 0; i < n; i++) {
		file = fds[i] < 0 ? NULL : fget_raw(fds[i]);
		if (!file)
			return -EBADF;
		ret = check_file(file);
		if (ret < 0) {
			fput(file);
			return ret;
		}
		cargo->files[cargo->fds++] = file;
		fds[i] = -1;
	}
	return 0;
}

/*
 * A memfd is a shmem file that nobody can change any more. shmem has no call to
 * ask for the seals that a module could use, but its inode is public; seals are
 * only ever added.
 */
static int check_memfd(struct file *file, const struct kdbus_memfd *memfd)
{
	struct inode *inode = file_inode(file);

	if (!S_ISREG(inode->i_mode) || !shmem_mapping(file->f_mapping))
		return -EMEDIUMTYPE;
	if ((READ_ONCE(SHMEM_I(inode)->seals) & SEALS) != SEALS)
		return -ETXTBSY;
	if (memfd->start + memfd->size > (u64)i_size_read(inode))
		return -EFAULT;
	return 0;
}

static int take_memfd(struct kdbus_message *msg, struct kdbus_memfd *memfd,
		      struct file **files, unsigned int *n)
{
	struct file *file = fget(memfd->fd);
	int ret;

	if (!file)
		return -EBADF;
	ret = check_memfd(file, memfd);
	if (ret < 0) {
		fput(file);
		return ret;
	}
	msg->cargo->memfd_at[*n] = (u8 *)&memfd->fd - (u8 *)msg->head;
	files[(*n)++] = file;
	memfd->fd = -1;
	memfd->__pad = 0;
	return 0;
}

static int take_files(struct kdbus_message *msg)
{
	struct file *memfds[KDBUS_MSG_MAX_MEMFDS];
	struct kdbus_cargo *cargo = msg->cargo;
	struct kdbus_item *item;
	unsigned int n = 0;
	int ret = 0;

	kdbus_for_each_item(item, msg->head->items,
			    msg->head_size - sizeof(*msg->head)) {
		if (item->type == KDBUS_ITEM_FDS)
			ret = take_fds(msg, item);
		else if (item->type == KDBUS_ITEM_PAYLOAD_MEMFD)
			ret = take_memfd(msg, (void *)item->data, memfds, &n);
		if (ret < 0)
			break;
	}
	memcpy(&cargo->files[cargo->fds], memfds, n * sizeof(*memfds));
	cargo->memfds = n;
	return ret;
}

static bool has_files(const struct kdbus_message *msg)
{
	struct kdbus_item *item;

	kdbus_for_each_item(item, msg->head->items,
			    msg->head_size - sizeof(*msg->head))
		if (item->type == KDBUS_ITEM_FDS ||
		    item->type == KDBUS_ITEM_PAYLOAD_MEMFD)
			return true;
	return false;
}

static int import_files(struct kdbus_message *msg)
{
	if (!has_files(msg))
		return 0;
	msg->cargo = kzalloc(sizeof(*msg->cargo), GFP_KERNEL_ACCOUNT);
	if (!msg->cargo)
		return -ENOMEM;
	kref_init(&msg->cargo->kref);
	return take_files(msg);
}

/*
 * How many bytes an item has in the stream. What is not there, zeroes and
 * memfds, takes as many as keep what follows aligned as if it were.
 */
static u64 stream_size(const struct kdbus_item *item)
{
	const struct kdbus_memfd *memfd = (void *)item->data;
	const struct kdbus_vec *vec = (void *)item->data;

	switch (item->type) {
	case KDBUS_ITEM_PAYLOAD_VEC:
		return vec->address ? vec->size : vec->size % 8;
	case KDBUS_ITEM_PAYLOAD_MEMFD:
		return memfd->size % 8;
	}
	return 0;
}

/* A vector of zeroes has no bytes; 2015 meant to say so, and got it wrong. */
static int import_vec(struct kdbus_message *msg, struct kdbus_item *item,
		      u64 at)
{
	struct kdbus_vec *vec = (void *)item->data;
	void __user *from = (void __user *)(unsigned long)vec->address;

	item->type = KDBUS_ITEM_PAYLOAD_OFF;
	vec->offset = from ? at : ~0ULL;
	if (from && copy_from_user(msg->payload + at, from, vec->size))
		return -EFAULT;
	return 0;
}

static int import_payload(struct kdbus_message *msg)
{
	size_t bytes = msg->head_size - sizeof(*msg->head);
	struct kdbus_item *item;
	u64 n, at = 0;
	int ret = 0;

	kdbus_for_each_item(item, msg->head->items, bytes)
		at += stream_size(item);
	msg->payload_size = KDBUS_ALIGN8(at);
	if (msg->payload_size) {
		msg->payload = kvzalloc(msg->payload_size, GFP_KERNEL_ACCOUNT);
		if (!msg->payload)
			return -ENOMEM;
	}
	at = 0;
	kdbus_for_each_item(item, msg->head->items, bytes) {
		n = stream_size(item);
		if (!ret && item->type == KDBUS_ITEM_PAYLOAD_VEC)
			ret = import_vec(msg, item, at);
		at += n;
	}
	return ret;
}

/* What the sender left in the padding is nobody's business. */
static void clear_padding(struct kdbus_message *msg)
{
	struct kdbus_item *item;

	kdbus_for_each_item(item, msg->head->items,
			    msg->head_size - sizeof(*msg->head))
		memset((u8 *)item + item->size, 0,
		       KDBUS_ALIGN8(item->size) - item->size);
}

/**
 * kdbus_message_import() - take the files and the payload of a message
 * @msg:	the message, checked
 *
 * Return: 0, or a negative error. msg->payload_error is to be reported only when
 * the message is delivered.
 */
int kdbus_message_import(struct kdbus_message *msg)
{
	int ret;

	clear_padding(msg);
	ret = import_files(msg);
	if (!ret)
		msg->payload_error = import_payload(msg);
	return ret;
}

/* Free what belongs to a message; queues keep what they need. */
void kdbus_message_destroy(struct kdbus_message *msg)
{
	kdbus_cargo_unref(msg->cargo);
	kvfree(msg->payload);
	kdbus_meta_unref(msg->meta);
	kdbus_blob_free(&msg->names);
}
