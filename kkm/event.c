// SPDX-License-Identifier: GPL-2.0-only
/*
 * The hook. Linux forces a signal on the guest thread for each system call and
 * exception; the signal_generate tracepoint sees it generated and pushes our
 * task work, which get_signal() runs before it dequeues any signal. So the
 * signal is ours before it could be delivered.
 */
#include <linux/audit.h>
#include <linux/hashtable.h>
#include <linux/ptrace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/tracepoint.h>
#include <asm/debugreg.h>
#include <asm/trap_pf.h>
#include <asm/trapnr.h>
#include <asm/vsyscall.h>

#include "kkm.h"

/* Errors of a page fault that mapping the page does not cure (SDM volume 3, 4.7). */
#define PF_SHADOW_STACK	BIT(6)
#define PF_SGX		BIT(15)
#define PF_HOPELESS	(X86_PF_RSVD | X86_PF_PK | PF_SHADOW_STACK | PF_SGX)

/* In thread.trap_nr while nothing has trapped since the guest was entered; every exception sets it. */
#define NO_TRAP		(~0UL)

static DEFINE_HASHTABLE(threads, 9);
static DEFINE_SPINLOCK(kkm_threads_lock);
static struct tracepoint *signal_generate;

static struct kkm_vcpu *find_thread(const struct task_struct *task)
{
	struct kkm_vcpu *v;

	hash_for_each_possible_rcu(threads, v, thread_node, (unsigned long)task)
		if (v->task == task)
			return v;
	return NULL;
}

/* This thread's vCPU, or NULL. It outlives the thread, so no lock is needed after. */
struct kkm_vcpu *kkm_current(void)
{
	struct kkm_vcpu *v;

	rcu_read_lock();
	v = find_thread(current);
	rcu_read_unlock();
	return v;
}

/*
 * Queue a work, as task_work_add() does (which is not exported). Not on a task
 * that exits: Linux closes its list then, which a push would open again. The
 * flag is set before the list is closed, so that a head read before the flag was
 * seen clear is not the closed one.
 */
static void push(struct task_struct *t, struct kkm_work *work)
{
	struct callback_head *head;

	if (atomic_xchg(&work->queued, 1))
		return;
	do {
		head = READ_ONCE(t->task_works);
		smp_rmb();
		if (READ_ONCE(t->flags) & PF_EXITING)
			return;
		work->head.next = head;
	} while (cmpxchg(&t->task_works, head, &work->head) != head);
}

/*
 * From the guest thread itself, or with its siglock held: so a signal forced on
 * it never finds this work announced by someone who has not linked it yet, for
 * then Linux would deliver the signal.
 */
void kkm_push(struct kkm_vcpu *v)
{
	push(v->task, &v->work);
}

/* Make a running guest park, from another thread; without its siglock, hence by a work of its own. */
void kkm_kick(struct kkm_vcpu *v)
{
	kkm_count(kicks);
	atomic_set(&v->kick, 1);
	smp_mb__after_atomic();	/* kick before queued: the work reads the other way */
	push(v->task, &v->kick_work);
	set_tsk_thread_flag(v->task, TIF_NOTIFY_RESUME);
	kick_process(v->task);
}

/* Runs with the target's siglock held, for every signal in the system. */
static void probe_signal(void *data, int sig, struct kernel_siginfo *info,
			 struct task_struct *task, int group, int result)
{
	struct kkm_vcpu *v;

	rcu_read_lock();
	v = find_thread(task);
	if (v)
		kkm_push(v);
	rcu_read_unlock();
}

/* Dequeue one of the signals that faults and system calls force; 0: none. */
static int take_signal(kernel_siginfo_t *info)
{
	/* A running thread never loses its own. */
	struct sighand_struct *sighand = rcu_dereference_protected(current->sighand, true);
	sigset_t blocked;
	int sig;

	siginitsetinv(&blocked, sigmask(SIGSEGV) | sigmask(SIGBUS) | sigmask(SIGILL) |
				sigmask(SIGTRAP) | sigmask(SIGFPE) | sigmask(SIGSYS));
	clear_siginfo(info);
	spin_lock_irq(&sighand->siglock);
	sig = kkm_dequeue_signal(&blocked, info);
	spin_unlock_irq(&sighand->siglock);
	return sig;
}

static bool exit_exception(struct kkm_vcpu *v, u32 vector, u32 error)
{
	v->exit = (struct kkm_exit) {
		.reason = KVM_EXIT_EXCEPTION, .vector = vector, .error = error,
	};
	return true;
}

/* True when the guest is to blame and exits. */
static bool page_fault(struct kkm_vcpu *v, unsigned long addr, unsigned int error)
{
	u32 why = KKM_FAULT_NO_SLOT;

	if (addr < TASK_SIZE_MAX && !(error & PF_HOPELESS)) {
		int r = kkm_resolve(v, addr, error, &why);

		if (!r || r == -EINTR)
			return false;
		if (why == KKM_FAULT_PROT)
			error |= X86_PF_PROT;
		else if (why == KKM_WHY_HIDDEN)
			why = KKM_FAULT_PROT;
	} else if (error & X86_PF_PK) {
		why = KKM_FAULT_PROT;
	}
	kkm_count(faults_failed);
	exit_exception(v, X86_TRAP_PF, error);
	v->exit.cr2 = addr;
	v->exit.flags = why;
	v->cr2 = addr;
	return true;
}

