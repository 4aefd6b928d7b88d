/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The interface of kdbus to user space: numbers and layouts.
 *
 * All fields are native-endian and 64 bits wide unless they say otherwise, so
 * that 32-bit and 64-bit callers share one layout. Every command, message, item
 * and record starts on an 8-byte boundary; @size always counts the header and
 * the payload, without trailing padding. The layouts are asserted in layout.c.
 */
#ifndef _UAPI_KDBUS_H
#define _UAPI_KDBUS_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define KDBUS_IOCTL_MAGIC	0x95
#define KDBUS_SRC_ID_KERNEL	0
#define KDBUS_DST_ID_NAME	0
#define KDBUS_DST_ID_BROADCAST	(~0ULL)
#define KDBUS_MATCH_ID_ANY	(~0ULL)
#define KDBUS_FLAG_NEGOTIATE	(1ULL << 63)
#define KDBUS_SUPER_MAGIC	0x44427573

/* flags of BUS_MAKE and ENDPOINT_MAKE */
enum kdbus_make_flags {
	KDBUS_MAKE_ACCESS_GROUP		= 1ULL << 0,
	KDBUS_MAKE_ACCESS_WORLD		= 1ULL << 1,
};

/* flags of HELLO */
enum kdbus_hello_flags {
	KDBUS_HELLO_ACCEPT_FD		= 1ULL << 0,
	KDBUS_HELLO_ACTIVATOR		= 1ULL << 1,
	KDBUS_HELLO_POLICY_HOLDER	= 1ULL << 2,
	KDBUS_HELLO_MONITOR		= 1ULL << 3,
};

/* flags of a message */
enum kdbus_msg_flags {
	KDBUS_MSG_EXPECT_REPLY		= 1ULL << 0,
	KDBUS_MSG_NO_AUTO_START		= 1ULL << 1,
	KDBUS_MSG_SIGNAL		= 1ULL << 2,
};

/* flags of SEND */
enum kdbus_send_flags {
	KDBUS_SEND_SYNC_REPLY		= 1ULL << 0,
};

/* flags of RECV */
enum kdbus_recv_flags {
	KDBUS_RECV_PEEK			= 1ULL << 0,
	KDBUS_RECV_DROP			= 1ULL << 1,
	KDBUS_RECV_USE_PRIORITY		= 1ULL << 2,
};

/* return flags of RECV, and of the message it gives */
enum kdbus_recv_return_flags {
	KDBUS_RECV_RETURN_INCOMPLETE_FDS	= 1ULL << 0,
	KDBUS_RECV_RETURN_DROPPED_MSGS		= 1ULL << 1,
};

/* flags of LIST */
enum kdbus_list_flags {
	KDBUS_LIST_UNIQUE		= 1ULL << 0,
	KDBUS_LIST_NAMES		= 1ULL << 1,
	KDBUS_LIST_ACTIVATORS		= 1ULL << 2,
	KDBUS_LIST_QUEUED		= 1ULL << 3,
};

/* flags of MATCH_ADD */
enum kdbus_cmd_match_flags {
	KDBUS_MATCH_REPLACE		= 1ULL << 0,
};

/* flags of a name: the first three are given, the others are found */
enum kdbus_name_flags {
	KDBUS_NAME_REPLACE_EXISTING	= 1ULL << 0,
	KDBUS_NAME_ALLOW_REPLACEMENT	= 1ULL << 1,
	KDBUS_NAME_QUEUE		= 1ULL << 2,
	KDBUS_NAME_IN_QUEUE		= 1ULL << 3,
	KDBUS_NAME_ACTIVATOR		= 1ULL << 4,
	KDBUS_NAME_PRIMARY		= 1ULL << 5,
	KDBUS_NAME_ACQUIRED		= 1ULL << 6,
};

enum kdbus_policy_access_type {
	KDBUS_POLICY_ACCESS_USER	= 1,
	KDBUS_POLICY_ACCESS_GROUP	= 2,
	KDBUS_POLICY_ACCESS_WORLD	= 3,
};

/* ordered: the higher implies the lower */
enum kdbus_policy_type {
	KDBUS_POLICY_SEE		= 0,
	KDBUS_POLICY_TALK		= 1,
	KDBUS_POLICY_OWN		= 2,
};

enum kdbus_payload_type {
	KDBUS_PAYLOAD_KERNEL		= 0,
	KDBUS_PAYLOAD_DBUS		= 0x4442757344427573ULL, /* "DBusDBus" */
};

