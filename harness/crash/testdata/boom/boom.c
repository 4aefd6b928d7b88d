// The module that made the logs: loading it with deed=NAME does one wrong thing.
#include <linux/module.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

static char *deed = "";
module_param(deed, charp, 0);

static DEFINE_SPINLOCK(lock);
static DEFINE_MUTEX(mtx);

static noinline void boom_warn(void) { WARN_ON(1); }
static noinline void boom_warn_text(void) { WARN(1, "boom: a warning with %s\n", "words"); }
static noinline void boom_bug(void) { BUG(); }
static noinline void boom_null(void) { *(volatile int *)8 = 1; }
static noinline void boom_gpf(void) { *(volatile int *)0xdead000000000100UL = 1; }
static noinline void boom_jump(void) { ((void (*)(void))0)(); }
static noinline void boom_panic(void) { panic("boom: giving up"); }

static noinline void boom_refcount(void)
{
	refcount_t r = REFCOUNT_INIT(0);

	refcount_inc(&r);
}

static noinline void boom_list(void)
{
	static LIST_HEAD(head);
	static struct list_head a, b;

	list_add(&a, &head);
	a.prev = &b;
	head.next = &b;
	list_add(&b, &head);
}

static noinline void boom_sleep(void)
{
	spin_lock(&lock);
	msleep(10);
	spin_unlock(&lock);
}

static noinline void boom_spin(void)
{
	unsigned long end = jiffies + 9 * HZ;

	preempt_disable();
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
}

// A stall needs a grace period under way, and so a second CPU to begin it.
static noinline void boom_rcu(void)
{
	start_poll_synchronize_rcu();
	boom_spin();
}

static noinline void boom_hang(void)
{
	mutex_lock(&mtx);
	mutex_lock(&mtx);
}

static const struct {
	const char *name;
	void (*run)(void);
} deeds[] = {
	{ "warn", boom_warn }, { "warn_text", boom_warn_text }, { "bug", boom_bug },
	{ "null", boom_null }, { "gpf", boom_gpf }, { "jump", boom_jump },
	{ "panic", boom_panic }, { "refcount", boom_refcount }, { "list", boom_list },
	{ "sleep", boom_sleep }, { "spin", boom_spin }, { "rcu", boom_rcu },
	{ "hang", boom_hang },
};

static int __init boom_init(void)
{
	int i;

	pr_info("boom: %s\n", deed);
	for (i = 0; i < ARRAY_SIZE(deeds); i++)
		if (!strcmp(deed, deeds[i].name))
			deeds[i].run();
	return -EAGAIN;
}
module_init(boom_init);
MODULE_LICENSE("GPL");
