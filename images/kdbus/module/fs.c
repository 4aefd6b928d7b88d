// SPDX-License-Identifier: GPL-2.0
/*
 * kdbusfs: where buses are seen.
 *
 * A mount is a domain, apart from all others. Its root has the file "control",
 * which makes buses; a bus is a directory with a file for each endpoint. Nothing
 * can be made or changed by the calls of the VFS.
 *
 * The tree is the dentry cache itself, as in debugfs: a dentry is pinned when it
 * is made and unpinned when it is removed, and libfs does the looking up and the
 * listing. Each directory and endpoint has one more reference to its dentry, for
 * its owner to name it by when it goes (kdbus_fs_remove()).
 *
 * An inode holds a reference to the endpoint it stands for, until it is evicted.
 * A file that is opened by way of an inode that has lost its name finds the
 * endpoint's gate closed. Open files pin the mount, and a bus or an endpoint
 * does not outlive the file that made it: when the super block goes, none is
 * left.
 */
#include <linux/atomic.h>
#include <linux/dcache.h>
#include <linux/fs_context.h>
#include <linux/fsnotify.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/sysfs.h>

#include "compat.h"
#include "domain.h"
#include "endpoint.h"
#include "fs.h"
#include "handle.h"
#include "internal.h"

/* Numbers are unique among all mounts, and not used again. */
static atomic64_t last_ino = ATOMIC64_INIT(0);

/* The default would change the mode or the size of what has neither. */
static int kdbus_fs_setattr(struct kdbus_idmap *idmap, struct dentry *dentry,
			    struct iattr *attr)
{
	return -EPERM;
}

/*
 * The link count of a directory is 2, whatever is in it. The inode's own counts
 * the directories below, for libfs takes one off when it removes one.
 */
static int kdbus_fs_getattr(struct kdbus_idmap *idmap, const struct path *path,
			    struct kstat *stat, u32 mask, unsigned int flags)
{
	int ret = simple_getattr(idmap, path, stat, mask, flags);

	if (!ret && S_ISDIR(stat->mode))
		stat->nlink = 2;
	return ret;
}

static const struct inode_operations kdbus_fs_dir_iops = {
	.lookup = simple_lookup,
	.getattr = kdbus_fs_getattr,
	.setattr = kdbus_fs_setattr,
};

static const struct inode_operations kdbus_fs_file_iops = {
	.getattr = kdbus_fs_getattr,
	.setattr = kdbus_fs_setattr,
};

static struct inode *new_node(struct super_block *sb, umode_t mode, kuid_t uid,
			      kgid_t gid, struct kdbus_ep *ep)
{
	struct inode *inode = new_inode(sb);

	if (!inode)
		return NULL;
	inode->i_ino = atomic64_inc_return(&last_ino);
	inode->i_mode = mode;
	inode->i_uid = uid;
	inode->i_gid = gid;
	kdbus_inode_init_times(inode);
	if (S_ISDIR(mode)) {
		inode->i_op = &kdbus_fs_dir_iops;
		inode->i_fop = &simple_dir_operations;
		set_nlink(inode, 2);
	} else {
		inode->i_op = &kdbus_fs_file_iops;
		inode->i_fop = &kdbus_handle_fops;
		inode->i_private = ep ? kdbus_ep_ref(ep) : NULL;
	}
	return inode;
}

/*
 * Give the inode a name in dir, and pin it. Returns a dentry to be put; the
 * inode is consumed.
 */
static struct dentry *add_node(struct dentry *dir, const char *name,
			       struct inode *inode)
{
	struct qstr str = QSTR_INIT(name, strlen(name));
	struct dentry *dentry;

	if (!inode)
		return ERR_PTR(-ENOMEM);
	inode_lock_nested(d_inode(dir), I_MUTEX_PARENT);
	/* A lookup that found nothing may still hold what it found. */
	dentry = d_hash_and_lookup(dir, &str);
	if (!dentry) {
		dentry = d_alloc(dir, &str);
		if (!dentry)
			dentry = ERR_PTR(-ENOMEM);
		else
			d_add(dentry, NULL);
	}
	if (!IS_ERR(dentry) && d_really_is_positive(dentry)) {
		dput(dentry);
		dentry = ERR_PTR(-EEXIST);
	}
	if (IS_ERR(dentry)) {
		inode_unlock(d_inode(dir));
		iput(inode);
		return dentry;
	}
	d_instantiate(dentry, inode);
	if (S_ISDIR(inode->i_mode)) {
		inc_nlink(d_inode(dir));
		fsnotify_mkdir(d_inode(dir), dentry);
	} else {
		fsnotify_create(d_inode(dir), dentry);
	}
	dget(dentry);
	inode_unlock(d_inode(dir));
	return dentry;
}

