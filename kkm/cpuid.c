// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID as KVM reports it. A guest executes the instruction natively, so this
 * is what it will see, less virtualization, which it cannot use.
 */
#include <linux/kernel.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kkm.h"

#define CPUID_MAX		128
#define CPUID_BASIC_LAST	0x1f
#define CPUID_EXTENDED		0x80000000
#define CPUID_EXTENDED_LAST	0x80000008
#define VMX_BIT			BIT(5)	/* leaf 1 ECX */
#define SVM_BIT			BIT(2)	/* leaf 0x80000001 ECX */

static DEFINE_MUTEX(cpuid_lock);
static struct kvm_cpuid_entry2 *cpuid_cache;	/* filled once: CPUID traps inside a VM */
static u32 cpuid_count_cached;

/* Leaves with subleaves; how many are worth asking for. */
static u32 subleaves(u32 leaf)
{
	switch (leaf) {
	case 4: case 0xb: case 0x1f:
		return 8;
	case 7:
		return 3;
	case 0xd:
		return 20;
	case 0x14: case 0x1d:
		return 2;
	}
	return 1;
}

static void add_leaf(struct kvm_cpuid_entry2 *e, u32 *n, u32 leaf)
{
	u32 i, count = subleaves(leaf);

	for (i = 0; i < count && *n < CPUID_MAX; i++) {
		struct kvm_cpuid_entry2 *x = &e[*n];

		memset(x, 0, sizeof(*x));
		x->function = leaf;
		x->index = i;
		x->flags = count > 1 ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
		cpuid_count(leaf, i, &x->eax, &x->ebx, &x->ecx, &x->edx);
		if (i && !(x->eax | x->ebx | x->ecx | x->edx))
			continue;
		if (leaf == 1)
			x->ecx &= ~VMX_BIT;
		if (leaf == 0x80000001)
			x->ecx &= ~SVM_BIT;
		++*n;
	}
}

static int fill_cache(void)
{
	struct kvm_cpuid_entry2 *e;
	u32 n = 0, leaf, last;

	e = kcalloc(CPUID_MAX, sizeof(*e), GFP_KERNEL);
	if (!e)
		return -ENOMEM;
	last = min_t(u32, cpuid_eax(0), CPUID_BASIC_LAST);
	for (leaf = 0; leaf <= last; leaf++)
		add_leaf(e, &n, leaf);
	last = min_t(u32, cpuid_eax(CPUID_EXTENDED), CPUID_EXTENDED_LAST);
	for (leaf = CPUID_EXTENDED; leaf <= last; leaf++)
		add_leaf(e, &n, leaf);
	cpuid_count_cached = n;
	cpuid_cache = e;
	return 0;
}

/* KVM_GET_SUPPORTED_CPUID: E2BIG when there is no room, like KVM. */
long kkm_get_cpuid(struct kvm_cpuid2 __user *arg)
{
	u32 room, n;
	long r = 0;

	if (get_user(room, &arg->nent))
		return -EFAULT;
	mutex_lock(&cpuid_lock);
	if (!cpuid_cache)
		r = fill_cache();
	mutex_unlock(&cpuid_lock);
	if (r)
		return r;
	n = cpuid_count_cached;
	if (room < n)
		return -E2BIG;
	if (put_user(n, &arg->nent) ||
	    copy_to_user(arg->entries, cpuid_cache, n * sizeof(*cpuid_cache)))
		return -EFAULT;
	return 0;
}

void kkm_cpuid_exit(void)
{
	kfree(cpuid_cache);
}

/* XCR0: what user mode may use of the vector state (SDM volume 1, 13.3). */
u64 kkm_xcr0(void)
{
	u32 lo, hi;

	/* CR4.OSXSAVE is set: checked when the module was loaded. */
	asm volatile("xgetbv" : "=a" (lo), "=d" (hi) : "c" (0));
	return lo | (u64)hi << 32;
}

/* Bytes of a standard-format XSAVE image with everything in XCR0. */
unsigned int kkm_xsave_size(void)
{
	u32 eax, ebx, ecx, edx;

	cpuid_count(0xd, 0, &eax, &ebx, &ecx, &edx);
	return max_t(u32, ebx, sizeof(struct kvm_xsave));
}
