// SPDX-License-Identifier: GPL-2.0-only
/* KVM_RUN: hand the turn to the guest thread, get it back, tell what happened. */
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <asm/trapnr.h>

#include "kkm.h"

#define SYNC_VALID	(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS)
#define PIN_WAIT	2		/* jiffies to hold a CPU while the guest computes */
#define PIN_PERIOD	(HZ / 10)	/* then let the scheduler place the pair anew */
#define IO_OFFSET	PAGE_SIZE

/* The monitor's turn: parked, or never coming back. */
static bool settled(const struct kkm_vcpu *v)
{
	return smp_load_acquire(&v->state) != KKM_RUNNING;
}

static void unpin(struct kkm_vcpu *v)
{
	if (v->cpu < 0)
		return;
	v->cpu = -1;
	set_cpus_allowed_ptr(v->task, &current->cpus_mask);
	kkm_count(unpinned);
}

/*
 * Both threads on one CPU make a hand-over a mere context switch; on two it is
 * an idle CPU woken by the hypervisor, fifty times slower. True: held.
 */
static bool pin(struct kkm_vcpu *v)
{
	int cpu;

	if (!READ_ONCE(kkm_pinning) || num_online_cpus() == 1 ||
	    (v->cpu >= 0 && time_after(jiffies, v->pinned_at + PIN_PERIOD))) {
		unpin(v);
		return false;
	}
	kkm_hold_cpu();
	cpu = raw_smp_processor_id();
	if (v->cpu == cpu)
		return true;
	if (set_cpus_allowed_ptr(v->task, cpumask_of(cpu))) {
		kkm_release_cpu();
		return false;
	}
	v->cpu = cpu;
	v->pinned_at = jiffies;
	return true;
}

/* Wait for the guest to park. -EINTR: a signal came first. */
static int wait_guest(struct kkm_vcpu *v, bool pinned)
{
	long left = 0;

	if (pinned) {
		left = wait_event_interruptible_timeout(v->run_wait, settled(v), PIN_WAIT);
		kkm_release_cpu();
		if (!left)
			unpin(v);
	}
	if (!left)
		left = wait_event_interruptible(v->run_wait, settled(v));
	return left < 0 ? -EINTR : 0;
}

/*
 * PARKED -> RUNNING -> PARKED. 0 when parked again for whatever reason, -EIO
 * when the companion is gone, -EINTR when this thread is being killed.
 */
static int enter_guest(struct kkm_vcpu *v)
{
	bool pinned = pin(v);

	if (cmpxchg(&v->state, KKM_PARKED, KKM_RUNNING) != KKM_PARKED) {
		if (pinned)
			kkm_release_cpu();
		return -EIO;
	}
	__wake_up_sync(&v->guest_wait, TASK_NORMAL);
	if (wait_guest(v, pinned)) {
		kkm_kick(v);
		if (wait_event_killable(v->run_wait, settled(v)))
			return -EINTR;
	}
	atomic_set(&v->kick, 0);
	return READ_ONCE(v->state) == KKM_PARKED ? 0 : -EIO;
}

/* The same for a stub entry: a few instructions, so only a fatal signal ends the wait. */
int kkm_enter_job(struct kkm_vcpu *v)
{
	if (cmpxchg(&v->state, KKM_PARKED, KKM_RUNNING) != KKM_PARKED)
		return -EIO;
	wake_up(&v->guest_wait);
	if (wait_event_killable(v->run_wait, settled(v)))
		return -EINTR;
	return READ_ONCE(v->state) == KKM_PARKED ? 0 : -EIO;
}

/*
 * A vCPU has no thread until the companion has made one. -EINTR on a signal,
 * -EIO when there will be none, else the errno of the failed clone.
 */
int kkm_wait_ready(struct kkm_vcpu *v)
{
	int r;

	if (READ_ONCE(v->spawn_error)) {
		v->spawn_error = 0;	/* once more */
		atomic_inc(&v->vm->spawn_wanted);
		wake_up(&v->vm->spawn_wait);
	}
	if (wait_event_interruptible(v->run_wait, READ_ONCE(v->state) != KKM_NEW ||
				     READ_ONCE(v->spawn_error) || READ_ONCE(v->vm->dead)))
		return -EINTR;
	r = READ_ONCE(v->spawn_error);
	if (r)
		return r;
	return READ_ONCE(v->state) == KKM_PARKED ? 0 : -EIO;
}