/**
 * kdbus_fs_add_dir() - make the directory of a bus
 * @domain:	where
 * @name:	how it is called; nothing else is called so
 * @mode:	its permissions
 * @uid:	whose it is
 * @gid:	likewise
 *
 * Return: its dentry, for kdbus_fs_remove(), or an error pointer.
 */
struct dentry *kdbus_fs_add_dir(struct kdbus_domain *domain, const char *name,
				umode_t mode, kuid_t uid, kgid_t gid)
{
	struct dentry *root = domain->sb->s_root;

	return add_node(root, name, new_node(domain->sb, S_IFDIR | mode, uid,
					     gid, NULL));
}

/**
 * kdbus_fs_add_ep() - make the file of an endpoint
 * @dir:	the directory of its bus
 * @name:	how it is called; nothing else is called so
 * @mode:	its permissions
 * @ep:		the endpoint
 *
 * Return: its dentry, for kdbus_fs_remove(), or an error pointer.
 */
struct dentry *kdbus_fs_add_ep(struct dentry *dir, const char *name,
			       umode_t mode, struct kdbus_ep *ep)
{
	return add_node(dir, name, new_node(dir->d_sb, S_IFREG | mode, ep->uid,
					    ep->gid, ep));
}

/**
 * kdbus_fs_remove() - take away a name, and all names below it
 * @dentry:	what kdbus_fs_add_dir() or kdbus_fs_add_ep() gave; it is put
 */
void kdbus_fs_remove(struct dentry *dentry)
{
	simple_recursive_removal(dentry, NULL);
	dput(dentry);
}

struct kdbus_domain *kdbus_fs_domain(struct inode *inode)
{
	return inode->i_sb->s_fs_info;
}

struct kdbus_ep *kdbus_fs_ep(struct inode *inode)
{
	return inode->i_private;
}

static void kdbus_fs_evict_inode(struct inode *inode)
{
	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (inode->i_private)
		kdbus_ep_unref(inode->i_private);
}

static const struct super_operations kdbus_fs_super_ops = {
	.statfs = simple_statfs,
	.drop_inode = generic_delete_inode,
	.evict_inode = kdbus_fs_evict_inode,
};

static int kdbus_fs_fill_super(struct super_block *sb, struct fs_context *fc)
{
	struct dentry *control;
	struct inode *root;

	sb->s_iflags |= SB_I_NOEXEC | SB_I_NODEV;
	sb->s_blocksize = PAGE_SIZE;
	sb->s_blocksize_bits = PAGE_SHIFT;
	sb->s_magic = KDBUS_SUPER_MAGIC;
	sb->s_maxbytes = MAX_LFS_FILESIZE;
	sb->s_op = &kdbus_fs_super_ops;
	sb->s_time_gran = 1;
	sb->s_fs_info = kdbus_domain_new(sb, fc->user_ns);
	if (!sb->s_fs_info)
		return -ENOMEM;

	root = new_node(sb, S_IFDIR | 0555, GLOBAL_ROOT_UID, GLOBAL_ROOT_GID,
			NULL);
	sb->s_root = d_make_root(root);
	if (!sb->s_root)
		return -ENOMEM;
	control = add_node(sb->s_root, "control",
			   new_node(sb, S_IFREG | 0666, GLOBAL_ROOT_UID,
				    GLOBAL_ROOT_GID, NULL));
	if (IS_ERR(control))
		return PTR_ERR(control);
	dput(control); /* it stays pinned */
	return 0;
}

static int kdbus_fs_get_tree(struct fs_context *fc)
{
	return get_tree_nodev(fc, kdbus_fs_fill_super);
}

static const struct fs_context_operations kdbus_fs_context_ops = {
	.get_tree = kdbus_fs_get_tree,
};

static int kdbus_fs_init_context(struct fs_context *fc)
{
	fc->ops = &kdbus_fs_context_ops;
	return 0;
}

static void kdbus_fs_kill_sb(struct super_block *sb)
{
	struct kdbus_domain *domain = sb->s_fs_info;

	kill_litter_super(sb);
	if (domain)
		kdbus_domain_unref(domain);
}

static struct file_system_type kdbus_fs_type = {
	.name = "kdbusfs",
	.owner = THIS_MODULE,
	.init_fs_context = kdbus_fs_init_context,
	.kill_sb = kdbus_fs_kill_sb,
	.fs_flags = FS_USERNS_MOUNT,
};

int __init kdbus_fs_init(void)
{
	int ret = sysfs_create_mount_point(fs_kobj, "kdbus");

	if (ret < 0)
		return ret;
	ret = register_filesystem(&kdbus_fs_type);
	if (ret < 0)
		sysfs_remove_mount_point(fs_kobj, "kdbus");
	return ret;
}

void kdbus_fs_exit(void)
{
	unregister_filesystem(&kdbus_fs_type);
	sysfs_remove_mount_point(fs_kobj, "kdbus");
}

MODULE_ALIAS_FS("kdbusfs");
