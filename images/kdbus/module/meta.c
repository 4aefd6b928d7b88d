// SPDX-License-Identifier: GPL-2.0
/*
 * Metadata: what is told about who made a bus, a connection or a message.
 *
 * It is collected once, in the context of the task it is about, and put into the
 * terms of each receiver (its namespaces) when it is written for that one.
 * Collecting may read user memory, so no lock is held.
 *
 * What differs from 2015:
 * - The path of the control group is that of the v2 hierarchy; there was none.
 * - EXE is rendered when it is collected, relative to the root the task has
 *   then, for __d_path() is not exported. It is shown to those who had the same
 *   root at HELLO, as before.
 * - An argument area without a NUL leaves CMDLINE out. It made the call fail.
 * - hidepid is no property of a PID namespace any more but of each mount of
 *   procfs, and there may be several, which the kernel does not tell apart. A
 *   task that can be seen in the receiver's PID namespace counts as visible in
 *   its procfs.
 */
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/cgroup.h>
#include <linux/cred.h>
#include <linux/fs_struct.h>
#include <linux/kref.h>
#include <linux/path.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/user_namespace.h>

#include "blob.h"
#include "compat.h"
#include "connection.h"
#include "internal.h"
#include "meta.h"

/* What the caps of an item count: 32-bit words of a set, and sets. */
#define CAP_WORDS	2
#define CAP_SETS	4

/**
 * struct kdbus_meta - what is known about a task
 * @kref:	references
 * @have:	KDBUS_ATTACH_*: which of the following are there
 * @cred:	its credentials; NULL if it is all faked
 * @uids:	real, effective, saved and file system user id
 * @gids:	likewise
 * @pid:	its thread group, or NULL
 * @tid:	itself, or NULL
 * @ppid:	its parent's thread group, or NULL
 * @tid_comm:	its name
 * @pid_comm:	its leader's name
 * @root:	its root directory, with KDBUS_ATTACH_EXE
 * @exe:	its program
 * @cmdline:	its first argument
 * @cgroup:	its control group
 * @seclabel:	its security label
 * @sessionid:	its audit session
 * @loginuid:	its audit user id
 *
 * It does not change once it is made.
 */
struct kdbus_meta {
	struct kref kref;
	u64 have;
	const struct cred *cred;
	kuid_t uids[4];
	kgid_t gids[4];
	struct pid *pid;
	struct pid *tid;
	struct pid *ppid;
	char tid_comm[TASK_COMM_LEN];
	char pid_comm[TASK_COMM_LEN];
	struct path root;
	char *exe;
	char *cmdline;
	char *cgroup;
	char *seclabel;
	u32 sessionid;
	kuid_t loginuid;
};

static void meta_free(struct kref *kref)
{
	struct kdbus_meta *meta = container_of(kref, struct kdbus_meta, kref);

	if (meta->cred)
		put_cred(meta->cred);
	put_pid(meta->pid);
	put_pid(meta->tid);
	put_pid(meta->ppid);
	path_put(&meta->root);
	kfree(meta->exe);
	kfree(meta->cmdline);
	kfree(meta->cgroup);
	kfree(meta->seclabel);
	kfree(meta);
}

struct kdbus_meta *kdbus_meta_ref(struct kdbus_meta *meta)
{
	kref_get(&meta->kref);
	return meta;
}

void kdbus_meta_unref(struct kdbus_meta *meta)
{
	if (meta)
		kref_put(&meta->kref, meta_free);
}

static struct kdbus_meta *meta_alloc(void)
{
	struct kdbus_meta *meta = kzalloc(sizeof(*meta), GFP_KERNEL_ACCOUNT);

	if (meta)
		kref_init(&meta->kref);
	return meta;
}