static int sync_in(struct kkm_vcpu *v)
{
	struct kvm_run *run = v->run;
	u64 dirty = READ_ONCE(run->kvm_dirty_regs);
	int r = 0;

	if ((READ_ONCE(run->kvm_valid_regs) | dirty) & ~(u64)SYNC_VALID)
		return -EINVAL;
	if (dirty & KVM_SYNC_X86_REGS)
		v->regs = run->s.regs.regs;
	if (dirty & KVM_SYNC_X86_SREGS) {
		struct kvm_sregs s = run->s.regs.sregs;

		r = kkm_set_sregs(v, &s);
	}
	if (!r)
		run->kvm_dirty_regs = 0;
	return r;
}

static void sync_out(struct kkm_vcpu *v)
{
	struct kvm_run *run = v->run;
	u64 valid = READ_ONCE(run->kvm_valid_regs);

	if (valid & KVM_SYNC_X86_REGS)
		run->s.regs.regs = v->regs;
	if (valid & KVM_SYNC_X86_SREGS)
		kkm_get_sregs(v, &run->s.regs.sregs);
}

/* An `in` of the last exit takes its datum; 32 bits clear the upper half, as always. */
static void finish_in(struct kkm_vcpu *v)
{
	u32 datum = READ_ONCE(*(u32 *)((char *)v->run + IO_OFFSET));

	if (!v->in_pending)
		return;
	v->in_pending = false;
	if (v->in_size == 4)
		v->regs.rax = datum;
	else if (v->in_size == 2)
		v->regs.rax = (v->regs.rax & ~0xffffULL) | (u16)datum;
	else
		v->regs.rax = (v->regs.rax & ~0xffULL) | (u8)datum;
}

/* Bytes at a guest address, read through the monitor's own mapping. */
static unsigned int peek(struct kkm_vcpu *v, u64 gva, u8 *buf, unsigned int want)
{
	unsigned int got = 0;

	while (got < want) {
		struct kkm_place place;
		unsigned int n;
		bool found;
		int idx = srcu_read_lock(&kkm_srcu);

		found = kkm_find(srcu_dereference(v->vm->layout, &kkm_srcu), gva + got, &place);
		srcu_read_unlock(&kkm_srcu, idx);
		if (!found)
			break;
		n = min_t(u64, want - got, PAGE_SIZE - offset_in_page(place.hva));
		if (copy_from_user(buf + got, (void __user *)(unsigned long)place.hva, n))
			break;
		got += n;
	}
	return got;
}

/* Length of an `in`/`out` with the port in DX at rip, or 0. */
static unsigned int decode_io(struct kkm_vcpu *v, bool *in, u8 *size)
{
	u8 code[4];
	unsigned int i, n = peek(v, v->regs.rip, code, sizeof(code));
	u8 wide = 4;

	for (i = 0; i < n && code[i] == 0x66; i++)
		wide = 2;
	if (i < n && (code[i] & 0xf0) == 0x40)	/* REX, without effect here */
		i++;
	if (i == n || code[i] < 0xec || code[i] > 0xef)
		return 0;
	*in = code[i] < 0xee;
	*size = code[i] & 1 ? wide : 1;
	return i + 1;
}

/* #GP(0): a port instruction becomes KVM_EXIT_IO, RIP behind it. */
static bool tell_io(struct kkm_vcpu *v)
{
	struct kvm_run *run = v->run;
	u16 port = v->regs.rdx;
	unsigned int len;
	bool in;
	u8 size;

	if (v->exit.error || port < KKM_PORT_FIRST || port > KKM_PORT_LAST)
		return false;
	len = decode_io(v, &in, &size);
	if (!len || port + size - 1 > KKM_PORT_LAST)
		return false;
	v->regs.rip += len;
	v->in_pending = in;
	v->in_size = size;
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = in ? KVM_EXIT_IO_IN : KVM_EXIT_IO_OUT;
	run->io.size = size;
	run->io.port = port;
	run->io.count = 1;
	run->io.data_offset = IO_OFFSET;
	/* The datum has its own page: nothing else of the run page is reached. */
	*(u32 *)((char *)run + IO_OFFSET) = in ? 0 : (u32)v->regs.rax;
	kkm_count(exits_io);
	return true;
}

