// SPDX-License-Identifier: GPL-2.0-only
/*
 * The space file: a child of the monitor becomes the companion, its address
 * space becomes the guest's. Releasing the file means the companion is gone.
 */
#include <linux/file.h>
#include <linux/mman.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pid.h>
#include <linux/ptrace.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/uaccess.h>

#include "kkm.h"

static const int synchronous[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGSYS };

/* First vCPU that needs a guest thread; vm->lock is held. */
static struct kkm_vcpu *threadless(struct kkm_vm *vm, bool spawning)
{
	struct kkm_vcpu *v;

	list_for_each_entry(v, &vm->vcpus, link)
		if (!v->task && !v->spawn_error && v->spawning == spawning)
			return v;
	return NULL;
}

static void claim_spawn(struct kkm_vm *vm)
{
	struct kkm_vcpu *v;

	mutex_lock(&vm->lock);
	v = threadless(vm, false);
	if (v)
		v->spawning = true;
	mutex_unlock(&vm->lock);
}

/* The leader's clone failed: tell the monitor that waits in KVM_RUN. */
static void spawn_failed(struct kkm_vm *vm, long error)
{
	struct kkm_vcpu *v;

	mutex_lock(&vm->lock);
	v = threadless(vm, true);
	if (v) {
		v->spawning = false;
		WRITE_ONCE(v->spawn_error, error);
		wake_up(&v->run_wait);
	}
	mutex_unlock(&vm->lock);
}

/* A thread of the companion; another process may share its memory, not its life. */
static bool in_companion(const struct kkm_vm *vm)
{
	return current->mm == READ_ONCE(vm->guest_mm) && task_tgid(current) == READ_ONCE(vm->companion);
}

/* KKM_SPACE_WAIT: 0 when the leader shall clone a thread. cloned: how the last went. */
static long space_wait(struct kkm_vm *vm, long cloned)
{
	if (!in_companion(vm) || !thread_group_leader(current))
		return -EPERM;
	if (IS_ERR_VALUE(cloned))
		spawn_failed(vm, cloned);
	if (kkm_wait_parked(vm->spawn_wait, READ_ONCE(vm->dead) ||
			    atomic_dec_if_positive(&vm->spawn_wanted) >= 0))
		return -EINTR;
	if (READ_ONCE(vm->dead))
		return -EIO;
	claim_spawn(vm);
	return 0;
}

/* KKM_SPACE_ATTACH: bind this thread to a vCPU, for good. */
static long space_attach(struct kkm_vm *vm)
{
	struct kkm_vcpu *v;
	long r = -ENOENT;

	if (!in_companion(vm) || thread_group_leader(current))
		return -EPERM;
	if (kkm_current())
		return -EBUSY;
	mutex_lock(&vm->lock);
	v = threadless(vm, true);
	if (v) {
		v->spawning = false;
		kkm_bind(v);
		r = 0;
	}
	mutex_unlock(&vm->lock);
	return r;
}

static long space_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kkm_vm *vm = file->private_data;

	switch (cmd) {
	case KKM_SPACE_WAIT:
		return space_wait(vm, arg);
	case KKM_SPACE_ATTACH:
		return space_attach(vm);
	}
	return -ENOTTY;
}

/* The last mapping and the last descriptor are gone, so is every guest thread. */
static int space_release(struct inode *inode, struct file *file)
{
	struct kkm_vm *vm = file->private_data;
	struct kkm_vcpu *v;

	mutex_lock(&vm->lock);
	WRITE_ONCE(vm->dead, true);
	list_for_each_entry(v, &vm->vcpus, link)
		kkm_vcpu_dead(v);
	mutex_unlock(&vm->lock);
	kkm_vm_put(vm);
	return 0;
}

/*
 * Only KKM_SPACE_INIT maps the file. Whoever got hold of the descriptor (a shared
 * table, a debugger) could otherwise write to the stub, which all machines share.
 */
static int space_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct kkm_vm *vm = file->private_data;

	return READ_ONCE(vm->mapper) == current ? kkm_guest_mmap(file, vma) : -EPERM;
}

static const struct file_operations space_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = space_ioctl,
	.mmap = space_mmap,
	.release = space_release,
	.llseek = noop_llseek,
};

static struct file *open_space(struct kkm_vm *vm)
{
	struct file *file;

	/* alloc_file_pseudo() takes neither, the final fput() drops both. */
	__module_get(THIS_MODULE);
	ihold(vm->inode);
	file = alloc_file_pseudo(vm->inode, kkm_mnt, "kkm-space", O_RDWR, &space_fops);
	if (IS_ERR(file)) {
		iput(vm->inode);
		module_put(THIS_MODULE);
		return file;
	}
	file->private_data = vm;
	kkm_vm_get(vm);
	return file;
}

/* The stub's ud2, for all of the companion's threads. */
void kkm_set_handler(int sig)
{
	kernel_sigaction(sig, (__force __sighandler_t)kkm_stub_va(kkm_stub_fail));
}

/*
 * Only faults and the end reach a guest thread. A handler must be set, or Linux
 * logs each fault and resets the disposition; it is a ud2 in the stub and has
 * no restorer, so a signal that slips past the hook is not delivered (event.c).
 */
