// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_SET_GUEST_DEBUG. Single step is TF, set at each entry. Hardware
 * breakpoints are Linux's own, on the guest thread, and never in the kernel.
 */
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <asm/debugreg.h>

#include "kkm.h"

#define DEBUG_KNOWN	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |	\
			 KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP)

/* In the #DB handler: say which one it was, then Linux sends SIGTRAP. */
static void triggered(struct perf_event *bp, struct perf_sample_data *data, struct pt_regs *regs)
{
	struct kkm_vcpu *v = bp->overflow_handler_context;
	int i;

	for (i = 0; i < 4; i++)
		if (v->hw_bp[i] == bp)
			current->thread.virtual_dr6 |= DR_TRAP0 << i;
}

void kkm_clear_debug(struct kkm_vcpu *v)
{
	int i;

	for (i = 0; i < 4; i++) {
		struct perf_event *bp = v->hw_bp[i];

		if (!bp)
			continue;
		unregister_hw_breakpoint(bp);
		v->hw_bp[i] = NULL;
	}
}

/* DR7's fields for breakpoint i (SDM volume 3, 17.2.4) as perf wants them. */
static int fill_attr(struct perf_event_attr *attr, u64 addr, u64 dr7, int i)
{
	static const u8 lengths[] = { HW_BREAKPOINT_LEN_1, HW_BREAKPOINT_LEN_2,
				      HW_BREAKPOINT_LEN_8, HW_BREAKPOINT_LEN_4 };
	unsigned int control = dr7 >> (DR_CONTROL_SHIFT + i * DR_CONTROL_SIZE);

	/* perf lets root watch the kernel; a guest's debugger has no business there. */
	if (addr >= TASK_SIZE_MAX - sizeof(long))
		return -EINVAL;
	hw_breakpoint_init(attr);
	attr->exclude_kernel = 1;
	attr->bp_addr = addr;
	attr->bp_len = lengths[(control >> 2) & 3];
	switch (control & 3) {
	case 0:
		attr->bp_type = HW_BREAKPOINT_X;
		attr->bp_len = sizeof(long);
		return 0;
	case 1:
		attr->bp_type = HW_BREAKPOINT_W;
		return 0;
	case 3:
		attr->bp_type = HW_BREAKPOINT_RW;
		return 0;
	}
	return -EINVAL;	/* I/O breakpoints */
}

static int set_breakpoints(struct kkm_vcpu *v, const __u64 *dr)
{
	int i, r = kkm_wait_ready(v);	/* they belong to the thread */

	for (i = 0; !r && i < 4; i++) {
		struct perf_event_attr attr;
		struct perf_event *bp;

		if (!(dr[7] & (3ULL << (i * DR_ENABLE_SIZE))))
			continue;
		r = fill_attr(&attr, dr[i], dr[7], i);
		if (r)
			break;
		bp = register_user_hw_breakpoint(&attr, triggered, v, v->task);
		if (IS_ERR(bp))
			r = PTR_ERR(bp);
		else
			v->hw_bp[i] = bp;
	}
	return r;
}

/* Replaces what was set before; on an error nothing is set. */
int kkm_set_debug(struct kkm_vcpu *v, const struct kvm_guest_debug *dbg)
{
	int r = 0;

	if (dbg->control & ~DEBUG_KNOWN)
		return -EINVAL;
	kkm_clear_debug(v);
	v->debug.control = 0;
	if (!(dbg->control & KVM_GUESTDBG_ENABLE))
		return 0;
	if (dbg->control & KVM_GUESTDBG_USE_HW_BP)
		r = set_breakpoints(v, dbg->arch.debugreg);
	if (r)
		kkm_clear_debug(v);
	else
		v->debug = *dbg;
	return r;
}
