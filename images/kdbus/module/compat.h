/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What changed in the kernel's own interfaces between 6.1 and 6.12. This is the
 * one place that asks for a version.
 */
#ifndef _KDBUS_COMPAT_H
#define _KDBUS_COMPAT_H

#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/version.h>

/* What the operations of inodes are given: struct kdbus_idmap. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
#define kdbus_idmap user_namespace
#else
#define kdbus_idmap mnt_idmap
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
/* A mapping that is being made is seen by nobody else: no lock is needed. */
static inline void kdbus_vm_flags_clear(struct vm_area_struct *vma,
					unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#else
static inline void kdbus_vm_flags_clear(struct vm_area_struct *vma,
					unsigned long flags)
{
	vm_flags_clear(vma, flags);
}
#endif

static inline void kdbus_inode_init_times(struct inode *inode)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
	inode->i_mtime = current_time(inode);
	inode->i_atime = inode->i_mtime;
	inode->i_ctime = inode->i_mtime;
#else
	simple_inode_init_ts(inode);
#endif
}

static inline int kdbus_receive_fd(struct file *file, unsigned int flags)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
	return receive_fd(file, flags);
#else
	return receive_fd(file, NULL, flags);
#endif
}

/**
 * kdbus_exe_file() - the program the calling task runs
 *
 * get_mm_exe_file() is not exported.
 *
 * Return: a file to be put, or NULL if there is none.
 */
static inline struct file *kdbus_exe_file(void)
{
	struct file *file;

	if (!current->mm)
		return NULL;
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
	rcu_read_lock();
	file = rcu_dereference(current->mm->exe_file);
	if (file && !get_file_rcu(file))
		file = NULL;
	rcu_read_unlock();
#else
	rcu_read_lock();
	file = get_file_rcu(&current->mm->exe_file);
	rcu_read_unlock();
#endif
	return file;
}

#endif /* _KDBUS_COMPAT_H */