static void collect_ids(struct kdbus_meta *meta)
{
	const struct cred *cred = get_current_cred();

	meta->cred = cred;
	meta->uids[0] = cred->uid;
	meta->uids[1] = cred->euid;
	meta->uids[2] = cred->suid;
	meta->uids[3] = cred->fsuid;
	meta->gids[0] = cred->gid;
	meta->gids[1] = cred->egid;
	meta->gids[2] = cred->sgid;
	meta->gids[3] = cred->fsgid;
	meta->have |= KDBUS_ATTACH_CREDS | KDBUS_ATTACH_AUXGROUPS |
		      KDBUS_ATTACH_CAPS;
}

static void collect_pids(struct kdbus_meta *meta)
{
	meta->pid = get_pid(task_tgid(current));
	meta->tid = get_pid(task_pid(current));
	rcu_read_lock();
	meta->ppid = get_pid(task_tgid(rcu_dereference(current->real_parent)));
	get_task_comm(meta->tid_comm, current);
	get_task_comm(meta->pid_comm, current->group_leader);
	rcu_read_unlock();
	meta->have |= KDBUS_ATTACH_PIDS | KDBUS_ATTACH_TID_COMM |
		      KDBUS_ATTACH_PID_COMM;
}

static int collect_exe(struct kdbus_meta *meta)
{
	struct file *file = kdbus_exe_file();
	char *buf, *path;

	if (!file)
		return 0;
	buf = kmalloc(PATH_MAX, GFP_KERNEL_ACCOUNT);
	if (!buf) {
		fput(file);
		return -ENOMEM;
	}
	path = d_path(&file->f_path, buf, PATH_MAX);
	fput(file);
	if (!IS_ERR(path)) {
		meta->exe = kstrdup(path, GFP_KERNEL_ACCOUNT);
		if (meta->exe) {
			get_fs_root(current->fs, &meta->root);
			meta->have |= KDBUS_ATTACH_EXE;
		}
	}
	kfree(buf);
	return 0;
}

/* The task's own memory, which may fault like any other. */
static int collect_cmdline(struct kdbus_meta *meta)
{
	struct mm_struct *mm = current->mm;
	unsigned long start, end;
	size_t len;
	char *buf;

	if (!mm)
		return 0;
	spin_lock(&mm->arg_lock);
	start = mm->arg_start;
	end = mm->arg_end;
	spin_unlock(&mm->arg_lock);
	if (start >= end)
		return 0;
	len = min_t(size_t, end - start, PAGE_SIZE);
	buf = kmalloc(len, GFP_KERNEL_ACCOUNT);
	if (!buf)
		return -ENOMEM;
	if (copy_from_user(buf, (void __user *)start, len) ||
	    strnlen(buf, len) == len) {
		kfree(buf);
		return 0;
	}
	meta->cmdline = buf;
	meta->have |= KDBUS_ATTACH_CMDLINE;
	return 0;
}

static int collect_cgroup(struct kdbus_meta *meta)
{
#ifdef CONFIG_CGROUPS
	char *buf = kmalloc(PATH_MAX, GFP_KERNEL_ACCOUNT);
	int ret;

	if (!buf)
		return -ENOMEM;
	rcu_read_lock();
	ret = cgroup_path(task_dfl_cgroup(current), buf, PATH_MAX);
	rcu_read_unlock();
	if (ret > 0 && ret < PATH_MAX) {
		meta->cgroup = kstrdup(buf, GFP_KERNEL_ACCOUNT);
		if (meta->cgroup)
			meta->have |= KDBUS_ATTACH_CGROUP;
	}
	kfree(buf);
#endif
	return 0;
}

static int collect_seclabel(struct kdbus_meta *meta)
{
#ifdef CONFIG_SECURITY
	char *label;
	u32 secid, len;

	security_current_getsecid_subj(&secid);
	if (security_secid_to_secctx(secid, &label, &len) < 0)
		return 0;
	if (label && len) {
		meta->seclabel = kmemdup_nul(label, strnlen(label, len),
					     GFP_KERNEL_ACCOUNT);
		if (meta->seclabel)
			meta->have |= KDBUS_ATTACH_SECLABEL;
	}
	security_release_secctx(label, len);
#endif
	return 0;
}