static void tell_exception(struct kkm_vcpu *v)
{
	struct kkm_exception *x = (void *)((char *)v->run + KKM_RUN_EXIT_OFFSET);

	if (v->exit.vector == X86_TRAP_GP && tell_io(v))
		return;
	v->run->exit_reason = KVM_EXIT_EXCEPTION;
	*x = (struct kkm_exception) {
		.vector = v->exit.vector, .error_code = v->exit.error,
		.cr2 = v->exit.cr2, .flags = v->exit.flags,
	};
	kkm_count(exits_exception);
}

static void tell_syscall(struct kkm_vcpu *v)
{
	struct kkm_syscall *s = (void *)((char *)v->run + KKM_RUN_EXIT_OFFSET);
	const struct kvm_regs *r = &v->regs;

	v->run->exit_reason = KKM_EXIT_SYSCALL;
	if (v->exit.flags & KKM_SYSCALL_32BIT)
		*s = (struct kkm_syscall) {
			.args = { (u32)r->rbx, (u32)r->rcx, (u32)r->rdx,
				  (u32)r->rsi, (u32)r->rdi, (u32)r->rbp },
		};
	else
		*s = (struct kkm_syscall) {
			.args = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 },
		};
	s->nr = r->rax;
	s->flags = v->exit.flags;
	kkm_count(exits_syscall);
}

static void tell_debug(struct kkm_vcpu *v)
{
	v->run->exit_reason = KVM_EXIT_DEBUG;
	v->run->debug.arch = (struct kvm_debug_exit_arch) {
		.exception = v->exit.vector, .pc = v->regs.rip, .dr6 = v->exit.dr6,
		.dr7 = v->debug.arch.debugreg[7],
	};
	kkm_count(exits_debug);
}

/* Translate the guest thread's record into kvm_run. */
static long tell(struct kkm_vcpu *v)
{
	switch (v->exit.reason) {
	case KKM_EXIT_SYSCALL:
		tell_syscall(v);
		return 0;
	case KVM_EXIT_EXCEPTION:
		tell_exception(v);
		return 0;
	case KVM_EXIT_DEBUG:
		tell_debug(v);
		return 0;
	}
	v->run->exit_reason = KVM_EXIT_INTR;
	kkm_count(exits_interrupted);
	return -EINTR;
}

static long enter_and_tell(struct kkm_vcpu *v)
{
	long r;

	if (kkm_immediate_exit(v->run) || signal_pending(current)) {
		v->run->exit_reason = KVM_EXIT_INTR;
		kkm_count(exits_interrupted);
		return -EINTR;
	}
	r = kkm_wait_ready(v);
	if (!r) {
		kkm_count(runs);
		v->job = KKM_JOB_GUEST;
		r = enter_guest(v);
	}
	if (!r)
		return tell(v);
	if (r == -EIO) {
		v->run->exit_reason = KVM_EXIT_SHUTDOWN;
		kkm_count(exits_shutdown);
	} else {
		v->run->exit_reason = KVM_EXIT_INTR;
	}
	return r;
}

/* KVM_RUN; vcpu->lock is held throughout. */
long kkm_run(struct kkm_vcpu *v)
{
	long r;

	/* As KVM: the mask is in force until the caller's is put back. */
	if (v->sigmask_set)
		sigprocmask(SIG_SETMASK, &v->sigmask, &current->real_blocked);
	r = sync_in(v);
	if (!r) {
		finish_in(v);
		r = enter_and_tell(v);
		sync_out(v);
	}
	if (v->sigmask_set) {
		sigprocmask(SIG_SETMASK, &current->real_blocked, NULL);
		sigemptyset(&current->real_blocked);
	}
	return r;
}
