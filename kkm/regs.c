// SPDX-License-Identifier: GPL-2.0-only
/* General registers, segment bases, and the system registers KVM would show. */
#include <linux/ptrace.h>
#include <linux/uaccess.h>
#include <asm/fsgsbase.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>

#include "kkm.h"

/* Flags a guest may have; the rest is Linux's. */
#define GUEST_FLAGS	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF |	\
			 X86_EFLAGS_SF | X86_EFLAGS_DF | X86_EFLAGS_OF | X86_EFLAGS_AC |	\
			 X86_EFLAGS_TF | X86_EFLAGS_RF | X86_EFLAGS_ID)

#define MAX_MSRS	256	/* as KVM */

static u64 read_fs_base(void)
{
	u64 base;

	if (boot_cpu_has(X86_FEATURE_FSGSBASE))
		return rdfsbase();
	kkm_rdmsr(MSR_FS_BASE, base);
	return base;
}

/* In the kernel the user's GS base waits in the swapgs register. */
static u64 read_gs_base(void)
{
	u64 base;

	kkm_rdmsr(MSR_KERNEL_GS_BASE, base);
	return base;
}

static void write_fs_base(struct kkm_vcpu *v, u64 base)
{
	preempt_disable();	/* register and thread field change together */
	loadsegment(fs, 0);
	current->thread.fsindex = 0;
	kkm_wrmsr(MSR_FS_BASE, base);
	current->thread.fsbase = base;
	preempt_enable();
	v->live_fs_base = base;
}

static void write_gs_base(struct kkm_vcpu *v, u64 base)
{
	preempt_disable();
	load_gs_index(0);
	current->thread.gsindex = 0;
	kkm_wrmsr(MSR_KERNEL_GS_BASE, base);
	current->thread.gsbase = base;
	preempt_enable();
	v->live_gs_base = base;
}

/* Whatever the companion inherited from the monitor goes. */
void kkm_clear_segments(struct kkm_vcpu *v)
{
	loadsegment(ds, 0);
	loadsegment(es, 0);
	write_fs_base(v, 0);
	write_gs_base(v, 0);
}

/* In the guest thread, at an exit. */
void kkm_save_regs(struct kkm_vcpu *v, const struct pt_regs *p)
{
	struct kvm_regs *r = &v->regs;

	r->rax = p->ax;
	r->rbx = p->bx;
	r->rcx = p->cx;
	r->rdx = p->dx;
	r->rsi = p->si;
	r->rdi = p->di;
	r->rsp = p->sp;
	r->rbp = p->bp;
	r->r8 = p->r8;
	r->r9 = p->r9;
	r->r10 = p->r10;
	r->r11 = p->r11;
	r->r12 = p->r12;
	r->r13 = p->r13;
	r->r14 = p->r14;
	r->r15 = p->r15;
	r->rip = p->ip;
	r->rflags = p->flags;
	if (v->debug.control & KVM_GUESTDBG_SINGLESTEP)
		r->rflags &= ~X86_EFLAGS_TF;
	v->fs_base = v->live_fs_base = read_fs_base();
	v->gs_base = v->live_gs_base = read_gs_base();
}

/* In the guest thread, at an entry: every field is overwritten, every flag checked. */
void kkm_load_regs(struct kkm_vcpu *v, struct pt_regs *p)
{
	const struct kvm_regs *r = &v->regs;

	p->ax = r->rax;
	p->bx = r->rbx;
	p->cx = r->rcx;
	p->dx = r->rdx;
	p->si = r->rsi;
	p->di = r->rdi;
	p->sp = r->rsp;
	p->bp = r->rbp;
	p->r8 = r->r8;
	p->r9 = r->r9;
	p->r10 = r->r10;
	p->r11 = r->r11;
	p->r12 = r->r12;
	p->r13 = r->r13;
	p->r14 = r->r14;
	p->r15 = r->r15;
	p->ip = r->rip;
	p->flags = (r->rflags & GUEST_FLAGS) | X86_EFLAGS_IF | X86_EFLAGS_FIXED;
	if (v->debug.control & KVM_GUESTDBG_SINGLESTEP)
		p->flags |= X86_EFLAGS_TF;
	p->cs = __USER_CS;
	p->ss = __USER_DS;
	p->orig_ax = -1;
	if (v->fs_base != v->live_fs_base)
		write_fs_base(v, v->fs_base);
	if (v->gs_base != v->live_gs_base)
		write_gs_base(v, v->gs_base);
}

static struct kvm_segment segment(u16 selector, u8 type, u64 base)
{
	return (struct kvm_segment) {
		.base = base, .limit = 0xffffffff, .selector = selector, .type = type,
		.present = 1, .dpl = 3, .s = 1, .g = 1,
	};
}

/*
 * Constants of a 64-bit user-mode machine but for the bases and CR2. Nothing of
 * the host's own control registers is shown.
 */
void kkm_get_sregs(const struct kkm_vcpu *v, struct kvm_sregs *s)
{
	memset(s, 0, sizeof(*s));
	s->cs = segment(__USER_CS, 11, 0);
	s->cs.l = 1;
	s->ss = segment(__USER_DS, 3, 0);
	s->ss.db = 1;
	s->ds = s->es = segment(0, 3, 0);
	s->fs = segment(0, 3, v->fs_base);
	s->gs = segment(0, 3, v->gs_base);
	s->cr0 = X86_CR0_PE | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM |
		 X86_CR0_PG;
	s->cr2 = v->cr2;
	s->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE |
		 X86_CR4_FSGSBASE;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NX;
}

static bool valid_base(u64 base)
{
	return base < TASK_SIZE_MAX;
}

int kkm_set_sregs(struct kkm_vcpu *v, const struct kvm_sregs *s)
{
	if (!valid_base(s->fs.base) || !valid_base(s->gs.base))
		return -EINVAL;
	v->fs_base = s->fs.base;
	v->gs_base = s->gs.base;
	v->cr2 = s->cr2;
	return 0;
}

/* KVM_SET_MSRS: FS and GS base are set, the others have no meaning here. */
long kkm_set_msrs(struct kkm_vcpu *v, struct kvm_msrs __user *arg)
{
	u32 n, i;

	if (get_user(n, &arg->nmsrs))
		return -EFAULT;
	if (n >= MAX_MSRS)
		return -E2BIG;
	for (i = 0; i < n; i++) {
		struct kvm_msr_entry e;

		if (copy_from_user(&e, &arg->entries[i], sizeof(e)))
			return -EFAULT;
		if (e.index != MSR_FS_BASE && e.index != MSR_GS_BASE)
			continue;
		if (!valid_base(e.data))
			break;
		if (e.index == MSR_FS_BASE)
			v->fs_base = e.data;
		else
			v->gs_base = e.data;
	}
	return i;
}

/* KVM_GET_MSRS: stops at the first it does not know, like KVM. */
long kkm_get_msrs(struct kkm_vcpu *v, struct kvm_msrs __user *arg)
{
	u32 n, i;

	if (get_user(n, &arg->nmsrs))
		return -EFAULT;
	if (n >= MAX_MSRS)
		return -E2BIG;
	for (i = 0; i < n; i++) {
		u32 index;

		if (get_user(index, &arg->entries[i].index))
			return -EFAULT;
		if (index != MSR_FS_BASE && index != MSR_GS_BASE)
			break;
		if (put_user(index == MSR_FS_BASE ? v->fs_base : v->gs_base,
			     &arg->entries[i].data))
			return -EFAULT;
	}
	return i;
}