static bool exit_syscall(struct kkm_vcpu *v, const kernel_siginfo_t *info)
{
	unsigned long from = (unsigned long)info->si_call_addr;

	v->exit = (struct kkm_exit) { .reason = KKM_EXIT_SYSCALL };
	if (info->si_arch != AUDIT_ARCH_X86_64)
		v->exit.flags |= KKM_SYSCALL_32BIT;
	if ((from & PAGE_MASK) == VSYSCALL_ADDR)
		v->exit.flags |= KKM_SYSCALL_VSYSCALL;
	return true;
}

static bool debug_exit_wanted(const struct kkm_vcpu *v, u32 vector)
{
	u32 control = v->debug.control;

	if (!(control & KVM_GUESTDBG_ENABLE))
		return false;
	if (vector == X86_TRAP_BP)
		return control & KVM_GUESTDBG_USE_SW_BP;
	return control & (KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP);
}

/* True when the guest exits; false when the cause is dealt with. */
static bool decode_signal(struct kkm_vcpu *v, struct pt_regs *p, int sig,
			  const kernel_siginfo_t *info)
{
	u32 vector = current->thread.trap_nr, error = current->thread.error_code;

	if (sig == SIGSYS)
		return exit_syscall(v, info);
	if (sig == SIGBUS && info->si_code == BUS_MCEERR_AR)
		return exit_exception(v, X86_TRAP_MC, 0);
	if (vector == X86_TRAP_PF)
		return page_fault(v, current->thread.cr2, error);
	exit_exception(v, vector, error);
	if ((vector == X86_TRAP_DB || vector == X86_TRAP_BP) && debug_exit_wanted(v, vector)) {
		v->exit.reason = KVM_EXIT_DEBUG;
		if (vector == X86_TRAP_DB)
			v->exit.dr6 = current->thread.virtual_dr6 | DR6_RESERVED;
		else
			p->ip--;	/* the debugger looks at the int3, not behind it */
	}
	return true;
}

/*
 * A signal that someone sends in the instant between get_signal()'s look at the
 * works and its dequeuing is delivered by Linux, which finds no restorer, leaves
 * the registers alone and forces SIGSEGV instead. Nothing has trapped then. A
 * call into the vsyscall page that goes wrong looks the same, but for where it is.
 */
static bool slipped(const struct pt_regs *p, int sig, const kernel_siginfo_t *info)
{
	return sig == SIGSEGV && info->si_code == SI_KERNEL && current->thread.trap_nr == NO_TRAP &&
	       (p->ip & PAGE_MASK) != VSYSCALL_ADDR;
}

/* Not the guest's doing: sent by a process. */
static bool foreign(const struct pt_regs *p, int sig, const kernel_siginfo_t *info)
{
	if (info->si_code > SI_USER && !slipped(p, sig, info))
		return false;
	/* Forcing a SIGSEGV takes its handler away, even if one that was pending is all that is found. */
	if (sig == SIGSEGV)
		kkm_set_handler(SIGSEGV);
	return true;
}

/* What happened in the guest. True when it exits to the monitor. */
static bool guest_event(struct kkm_vcpu *v, struct pt_regs *p)
{
	kernel_siginfo_t info;
	int sig;

	if (v->fault) {
		u32 why;

		v->fault = false;
		v->denied = 0;
		if (kkm_resolve(v, v->fault_addr, v->fault_error, &why))
			v->denied = v->fault_addr & PAGE_MASK;
	}
	while ((sig = take_signal(&info))) {
		if (foreign(p, sig, &info))
			continue;
		if (decode_signal(v, p, sig, &info))
			return true;
	}
	if (!atomic_xchg(&v->kick, 0))
		return false;
	v->exit = (struct kkm_exit) { .reason = KVM_EXIT_INTR };
	return true;
}

/* Whether the stub's XSAVE or XRSTOR came to its ud2, or stumbled on a bad image. */
static bool stub_event(struct kkm_vcpu *v, const struct pt_regs *p)
{
	kernel_siginfo_t info;
	int sig;

	while ((sig = take_signal(&info))) {
		if (foreign(p, sig, &info))
			continue;
		v->job_result = sig == SIGILL && p->ip == kkm_stub_va(kkm_stub_done) ? 0 : -EINVAL;
		v->job_pkru = p->r8;
		return true;
	}
	return false;
}