static void collect_audit(struct kdbus_meta *meta)
{
#ifdef CONFIG_AUDITSYSCALL
	meta->loginuid = audit_get_loginuid(current);
	meta->sessionid = audit_get_sessionid(current);
	meta->have |= KDBUS_ATTACH_AUDIT;
#endif
}

/**
 * kdbus_meta_new() - collect what is known about the calling task
 * @mask:	KDBUS_ATTACH_*: what is needed; what costs little is there anyway
 *
 * What cannot be found out is left out.
 *
 * Return: it, with a reference, or an error pointer.
 */
struct kdbus_meta *kdbus_meta_new(u64 mask)
{
	struct kdbus_meta *meta = meta_alloc();
	int ret = 0;

	if (!meta)
		return ERR_PTR(-ENOMEM);
	collect_ids(meta);
	collect_pids(meta);
	collect_audit(meta);
	if (mask & KDBUS_ATTACH_EXE)
		ret = collect_exe(meta);
	if (!ret && mask & KDBUS_ATTACH_CMDLINE)
		ret = collect_cmdline(meta);
	if (!ret && mask & KDBUS_ATTACH_CGROUP)
		ret = collect_cgroup(meta);
	if (!ret && mask & KDBUS_ATTACH_SECLABEL)
		ret = collect_seclabel(meta);
	if (ret < 0) {
		kdbus_meta_unref(meta);
		return ERR_PTR(ret);
	}
	return meta;
}

static int fake_creds(struct kdbus_meta *meta, const struct kdbus_creds *creds)
{
	struct user_namespace *ns = current_user_ns();
	const u64 *ids = &creds->uid;
	int i;

	for (i = 0; i < 8; i++) {
		uid_t id = ids[i];

		if (ids[i] > U32_MAX)
			return -EINVAL;
		if (i < 4)
			meta->uids[i] = make_kuid(ns, id);
		else
			meta->gids[i - 4] = make_kgid(ns, id);
		/* -1 stands for an id that is not known. */
		if (id != (uid_t)-1 && !(i < 4 ? uid_valid(meta->uids[i]) :
						 gid_valid(meta->gids[i - 4])))
			return -EINVAL;
	}
	meta->have |= KDBUS_ATTACH_CREDS;
	return 0;
}

/* 0 stands for a process that is not known. */
static int fake_pid(struct pid **pid, u64 nr)
{
	if (!nr)
		return 0;
	if (nr <= INT_MAX)
		*pid = find_get_pid(nr);
	return *pid ? 0 : -EINVAL;
}

static int fake_pids(struct kdbus_meta *meta, const struct kdbus_pids *pids)
{
	int ret = fake_pid(&meta->pid, pids->pid);

	if (!ret)
		ret = fake_pid(&meta->tid, pids->tid);
	if (!ret)
		ret = fake_pid(&meta->ppid, pids->ppid);
	if (!ret)
		meta->have |= KDBUS_ATTACH_PIDS;
	return ret;
}

/**
 * kdbus_meta_fake() - make metadata of what a privileged task says
 * @creds:	a CREDS item, or NULL
 * @pids:	a PIDS item, or NULL
 * @seclabel:	a SECLABEL item, or NULL
 *
 * Return: it, with a reference, or an error pointer.
 */