static void set_signals(void)
{
	sigset_t blocked;
	unsigned int i;

	sigfillset(&blocked);
	sigdelset(&blocked, SIGKILL);	/* sigprocmask() in the kernel would block it */
	sigdelset(&blocked, SIGSTOP);
	for (i = 0; i < ARRAY_SIZE(synchronous); i++) {
		kkm_set_handler(synchronous[i]);
		sigdelset(&blocked, synchronous[i]);
	}
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static int map_range(struct file *file, unsigned long from, unsigned long to, unsigned long prot)
{
	unsigned long addr = vm_mmap(file, from, to - from, prot, MAP_SHARED | MAP_FIXED, from);

	return IS_ERR_VALUE(addr) ? (int)addr : 0;
}

/* The guest area takes all addresses and no memory: the monitor's limit is not meant for it. */
static void lift_address_limit(void)
{
	task_lock(current->group_leader);
	current->signal->rlim[RLIMIT_AS].rlim_cur = RLIM_INFINITY;
	task_unlock(current->group_leader);
}

/* File offset = address throughout. */
static int replace_address_space(struct file *file)
{
	const unsigned long rwx = PROT_READ | PROT_WRITE | PROT_EXEC;
	int r = vm_munmap(0, TASK_SIZE_MAX);

	if (!r)
		r = map_range(file, KKM_GUEST_LO, KKM_GUEST_HI, rwx);
	if (!r)
		r = map_range(file, KKM_GUEST_HI, KKM_STUB_VA, PROT_READ | PROT_WRITE);
	if (!r)
		r = map_range(file, KKM_STUB_VA, KKM_STUB_VA + PAGE_SIZE, PROT_READ | PROT_EXEC);
	current->mm->context.vdso = NULL;
	return r;
}

/* Whether this task may become the companion of vm; -errno says why not. */
static int may_become_companion(struct kkm_vm *vm)
{
	bool child;

	if (current->mm == vm->host_mm || get_nr_threads(current) != 1)
		return -EINVAL;
	rcu_read_lock();
	child = task_tgid(rcu_dereference(current->real_parent)) == vm->host_pid;
	rcu_read_unlock();
	if (!child || !task_no_new_privs(current))
		return -EPERM;
	/* Linux would write the area into guest memory, fail, and kill. */
	if (kkm_rseq_registered())
		return -EBUSY;
	/* Shared with another process, or only read through /proc: it may pass. */
	return atomic_read(&current->mm->mm_users) == 1 ? 0 : -EAGAIN;
}

static int claim_companion(struct kkm_vm *vm)
{
	int r = -EBUSY;

	mutex_lock(&vm->lock);
	if (vm->dead)
		r = -EIO;
	else if (!vm->companion) {
		vm->guest_mm = current->mm;
		mmgrab(vm->guest_mm);
		WRITE_ONCE(vm->companion, get_task_pid(current, PIDTYPE_TGID));
		r = 0;
	}
	mutex_unlock(&vm->lock);
	return r;
}

static void unclaim_companion(struct kkm_vm *vm)
{
	mutex_lock(&vm->lock);
	put_pid(vm->companion);
	WRITE_ONCE(vm->companion, NULL);
	vm->guest_mm = NULL;
	mmdrop(current->mm);
	mutex_unlock(&vm->lock);
}

/* The stub starts with two numbers and nothing of the monitor's. */
static void enter_stub(unsigned long space_fd, unsigned long vm_fd)
{
	struct pt_regs *p = task_pt_regs(current);

	p->ax = p->bx = p->cx = p->dx = p->si = p->di = p->bp = p->sp = 0;
	p->r8 = p->r9 = p->r10 = p->r11 = p->r14 = p->r15 = 0;
	p->r12 = space_fd;
	p->r13 = vm_fd;
	p->ip = kkm_stub_va(kkm_stub_start);
	p->cs = __USER_CS;
	p->ss = __USER_DS;
	p->flags = X86_EFLAGS_IF | X86_EFLAGS_FIXED;
	clear_thread_flag(TIF_SINGLESTEP);
}

/*
 * KKM_SPACE_INIT. Until the address space is touched errors are returned; after
 * that there is no one to return to, and the caller is killed.
 */
long kkm_space_init(struct kkm_vm *vm, unsigned long vm_fd)
{
	struct file *file;
	int fd, r;

	r = may_become_companion(vm);
	if (!r)
		r = claim_companion(vm);
	if (r)
		return r;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		unclaim_companion(vm);
		return fd;
	}
	file = open_space(vm);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		unclaim_companion(vm);
		return PTR_ERR(file);
	}
	set_signals();
	lift_address_limit();
	WRITE_ONCE(vm->mapper, current);
	r = replace_address_space(file);
	WRITE_ONCE(vm->mapper, NULL);
	fd_install(fd, file);
	smp_mb();	/* with kkm_vm_kill(), which reads the companion */
	if (r || READ_ONCE(vm->dead)) {
		send_sig(SIGKILL, current, 1);
		return r ? r : -EIO;
	}
	enter_stub(fd, vm_fd);
	return 0;
}
