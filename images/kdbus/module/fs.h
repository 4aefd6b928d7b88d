/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _KDBUS_FS_H
#define _KDBUS_FS_H

#include <linux/fs.h>
#include <linux/uidgid.h>

struct kdbus_domain;
struct kdbus_ep;

int kdbus_fs_init(void);
void kdbus_fs_exit(void);

struct dentry *kdbus_fs_add_dir(struct kdbus_domain *domain, const char *name,
				umode_t mode, kuid_t uid, kgid_t gid);
struct dentry *kdbus_fs_add_ep(struct dentry *dir, const char *name,
			       umode_t mode, struct kdbus_ep *ep);
void kdbus_fs_remove(struct dentry *dentry);

/* What a file was opened on; one of the two. */
struct kdbus_domain *kdbus_fs_domain(struct inode *inode);
struct kdbus_ep *kdbus_fs_ep(struct inode *inode);

#endif /* _KDBUS_FS_H */