struct kdbus_meta *kdbus_meta_fake(const struct kdbus_item *creds,
				   const struct kdbus_item *pids,
				   const struct kdbus_item *seclabel)
{
	struct kdbus_meta *meta = meta_alloc();
	int ret = 0;

	if (!meta)
		return ERR_PTR(-ENOMEM);
	if (creds)
		ret = fake_creds(meta, (void *)creds->data);
	if (!ret && pids)
		ret = fake_pids(meta, (void *)pids->data);
	if (!ret && seclabel) {
		meta->seclabel = kstrdup((char *)seclabel->data,
					 GFP_KERNEL_ACCOUNT);
		if (meta->seclabel)
			meta->have |= KDBUS_ATTACH_SECLABEL;
		else
			ret = -ENOMEM;
	}
	if (ret < 0) {
		kdbus_meta_unref(meta);
		return ERR_PTR(ret);
	}
	return meta;
}

/**
 * kdbus_meta_unhidden() - what a sender cannot withhold from a receiver
 * @meta:	of the sender, or NULL
 * @conn:	the receiver
 *
 * Return: KDBUS_ATTACH_*: what it would be told by other means.
 */
u64 kdbus_meta_unhidden(struct kdbus_meta *meta, struct kdbus_conn *conn)
{
	u64 mask = KDBUS_ATTACH_TIMESTAMP | KDBUS_ATTACH_CREDS |
		   KDBUS_ATTACH_PIDS | KDBUS_ATTACH_AUXGROUPS |
		   KDBUS_ATTACH_NAMES | KDBUS_ATTACH_CONN_DESCRIPTION;

	if (meta && pid_nr_ns(meta->pid, conn->pid_ns))
		mask |= KDBUS_ATTACH_TID_COMM | KDBUS_ATTACH_PID_COMM |
			KDBUS_ATTACH_EXE | KDBUS_ATTACH_CMDLINE |
			KDBUS_ATTACH_CGROUP | KDBUS_ATTACH_CAPS |
			KDBUS_ATTACH_SECLABEL | KDBUS_ATTACH_AUDIT;
	return mask;
}

/* An id that is not known stays so; one that is not mapped overflows. */
static u64 user_id(struct user_namespace *ns, kuid_t uid)
{
	return uid_valid(uid) ? from_kuid_munged(ns, uid) : (uid_t)-1;
}

static u64 group_id(struct user_namespace *ns, kgid_t gid)
{
	return gid_valid(gid) ? from_kgid_munged(ns, gid) : (gid_t)-1;
}

static void emit_creds(struct kdbus_blob *blob, struct kdbus_meta *meta,
		       struct user_namespace *ns)
{
	const struct kdbus_creds creds = {
		.uid = user_id(ns, meta->uids[0]),
		.euid = user_id(ns, meta->uids[1]),
		.suid = user_id(ns, meta->uids[2]),
		.fsuid = user_id(ns, meta->uids[3]),
		.gid = group_id(ns, meta->gids[0]),
		.egid = group_id(ns, meta->gids[1]),
		.sgid = group_id(ns, meta->gids[2]),
		.fsgid = group_id(ns, meta->gids[3]),
	};

	kdbus_blob_add(blob, KDBUS_ITEM_CREDS, &creds, sizeof(creds));
}

static void emit_pids(struct kdbus_blob *blob, struct kdbus_meta *meta,
		      struct pid_namespace *ns)
{
	const struct kdbus_pids pids = {
		.pid = pid_nr_ns(meta->pid, ns),
		.tid = pid_nr_ns(meta->tid, ns),
		.ppid = pid_nr_ns(meta->ppid, ns),
	};

	kdbus_blob_add(blob, KDBUS_ITEM_PIDS, &pids, sizeof(pids));
}

static void emit_auxgroups(struct kdbus_blob *blob, struct kdbus_meta *meta,
			   struct user_namespace *ns)
{
	const struct group_info *groups = meta->cred->group_info;
	u64 *to;
	int i;

	to = kdbus_blob_item(blob, KDBUS_ITEM_AUXGROUPS,
			     groups->ngroups * sizeof(u64));
	for (i = 0; to && i < groups->ngroups; i++)
		to[i] = group_id(ns, groups->gid[i]);
}

