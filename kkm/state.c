// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vector state and the rest of KVM's state ioctls. Linux keeps the guest
 * thread's vector registers; to see or change them the parked thread executes
 * XSAVE or XRSTOR in user mode, in the stub, on a page we share with it. A bad
 * image is then a user-mode #GP, and no kernel interface is needed.
 */
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kkm.h"

#define MAX_CPUID_ENTRIES	256		/* as KVM */
#define XSAVE_BV_OFFSET		512
#define XFEATURES_LEGACY	0x3ULL		/* x87 and SSE */
#define MXCSR_ALL		0xffffU
#define XFEATURE_PKRU_NR	9
#define XFEATURES_BEYOND_4K	(~0ULL << 17)	/* AMX tiles and what may follow */

/* FXSAVE's first fields (SDM volume 1, table 10-2). */
struct kkm_fxsave {
	u16 fcw, fsw;
	u8 ftw, reserved;
	u16 fop;
	u64 rip, rdp;
	u32 mxcsr, mxcsr_mask;
	u8 st[8][16];
	u8 xmm[16][16];
};

/* Reserved bits, which XRSTOR may answer with #GP or, in emulators, swallow. */
static bool valid_mxcsr(u32 mxcsr)
{
	return !(mxcsr & ~MXCSR_ALL);
}

/* Have the parked thread run a stub entry. 0, -EINVAL for a bad image, or -errno. */
static int run_job(struct kkm_vcpu *v, enum kkm_job job)
{
	int r = kkm_wait_ready(v);

	if (r)
		return r;
	v->job = job;
	r = kkm_enter_job(v);
	v->job = KKM_JOB_GUEST;
	return r ? r : v->job_result;
}

static int need_scratch(struct kkm_vcpu *v)
{
	void *scratch;

	if (v->scratch)
		return 0;
	scratch = alloc_pages_exact(KKM_SCRATCH_SIZE, KKM_GFP_MAPPED | __GFP_ZERO);
	if (!scratch)
		return -ENOMEM;
	smp_store_release(&v->scratch, scratch);	/* the fault handler reads it */
	return 0;
}

/* The stub had to open PKRU to store at all; put the value it found in place. */
static void patch_pkru(struct kkm_vcpu *v)
{
	u32 size, offset, ecx, edx;

	if (!boot_cpu_has(X86_FEATURE_OSPKE))
		return;
	cpuid_count(0xd, XFEATURE_PKRU_NR, &size, &offset, &ecx, &edx);
	if (!offset || offset + sizeof(u32) > KKM_SCRATCH_SIZE)
		return;
	*(u32 *)(v->scratch + offset) = v->job_pkru;
	*(u64 *)(v->scratch + XSAVE_BV_OFFSET) |= BIT_ULL(XFEATURE_PKRU_NR);
}

static int fetch_image(struct kkm_vcpu *v)
{
	int r = need_scratch(v);

	if (r)
		return r;
	memset(v->scratch, 0, KKM_SCRATCH_SIZE);
	r = run_job(v, KKM_JOB_XSAVE);
	if (!r)
		patch_pkru(v);
	return r;
}

static long get_xsave(struct kkm_vcpu *v, void __user *arg, size_t size)
{
	int r = fetch_image(v);

	if (r)
		return r;
	if (size == sizeof(struct kvm_xsave))
		*(u64 *)(v->scratch + XSAVE_BV_OFFSET) &= ~XFEATURES_BEYOND_4K;
	return copy_to_user(arg, v->scratch, size) ? -EFAULT : 0;
}

/* KVM_SET_XSAVE: as long as KVM_CAP_XSAVE2 says, if the image uses that much. */
static long set_xsave(struct kkm_vcpu *v, void __user *arg)
{
	const size_t base = sizeof(struct kvm_xsave);
	size_t size = kkm_xsave_size();
	int r = need_scratch(v);
	u64 features;

	if (r)
		return r;
	memset(v->scratch, 0, KKM_SCRATCH_SIZE);
	if (copy_from_user(v->scratch, arg, base))
		return -EFAULT;
	features = *(u64 *)(v->scratch + XSAVE_BV_OFFSET);
	if ((features & ~kkm_xcr0()) || !valid_mxcsr(((struct kkm_fxsave *)v->scratch)->mxcsr))
		return -EINVAL;
	if ((features & XFEATURES_BEYOND_4K) && size > base &&
	    copy_from_user(v->scratch + base, arg + base, size - base))
		return -EFAULT;
	return run_job(v, KKM_JOB_XRSTOR);
}

static long get_fpu(struct kkm_vcpu *v, void __user *arg)
{
	const struct kkm_fxsave *fx;
	struct kvm_fpu fpu = {};
	int r = fetch_image(v);

	if (r)
		return r;
	fx = v->scratch;
	memcpy(fpu.fpr, fx->st, sizeof(fpu.fpr));
	fpu.fcw = fx->fcw;
	fpu.fsw = fx->fsw;
	fpu.ftwx = fx->ftw;
	fpu.last_opcode = fx->fop;
	fpu.last_ip = fx->rip;
	fpu.last_dp = fx->rdp;
	memcpy(fpu.xmm, fx->xmm, sizeof(fpu.xmm));
	fpu.mxcsr = fx->mxcsr;
	return copy_to_user(arg, &fpu, sizeof(fpu)) ? -EFAULT : 0;
}

