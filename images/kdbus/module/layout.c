// SPDX-License-Identifier: GPL-2.0
/*
 * The layouts and numbers of the interface, held to what programs were built
 * with. Nothing here makes code: a wrong layout does not compile.
 */
#include <linux/build_bug.h>
#include <linux/stddef.h>

#include "kdbus.h"

#define SIZE(type, size) \
	static_assert(sizeof(struct type) == (size))
#define FIELD(type, field, offset) \
	static_assert(offsetof(struct type, field) == (offset))
#define NUMBER(name, value) \
	static_assert((unsigned int)(name) == (value))

SIZE(kdbus_cmd, 24);
FIELD(kdbus_cmd, flags, 8);
FIELD(kdbus_cmd, return_flags, 16);

SIZE(kdbus_cmd_hello, 96);
FIELD(kdbus_cmd_hello, attach_flags_send, 24);
FIELD(kdbus_cmd_hello, attach_flags_recv, 32);
FIELD(kdbus_cmd_hello, bus_flags, 40);
FIELD(kdbus_cmd_hello, id, 48);
FIELD(kdbus_cmd_hello, pool_size, 56);
FIELD(kdbus_cmd_hello, offset, 64);
FIELD(kdbus_cmd_hello, items_size, 72);
FIELD(kdbus_cmd_hello, id128, 80);

SIZE(kdbus_cmd_free, 32);
FIELD(kdbus_cmd_free, offset, 24);

SIZE(kdbus_cmd_info, 56);
FIELD(kdbus_cmd_info, id, 24);
FIELD(kdbus_cmd_info, attach_flags, 32);
FIELD(kdbus_cmd_info, offset, 40);
FIELD(kdbus_cmd_info, info_size, 48);

SIZE(kdbus_cmd_list, 40);
FIELD(kdbus_cmd_list, offset, 24);
FIELD(kdbus_cmd_list, list_size, 32);

SIZE(kdbus_cmd_send, 56);
FIELD(kdbus_cmd_send, msg_address, 24);
FIELD(kdbus_cmd_send, reply, 32);

SIZE(kdbus_cmd_recv, 64);
FIELD(kdbus_cmd_recv, priority, 24);
FIELD(kdbus_cmd_recv, dropped_msgs, 32);
FIELD(kdbus_cmd_recv, msg, 40);

SIZE(kdbus_cmd_match, 32);
FIELD(kdbus_cmd_match, cookie, 24);

SIZE(kdbus_msg_info, 24);
FIELD(kdbus_msg_info, msg_size, 8);
FIELD(kdbus_msg_info, return_flags, 16);

SIZE(kdbus_msg, 64);
FIELD(kdbus_msg, flags, 8);
FIELD(kdbus_msg, priority, 16);
FIELD(kdbus_msg, dst_id, 24);
FIELD(kdbus_msg, src_id, 32);
FIELD(kdbus_msg, payload_type, 40);
FIELD(kdbus_msg, cookie, 48);
FIELD(kdbus_msg, timeout_ns, 56);
FIELD(kdbus_msg, cookie_reply, 56);
FIELD(kdbus_msg, items, 64);

SIZE(kdbus_info, 24);
FIELD(kdbus_info, id, 8);
FIELD(kdbus_info, flags, 16);

SIZE(kdbus_item, 16);
FIELD(kdbus_item, type, 8);
FIELD(kdbus_item, data, 16);

SIZE(kdbus_notify_id_change, 16);
SIZE(kdbus_notify_name_change, 32);
FIELD(kdbus_notify_name_change, new_id, 16);
FIELD(kdbus_notify_name_change, name, 32);
SIZE(kdbus_creds, 64);
FIELD(kdbus_creds, gid, 32);
SIZE(kdbus_pids, 24);
FIELD(kdbus_pids, ppid, 16);
SIZE(kdbus_caps, 8);
FIELD(kdbus_caps, caps, 4);
SIZE(kdbus_audit, 8);
FIELD(kdbus_audit, loginuid, 4);
SIZE(kdbus_timestamp, 24);
FIELD(kdbus_timestamp, realtime_ns, 16);
SIZE(kdbus_vec, 16);
FIELD(kdbus_vec, offset, 8);
SIZE(kdbus_bloom_parameter, 16);
SIZE(kdbus_bloom_filter, 8);
FIELD(kdbus_bloom_filter, data, 8);
SIZE(kdbus_memfd, 24);
FIELD(kdbus_memfd, fd, 16);
SIZE(kdbus_name, 8);
SIZE(kdbus_policy_access, 24);
FIELD(kdbus_policy_access, id, 16);

NUMBER(KDBUS_CMD_BUS_MAKE, 0x40189500);
NUMBER(KDBUS_CMD_ENDPOINT_MAKE, 0x40189510);
NUMBER(KDBUS_CMD_ENDPOINT_UPDATE, 0x40189511);
NUMBER(KDBUS_CMD_HELLO, 0xc0609580);
NUMBER(KDBUS_CMD_UPDATE, 0x40189581);
NUMBER(KDBUS_CMD_BYEBYE, 0x40189582);
NUMBER(KDBUS_CMD_FREE, 0x40209583);
NUMBER(KDBUS_CMD_CONN_INFO, 0x80389584);
NUMBER(KDBUS_CMD_BUS_CREATOR_INFO, 0x80389585);
NUMBER(KDBUS_CMD_LIST, 0x80289586);
NUMBER(KDBUS_CMD_SEND, 0x40389590);
NUMBER(KDBUS_CMD_RECV, 0x80409591);
NUMBER(KDBUS_CMD_NAME_ACQUIRE, 0x401895a0);
NUMBER(KDBUS_CMD_NAME_RELEASE, 0x401895a1);
NUMBER(KDBUS_CMD_MATCH_ADD, 0x402095b0);
NUMBER(KDBUS_CMD_MATCH_REMOVE, 0x402095b1);

NUMBER(KDBUS_ITEM_DST_ID, 0x10);
NUMBER(KDBUS_ITEM_CONN_DESCRIPTION, 0x100d);
NUMBER(KDBUS_ITEM_NAME_ADD, 0x8000);
NUMBER(KDBUS_ITEM_REPLY_DEAD, 0x8006);
static_assert(KDBUS_ATTACH_ALL == 0x3fff);