static void put_set(u32 *to, kernel_cap_t set)
{
	int cap;

	for (cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (cap_raised(set, cap))
			to[cap / 32] |= 1U << (cap % 32);
}

/*
 * What capabilities mean to the receiver: those of the sender's own user
 * namespace hold in it and those below, and its owner has all in one it made.
 */
static void emit_caps(struct kdbus_blob *blob, struct kdbus_meta *meta,
		      struct user_namespace *ns)
{
	const struct cred *cred = meta->cred;
	bool same = false, owner = false;
	struct kdbus_caps *to;

	for (; ns; ns = ns->parent) {
		same = ns == cred->user_ns;
		owner = !same && ns->parent == cred->user_ns &&
			uid_eq(ns->owner, cred->euid);
		if (same || owner)
			break;
	}
	to = kdbus_blob_item(blob, KDBUS_ITEM_CAPS,
			     sizeof(u32) * (1 + CAP_SETS * CAP_WORDS));
	if (!to)
		return;
	to->last_cap = CAP_LAST_CAP;
	if (same)
		put_set(to->caps, cred->cap_inheritable);
	if (same || owner) {
		put_set(to->caps + 1 * CAP_WORDS,
			owner ? CAP_FULL_SET : cred->cap_permitted);
		put_set(to->caps + 2 * CAP_WORDS,
			owner ? CAP_FULL_SET : cred->cap_effective);
		put_set(to->caps + 3 * CAP_WORDS,
			owner ? CAP_FULL_SET : cred->cap_bset);
	}
}

static void emit_audit(struct kdbus_blob *blob, struct kdbus_meta *meta,
		       struct user_namespace *ns)
{
	const struct kdbus_audit audit = {
		.sessionid = meta->sessionid,
		.loginuid = from_kuid(ns, meta->loginuid),
	};

	kdbus_blob_add(blob, KDBUS_ITEM_AUDIT, &audit, sizeof(audit));
}

/**
 * kdbus_meta_emit() - write metadata for a receiver
 * @blob:	where to
 * @meta:	what
 * @conn:	the receiver
 * @mask:	KDBUS_ATTACH_*: which of it
 */
void kdbus_meta_emit(struct kdbus_blob *blob, struct kdbus_meta *meta,
		     struct kdbus_conn *conn, u64 mask)
{
	struct user_namespace *ns = conn->cred->user_ns;

	mask &= meta->have;
	if (mask & KDBUS_ATTACH_CREDS)
		emit_creds(blob, meta, ns);
	if (mask & KDBUS_ATTACH_PIDS)
		emit_pids(blob, meta, conn->pid_ns);
	if (mask & KDBUS_ATTACH_AUXGROUPS)
		emit_auxgroups(blob, meta, ns);
	if (mask & KDBUS_ATTACH_TID_COMM)
		kdbus_blob_string(blob, KDBUS_ITEM_TID_COMM, meta->tid_comm);
	if (mask & KDBUS_ATTACH_PID_COMM)
		kdbus_blob_string(blob, KDBUS_ITEM_PID_COMM, meta->pid_comm);
	if (mask & KDBUS_ATTACH_EXE && path_equal(&meta->root, &conn->root))
		kdbus_blob_string(blob, KDBUS_ITEM_EXE, meta->exe);
	if (mask & KDBUS_ATTACH_CMDLINE)
		kdbus_blob_string(blob, KDBUS_ITEM_CMDLINE, meta->cmdline);
	if (mask & KDBUS_ATTACH_CGROUP)
		kdbus_blob_string(blob, KDBUS_ITEM_CGROUP, meta->cgroup);
	if (mask & KDBUS_ATTACH_CAPS)
		emit_caps(blob, meta, ns);
	if (mask & KDBUS_ATTACH_SECLABEL)
		kdbus_blob_string(blob, KDBUS_ITEM_SECLABEL, meta->seclabel);
	if (mask & KDBUS_ATTACH_AUDIT)
		emit_audit(blob, meta, ns);
}