/* bit n is the wish for the item of type 0x1000 + n */
enum kdbus_attach_flags {
	KDBUS_ATTACH_TIMESTAMP		= 1ULL << 0,
	KDBUS_ATTACH_CREDS		= 1ULL << 1,
	KDBUS_ATTACH_PIDS		= 1ULL << 2,
	KDBUS_ATTACH_AUXGROUPS		= 1ULL << 3,
	KDBUS_ATTACH_NAMES		= 1ULL << 4,
	KDBUS_ATTACH_TID_COMM		= 1ULL << 5,
	KDBUS_ATTACH_PID_COMM		= 1ULL << 6,
	KDBUS_ATTACH_EXE		= 1ULL << 7,
	KDBUS_ATTACH_CMDLINE		= 1ULL << 8,
	KDBUS_ATTACH_CGROUP		= 1ULL << 9,
	KDBUS_ATTACH_CAPS		= 1ULL << 10,
	KDBUS_ATTACH_SECLABEL		= 1ULL << 11,
	KDBUS_ATTACH_AUDIT		= 1ULL << 12,
	KDBUS_ATTACH_CONN_DESCRIPTION	= 1ULL << 13,
};

#define KDBUS_ATTACH_ALL	((1ULL << 14) - 1)
#define KDBUS_ATTACH_ANY	(~0ULL)

enum kdbus_item_type {
	KDBUS_ITEM_NEGOTIATE		= 0x1,
	KDBUS_ITEM_PAYLOAD_VEC,
	KDBUS_ITEM_PAYLOAD_OFF,
	KDBUS_ITEM_PAYLOAD_MEMFD,
	KDBUS_ITEM_FDS,
	KDBUS_ITEM_CANCEL_FD,
	KDBUS_ITEM_BLOOM_PARAMETER,
	KDBUS_ITEM_BLOOM_FILTER,
	KDBUS_ITEM_BLOOM_MASK,
	KDBUS_ITEM_DST_NAME,
	KDBUS_ITEM_MAKE_NAME,
	KDBUS_ITEM_ATTACH_FLAGS_SEND,
	KDBUS_ITEM_ATTACH_FLAGS_RECV,
	KDBUS_ITEM_ID,
	KDBUS_ITEM_NAME,
	KDBUS_ITEM_DST_ID,

	KDBUS_ITEM_TIMESTAMP		= 0x1000,
	KDBUS_ITEM_CREDS,
	KDBUS_ITEM_PIDS,
	KDBUS_ITEM_AUXGROUPS,
	KDBUS_ITEM_OWNED_NAME,
	KDBUS_ITEM_TID_COMM,
	KDBUS_ITEM_PID_COMM,
	KDBUS_ITEM_EXE,
	KDBUS_ITEM_CMDLINE,
	KDBUS_ITEM_CGROUP,
	KDBUS_ITEM_CAPS,
	KDBUS_ITEM_SECLABEL,
	KDBUS_ITEM_AUDIT,
	KDBUS_ITEM_CONN_DESCRIPTION,

	KDBUS_ITEM_POLICY_ACCESS	= 0x2000,

	KDBUS_ITEM_NAME_ADD		= 0x8000,
	KDBUS_ITEM_NAME_REMOVE,
	KDBUS_ITEM_NAME_CHANGE,
	KDBUS_ITEM_ID_ADD,
	KDBUS_ITEM_ID_REMOVE,
	KDBUS_ITEM_REPLY_TIMEOUT,
	KDBUS_ITEM_REPLY_DEAD,
};

struct kdbus_item {
	__u64 size;
	__u64 type;
	__u8 data[];
} __attribute__((__aligned__(8)));

struct kdbus_notify_id_change {
	__u64 id;
	__u64 flags;
} __attribute__((__aligned__(8)));

struct kdbus_notify_name_change {
	struct kdbus_notify_id_change old_id;
	struct kdbus_notify_id_change new_id;
	char name[];
} __attribute__((__aligned__(8)));

struct kdbus_creds {
	__u64 uid;
	__u64 euid;
	__u64 suid;
	__u64 fsuid;
	__u64 gid;
	__u64 egid;
	__u64 sgid;
	__u64 fsgid;
} __attribute__((__aligned__(8)));

struct kdbus_pids {
	__u64 pid;
	__u64 tid;
	__u64 ppid;
} __attribute__((__aligned__(8)));

/* the sets are inheritable, permitted, effective, bounding */
struct kdbus_caps {
	__u32 last_cap;
	__u32 caps[];
} __attribute__((__aligned__(8)));

struct kdbus_audit {
	__u32 sessionid;
	__u32 loginuid;
} __attribute__((__aligned__(8)));

struct kdbus_timestamp {
	__u64 seqnum;
	__u64 monotonic_ns;
	__u64 realtime_ns;
} __attribute__((__aligned__(8)));

struct kdbus_vec {
	__u64 size;
	union {
		__u64 address;	/* PAYLOAD_VEC; 0 stands for zero bytes */
		__u64 offset;	/* PAYLOAD_OFF, from the message's start */
	};
} __attribute__((__aligned__(8)));

struct kdbus_bloom_parameter {
	__u64 size;
	__u64 n_hash;
} __attribute__((__aligned__(8)));

struct kdbus_bloom_filter {
	__u64 generation;
	__u64 data[];
} __attribute__((__aligned__(8)));