static void load_stub(struct kkm_vcpu *v, struct pt_regs *p)
{
	bool save = v->job == KKM_JOB_XSAVE, pku = boot_cpu_has(X86_FEATURE_OSPKE);
	const char *entry = save ? kkm_stub_xsave : kkm_stub_xrstor;
	u64 mask = kkm_xcr0();

	if (pku)
		entry = save ? kkm_stub_xsave_pku : kkm_stub_xrstor_pku;
	p->ip = kkm_stub_va(entry);
	p->di = KKM_SCRATCH_VA(v->id);
	p->ax = lower_32_bits(mask);
	p->dx = upper_32_bits(mask);
	p->sp = 0;
	p->cs = __USER_CS;
	p->ss = __USER_DS;
	p->flags = X86_EFLAGS_IF | X86_EFLAGS_FIXED;
	p->orig_ax = -1;
}

/*
 * While a thread is parked it has no fault of its own; what is pending was sent
 * by someone, and get_signal() would deliver it next.
 */
static void drop_foreign_signals(void)
{
	kernel_siginfo_t info;
	int sig;

	while ((sig = take_signal(&info)))
		if (sig == SIGSEGV)
			kkm_set_handler(SIGSEGV);	/* as in foreign() */
}

/* Give the turn to the monitor and sleep until it comes back, or the end. */
static void park(struct kkm_vcpu *v, int from, struct pt_regs *p)
{
	if (cmpxchg(&v->state, from, KKM_PARKED) != from)
		return;
	__wake_up_sync(&v->run_wait, TASK_NORMAL);
	if (kkm_wait_parked(v->guest_wait, READ_ONCE(v->state) != KKM_PARKED)) {
		kkm_vcpu_dead(v);
		return;
	}
	if (smp_load_acquire(&v->state) != KKM_RUNNING)
		return;
	drop_foreign_signals();
	current->thread.trap_nr = NO_TRAP;
	if (v->job == KKM_JOB_GUEST)
		kkm_load_regs(v, p);
	else
		load_stub(v, p);
}

static bool leaving(void)
{
	return fatal_signal_pending(current) || (current->flags & PF_EXITING);
}

/* The end of the stub: from here on no system call gets through. */
static bool guest_born(struct kkm_vcpu *v, const struct pt_regs *p)
{
	if (p->ip != kkm_stub_va(kkm_stub_ready) || current->mm != v->vm->guest_mm)
		return false;	/* the pending signal kills the companion */
	kkm_block_syscalls();
	kkm_clear_segments(v);
	return true;
}

/* In the guest thread on its way to user mode, or to its end. */
static void look_around(struct kkm_vcpu *v)
{
	struct pt_regs *p = task_pt_regs(current);
	int state;

	if (leaving()) {
		kkm_vcpu_dead(v);
		return;
	}
	state = READ_ONCE(v->state);
	if (state == KKM_NEW) {
		if (guest_born(v, p))
			park(v, KKM_NEW, p);
		return;
	}
	if (state != KKM_RUNNING)
		return;
	if (v->job == KKM_JOB_GUEST ? !guest_event(v, p) : !stub_event(v, p)) {
		p->orig_ax = -1;	/* on with it; nothing to restart */
		current->thread.trap_nr = NO_TRAP;
		return;
	}
	if (v->job == KKM_JOB_GUEST)
		kkm_save_regs(v, p);
	park(v, KKM_RUNNING, p);
}

static void guest_work(struct callback_head *head)
{
	struct kkm_vcpu *v = container_of(head, struct kkm_vcpu, work.head);

	atomic_xchg(&v->work.queued, 0);	/* full barrier: then read what was announced */
	look_around(v);
}

static void kick_work(struct callback_head *head)
{
	struct kkm_vcpu *v = container_of(head, struct kkm_vcpu, kick_work.head);

	atomic_xchg(&v->kick_work.queued, 0);	/* as above */
	look_around(v);
}

/* Make this thread v's guest thread; vm->lock is held. */
void kkm_bind(struct kkm_vcpu *v)
{
	init_task_work(&v->work.head, guest_work);
	init_task_work(&v->kick_work.head, kick_work);
	get_task_struct(current);
	v->task = current;
	spin_lock(&kkm_threads_lock);
	hash_add_rcu(threads, &v->thread_node, (unsigned long)current);
	spin_unlock(&kkm_threads_lock);
}

/* Nobody finds v any more, once an RCU grace period has passed. */
void kkm_unbind(struct kkm_vcpu *v)
{
	if (!v->task)
		return;
	spin_lock(&kkm_threads_lock);
	hash_del_rcu(&v->thread_node);
	spin_unlock(&kkm_threads_lock);
}

static void match_tracepoint(struct tracepoint *tp, void *unused)
{
	if (!strcmp(tp->name, "signal_generate"))
		signal_generate = tp;
}

int kkm_hook_init(void)
{
	for_each_kernel_tracepoint(match_tracepoint, NULL);
	if (!signal_generate)
		return -ENOENT;
	return tracepoint_probe_register(signal_generate, probe_signal, NULL);
}

void kkm_hook_exit(void)
{
	tracepoint_probe_unregister(signal_generate, probe_signal, NULL);
	tracepoint_synchronize_unregister();
}
