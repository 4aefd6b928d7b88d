/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_HANDLE_H
#define _KDBUS_HANDLE_H

#include <linux/fs.h>

extern const struct file_operations kdbus_handle_fops;

#endif /* _KDBUS_HANDLE_H */
