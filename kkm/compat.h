/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every difference between the kernels this module builds for, 5.10 and later.
 * No other file looks at the version.
 */
#ifndef _KKM_COMPAT_H
#define _KKM_COMPAT_H

#include <linux/freezer.h>
#include <linux/kvm.h>
#include <linux/mm.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <linux/wait.h>
#include <asm/msr.h>
#include <asm/processor.h>

#define KKM_SINCE(major, minor) (LINUX_VERSION_CODE >= KERNEL_VERSION(major, minor, 0))

#if !KKM_SINCE(5, 10)
#error "kkm needs Linux 5.10 or later"
#endif

/* 5.11: system-call work as flag words of its own, and user dispatch. */
#if KKM_SINCE(5, 11)
#include <linux/entry-common.h>
static inline void kkm_block_syscalls(void)
{
	/* No selector and an empty allowed range: every system call traps. */
	current->syscall_dispatch.selector = NULL;
	current->syscall_dispatch.offset = 0;
	current->syscall_dispatch.len = 0;
	set_syscall_work(SYSCALL_USER_DISPATCH);
	/* Should dispatch ever let one through, emulation executes nothing. */
	set_syscall_work(SYSCALL_EMU);
}
#else
/* Here the stub's TRAP-all seccomp filter stands alone. */
static inline void kkm_block_syscalls(void) { }
#endif

/* 5.11: migrate_disable() that may sleep. */
#if KKM_SINCE(5, 11)
static inline void kkm_hold_cpu(void)
{
	migrate_disable();
}

static inline void kkm_release_cpu(void)
{
	migrate_enable();
}
#else
static inline void kkm_hold_cpu(void) { }
static inline void kkm_release_cpu(void) { }
#endif

/*
 * 5.11: charging a page to a cgroup no longer uses the field that counts its
 * mappings; before, a page that user space maps must not be charged.
 */
#if KKM_SINCE(5, 11)
#define KKM_GFP_MAPPED GFP_KERNEL_ACCOUNT
#else
#define KKM_GFP_MAPPED GFP_KERNEL
#endif

/* 5.17: the number is in <linux/kvm.h>. */
#ifndef KVM_GET_XSAVE2
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, struct kvm_xsave)
#define KVM_CAP_XSAVE2 208
#endif

/* 5.16: look a page up without faulting it in; 0 turns fault-around off. */
#if KKM_SINCE(5, 16)
#define KKM_FOLL_PRESENT FOLL_NOFAULT
#else
#define KKM_FOLL_PRESENT 0
#endif

/* 5.17 and 6.12: arguments of dequeue_signal(). */
static inline int kkm_dequeue_signal(sigset_t *mask, kernel_siginfo_t *info)
{
#if KKM_SINCE(5, 17)
	enum pid_type type;
#endif
#if KKM_SINCE(6, 12)
	return dequeue_signal(mask, info, &type);
#elif KKM_SINCE(5, 17)
	return dequeue_signal(current, mask, info, &type);
#else
	return dequeue_signal(current, mask, info);
#endif
}

/*
 * Wait as a parked thread: killable, freezable, and not counted in the load
 * average, since a guest that waits for its monitor is no load. 0, or
 * -ERESTARTSYS when a fatal signal came first.
 *
 * 6.1: freezable as a task state; before, a flag around the wait, and there
 * wait.h takes a killable state with another bit only if the compiler does not
 * see its value.
 */
#if KKM_SINCE(6, 1)
#define kkm_wait_parked(wq, cond) \
	wait_event_state(wq, cond, (TASK_KILLABLE | TASK_FREEZABLE | TASK_NOLOAD))
#else
static inline int kkm_parked_state(void)
{
	int state = TASK_KILLABLE | TASK_NOLOAD;

	OPTIMIZER_HIDE_VAR(state);
	return state;
}

#define kkm_wait_parked(wq, cond)						\
({										\
	int __kkm_ret = 0;							\
										\
	freezer_do_not_count();							\
	if (!(cond))								\
		__kkm_ret = ___wait_event(wq, cond, kkm_parked_state(), 0, 0,	\
					  schedule());				\
	freezer_count();							\
	__kkm_ret;								\
})
#endif

/* 6.3: vm_flags only through accessors. */
static inline void kkm_vm_flags(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
#if KKM_SINCE(6, 3)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

/* 6.3: load_gs_index() in a header of its own; paravirtualized kernels have it anyway. */
#if KKM_SINCE(6, 3)
#include <asm/gsseg.h>
#else
#include <asm/special_insns.h>
#endif

/* 6.5: the vmas argument is gone. The mmap lock of mm is held and stays held. */
static inline long kkm_get_pages(struct mm_struct *mm, unsigned long addr, unsigned long n,
				 unsigned int flags, struct page **pages)
{
#if KKM_SINCE(6, 5)
	return get_user_pages_remote(mm, addr, n, flags, pages, NULL);
#else
	return get_user_pages_remote(mm, addr, n, flags, pages, NULL, NULL);
#endif
}

/* 6.10: the name warns KVM of reading what user space can change. */
#if KKM_SINCE(6, 10)
#define kkm_immediate_exit(run) READ_ONCE((run)->immediate_exit__unsafe)
#else
#define kkm_immediate_exit(run) READ_ONCE((run)->immediate_exit)
#endif

/* 6.16: MSR accessors renamed, cpuid() moved. */
#if KKM_SINCE(6, 16)
#include <asm/cpuid/api.h>
#define kkm_rdmsr(msr, val) rdmsrq(msr, val)
#define kkm_wrmsr(msr, val) wrmsrq(msr, val)
#else
#define kkm_rdmsr(msr, val) rdmsrl(msr, val)
#define kkm_wrmsr(msr, val) wrmsrl(msr, val)
#endif

/* 6.19: the rseq pointer moved into a structure. */
static inline bool kkm_rseq_registered(void)
{
#if !IS_ENABLED(CONFIG_RSEQ)
	return false;
#elif KKM_SINCE(6, 19)
	return current->rseq.usrptr;
#else
	return current->rseq;
#endif
}

#endif /* _KKM_COMPAT_H */