static long set_fpu(struct kkm_vcpu *v, void __user *arg)
{
	struct kkm_fxsave *fx;
	struct kvm_fpu fpu;
	int r;

	if (copy_from_user(&fpu, arg, sizeof(fpu)))
		return -EFAULT;
	if (!valid_mxcsr(fpu.mxcsr))
		return -EINVAL;
	r = fetch_image(v);
	if (r)
		return r;
	fx = v->scratch;
	memcpy(fx->st, fpu.fpr, sizeof(fpu.fpr));
	fx->fcw = fpu.fcw;
	fx->fsw = fpu.fsw;
	fx->ftw = fpu.ftwx;
	fx->fop = fpu.last_opcode;
	fx->rip = fpu.last_ip;
	fx->rdp = fpu.last_dp;
	memcpy(fx->xmm, fpu.xmm, sizeof(fpu.xmm));
	fx->mxcsr = fpu.mxcsr;
	*(u64 *)(v->scratch + XSAVE_BV_OFFSET) |= XFEATURES_LEGACY;
	return run_job(v, KKM_JOB_XRSTOR);
}

/* The guest reads the host's XCR0 natively, so no other value can be promised. */
static long get_xcrs(void __user *arg)
{
	struct kvm_xcrs *x = kzalloc(sizeof(*x), GFP_KERNEL);
	long r;

	if (!x)
		return -ENOMEM;
	x->nr_xcrs = 1;
	x->xcrs[0].value = kkm_xcr0();
	r = copy_to_user(arg, x, sizeof(*x)) ? -EFAULT : 0;
	kfree(x);
	return r;
}

static long set_xcrs(void __user *arg)
{
	struct kvm_xcrs *x = memdup_user(arg, sizeof(*x));
	long r = 0;
	u32 i;

	if (IS_ERR(x))
		return PTR_ERR(x);
	if (x->nr_xcrs > KVM_MAX_XCRS || x->flags)
		r = -EINVAL;
	for (i = 0; !r && i < x->nr_xcrs; i++)
		if (x->xcrs[i].xcr == 0 && x->xcrs[i].value != kkm_xcr0())
			r = -EINVAL;
	kfree(x);
	return r;
}

/* A guest thread takes no events from outside: always none pending. */
static long get_events(void __user *arg)
{
	struct kvm_vcpu_events events = {};

	return copy_to_user(arg, &events, sizeof(events)) ? -EFAULT : 0;
}

static long set_events(void __user *arg)
{
	struct kvm_vcpu_events events;

	if (copy_from_user(&events, arg, sizeof(events)))
		return -EFAULT;
	return events.exception.injected || events.interrupt.injected || events.nmi.injected ?
	       -EINVAL : 0;
}

static long get_mp_state(void __user *arg)
{
	struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };

	return copy_to_user(arg, &mp, sizeof(mp)) ? -EFAULT : 0;
}

static long set_mp_state(void __user *arg)
{
	struct kvm_mp_state mp;

	if (copy_from_user(&mp, arg, sizeof(mp)))
		return -EFAULT;
	return mp.mp_state == KVM_MP_STATE_RUNNABLE ? 0 : -EINVAL;
}

/* CPUID executes natively: the table is checked for form and not kept. */
static long set_cpuid(struct kvm_cpuid2 __user *arg)
{
	u32 n;

	if (get_user(n, &arg->nent))
		return -EFAULT;
	return n > MAX_CPUID_ENTRIES ? -E2BIG : 0;
}

long kkm_state_ioctl(struct kkm_vcpu *v, unsigned int cmd, void __user *arg)
{
	switch (cmd) {
	case KVM_GET_XSAVE:
		return get_xsave(v, arg, sizeof(struct kvm_xsave));
	case KVM_GET_XSAVE2:
		return get_xsave(v, arg, kkm_xsave_size());
	case KVM_SET_XSAVE:
		return set_xsave(v, arg);
	case KVM_GET_FPU:
		return get_fpu(v, arg);
	case KVM_SET_FPU:
		return set_fpu(v, arg);
	case KVM_GET_XCRS:
		return get_xcrs(arg);
	case KVM_SET_XCRS:
		return set_xcrs(arg);
	case KVM_GET_VCPU_EVENTS:
		return get_events(arg);
	case KVM_SET_VCPU_EVENTS:
		return set_events(arg);
	case KVM_GET_MP_STATE:
		return get_mp_state(arg);
	case KVM_SET_MP_STATE:
		return set_mp_state(arg);
	case KVM_GET_CPUID2:
		return kkm_get_cpuid(arg);
	case KVM_SET_CPUID2:
		return set_cpuid(arg);
	}
	return -ENOTTY;
}