struct kdbus_memfd {
	__u64 start;
	__u64 size;
	__s32 fd;
	__u32 __pad;
} __attribute__((__aligned__(8)));

struct kdbus_name {
	__u64 flags;
	char name[];
} __attribute__((__aligned__(8)));

struct kdbus_policy_access {
	__u64 type;
	__u64 access;
	__u64 id;
} __attribute__((__aligned__(8)));

struct kdbus_msg {
	__u64 size;
	__u64 flags;
	__s64 priority;
	__u64 dst_id;
	__u64 src_id;
	__u64 payload_type;
	__u64 cookie;
	union {
		__u64 timeout_ns;
		__u64 cookie_reply;
	};
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_msg_info {
	__u64 offset;
	__u64 msg_size;
	__u64 return_flags;
} __attribute__((__aligned__(8)));

struct kdbus_info {
	__u64 size;
	__u64 id;
	__u64 flags;
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_cmd {
	__u64 size;
	__u64 flags;
	__u64 return_flags;
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_cmd_hello {
	__u64 size;
	__u64 flags;
	__u64 return_flags;
	__u64 attach_flags_send;
	__u64 attach_flags_recv;
	__u64 bus_flags;
	__u64 id;
	__u64 pool_size;
	__u64 offset;
	__u64 items_size;
	__u8 id128[16];
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_cmd_free {
	__u64 size;
	__u64 flags;
	__u64 return_flags;
	__u64 offset;
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_cmd_info {
	__u64 size;
	__u64 flags;
	__u64 return_flags;
	__u64 id;
	__u64 attach_flags;
	__u64 offset;
	__u64 info_size;
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_cmd_list {
	__u64 size;
	__u64 flags;
	__u64 return_flags;
	__u64 offset;
	__u64 list_size;
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_cmd_send {
	__u64 size;
	__u64 flags;
	__u64 return_flags;
	__u64 msg_address;
	struct kdbus_msg_info reply;
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_cmd_recv {
	__u64 size;
	__u64 flags;
	__u64 return_flags;
	__s64 priority;
	__u64 dropped_msgs;
	struct kdbus_msg_info msg;
	__u8 items[];
} __attribute__((__aligned__(8)));

struct kdbus_cmd_match {
	__u64 size;
	__u64 flags;
	__u64 return_flags;
	__u64 cookie;
	__u8 items[];
} __attribute__((__aligned__(8)));

/* The directions are nominal: all of these read and write their argument. */
enum kdbus_ioctl_type {
	KDBUS_CMD_BUS_MAKE	= _IOW(KDBUS_IOCTL_MAGIC, 0x00, struct kdbus_cmd),
	KDBUS_CMD_ENDPOINT_MAKE	= _IOW(KDBUS_IOCTL_MAGIC, 0x10, struct kdbus_cmd),
	KDBUS_CMD_ENDPOINT_UPDATE = _IOW(KDBUS_IOCTL_MAGIC, 0x11, struct kdbus_cmd),
	KDBUS_CMD_HELLO		= _IOWR(KDBUS_IOCTL_MAGIC, 0x80, struct kdbus_cmd_hello),
	KDBUS_CMD_UPDATE	= _IOW(KDBUS_IOCTL_MAGIC, 0x81, struct kdbus_cmd),
	KDBUS_CMD_BYEBYE	= _IOW(KDBUS_IOCTL_MAGIC, 0x82, struct kdbus_cmd),
	KDBUS_CMD_FREE		= _IOW(KDBUS_IOCTL_MAGIC, 0x83, struct kdbus_cmd_free),
	KDBUS_CMD_CONN_INFO	= _IOR(KDBUS_IOCTL_MAGIC, 0x84, struct kdbus_cmd_info),
	KDBUS_CMD_BUS_CREATOR_INFO = _IOR(KDBUS_IOCTL_MAGIC, 0x85, struct kdbus_cmd_info),
	KDBUS_CMD_LIST		= _IOR(KDBUS_IOCTL_MAGIC, 0x86, struct kdbus_cmd_list),
	KDBUS_CMD_SEND		= _IOW(KDBUS_IOCTL_MAGIC, 0x90, struct kdbus_cmd_send),
	KDBUS_CMD_RECV		= _IOR(KDBUS_IOCTL_MAGIC, 0x91, struct kdbus_cmd_recv),
	KDBUS_CMD_NAME_ACQUIRE	= _IOW(KDBUS_IOCTL_MAGIC, 0xa0, struct kdbus_cmd),
	KDBUS_CMD_NAME_RELEASE	= _IOW(KDBUS_IOCTL_MAGIC, 0xa1, struct kdbus_cmd),
	KDBUS_CMD_MATCH_ADD	= _IOW(KDBUS_IOCTL_MAGIC, 0xb0, struct kdbus_cmd_match),
	KDBUS_CMD_MATCH_REMOVE	= _IOW(KDBUS_IOCTL_MAGIC, 0xb1, struct kdbus_cmd_match),
};

#endif /* _UAPI_KDBUS_H */
