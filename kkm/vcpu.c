// SPDX-License-Identifier: GPL-2.0-only
/* The vCPU: its file, its ioctls, its pages. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kkm.h"

#define RUN_SIZE	(2 * PAGE_SIZE)	/* kvm_run and the I/O datum */

/* The guest thread or its companion is gone; whoever waits in KVM_RUN learns it. */
void kkm_vcpu_dead(struct kkm_vcpu *v)
{
	xchg(&v->state, KKM_DEAD);
	wake_up(&v->run_wait);
	wake_up(&v->guest_wait);
}

static void free_pages_of(struct kkm_vcpu *v)
{
	if (v->scratch)
		free_pages_exact(v->scratch, KKM_SCRATCH_SIZE);
	free_pages_exact(v->run, RUN_SIZE);
}

/* Whether its thread is past its last task works, of which ours may be some. */
bool kkm_vcpu_ended(const struct kkm_vcpu *v)
{
	return !v->task || READ_ONCE(v->task->exit_state);
}

/* From the machine's last work, when the thread has ended. */
void kkm_vcpu_free(struct kkm_vcpu *v)
{
	if (v->task) {
		kkm_clear_debug(v);
		put_task_struct(v->task);
	}
	free_pages_of(v);
	kfree(v);
}

static long regs_ioctl(struct kkm_vcpu *v, unsigned int cmd, void __user *arg)
{
	struct kvm_sregs sregs;

	switch (cmd) {
	case KVM_GET_REGS:
		return copy_to_user(arg, &v->regs, sizeof(v->regs)) ? -EFAULT : 0;
	case KVM_SET_REGS:
		return copy_from_user(&v->regs, arg, sizeof(v->regs)) ? -EFAULT : 0;
	case KVM_GET_SREGS:
		kkm_get_sregs(v, &sregs);
		return copy_to_user(arg, &sregs, sizeof(sregs)) ? -EFAULT : 0;
	case KVM_SET_SREGS:
		if (copy_from_user(&sregs, arg, sizeof(sregs)))
			return -EFAULT;
		return kkm_set_sregs(v, &sregs);
	case KVM_GET_MSRS:
		return kkm_get_msrs(v, arg);
	case KVM_SET_MSRS:
		return kkm_set_msrs(v, arg);
	}
	return -ENOTTY;
}

/* KVM_SET_SIGNAL_MASK: the mask while in KVM_RUN; a null pointer takes it back. */
static long set_signal_mask(struct kkm_vcpu *v, struct kvm_signal_mask __user *arg)
{
	sigset_t set;
	u32 len;

	if (!arg) {
		v->sigmask_set = false;
		return 0;
	}
	if (get_user(len, &arg->len))
		return -EFAULT;
	if (len != sizeof(set))
		return -EINVAL;
	if (copy_from_user(&set, arg->sigset, sizeof(set)))
		return -EFAULT;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	v->sigmask = set;
	v->sigmask_set = true;
	return 0;
}

static long set_debug(struct kkm_vcpu *v, void __user *arg)
{
	struct kvm_guest_debug dbg;

	if (copy_from_user(&dbg, arg, sizeof(dbg)))
		return -EFAULT;
	return kkm_set_debug(v, &dbg);
}

static long locked_ioctl(struct kkm_vcpu *v, unsigned int cmd, unsigned long arg)
{
	void __user *user = (void __user *)arg;
	long r;

	switch (cmd) {
	case KVM_RUN:
		return arg ? -EINVAL : kkm_run(v);
	case KVM_SET_SIGNAL_MASK:
		return set_signal_mask(v, user);
	case KVM_SET_GUEST_DEBUG:
		return set_debug(v, user);
	}
	r = regs_ioctl(v, cmd, user);
	return r == -ENOTTY ? kkm_state_ioctl(v, cmd, user) : r;
}

static long vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kkm_vcpu *v = file->private_data;
	long r;

	if (current->mm != v->vm->host_mm)
		return -EIO;
	if (mutex_lock_killable(&v->lock))
		return -EINTR;
	r = locked_ioctl(v, cmd, arg);
	mutex_unlock(&v->lock);
	return r;
}

static vm_fault_t run_page_fault(struct vm_fault *vmf)
{
	struct kkm_vcpu *v = vmf->vma->vm_file->private_data;

	if (vmf->pgoff >= RUN_SIZE >> PAGE_SHIFT)
		return VM_FAULT_SIGBUS;
	vmf->page = virt_to_page((char *)v->run + vmf->pgoff * PAGE_SIZE);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct run_page_ops = { .fault = run_page_fault };

static int vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	kkm_vm_flags(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_ops = &run_page_ops;
	return 0;
}

static int vcpu_release(struct inode *inode, struct file *file)
{
	struct kkm_vcpu *v = file->private_data;
	struct kkm_vm *vm = v->vm;

	/* The thread stays parked; like KVM's, a vCPU goes with its machine. */
	if (list_empty(&v->link))
		kkm_vcpu_free(v);	/* refused: never the machine's */
	kkm_vm_user_put(vm);
	return 0;
}

static const struct file_operations vcpu_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vcpu_ioctl,
	.mmap = vcpu_mmap,
	.release = vcpu_release,
	.llseek = noop_llseek,
};

static struct kkm_vcpu *alloc_vcpu(struct kkm_vm *vm, unsigned int id)
{
	struct kkm_vcpu *v = kzalloc(sizeof(*v), GFP_KERNEL_ACCOUNT);

	if (!v)
		return NULL;
	v->run = alloc_pages_exact(RUN_SIZE, KKM_GFP_MAPPED | __GFP_ZERO);
	if (!v->run) {
		kfree(v);
		return NULL;
	}
	v->vm = vm;
	v->id = id;
	v->cpu = -1;
	v->regs.rflags = X86_EFLAGS_FIXED;
	INIT_LIST_HEAD(&v->link);
	mutex_init(&v->lock);
	init_waitqueue_head(&v->guest_wait);
	init_waitqueue_head(&v->run_wait);
	return v;
}

/* Enter the list, unless the id is taken. */
static int list_vcpu(struct kkm_vm *vm, struct kkm_vcpu *v)
{
	struct kkm_vcpu *other;
	int r = 0;

	mutex_lock(&vm->lock);
	list_for_each_entry(other, &vm->vcpus, link)
		if (other->id == v->id)
			r = -EEXIST;
	if (vm->dead)
		r = -EIO;
	if (!r)
		list_add_tail(&v->link, &vm->vcpus);
	mutex_unlock(&vm->lock);
	return r;
}

/* The vCPU's file, which holds the machine; its release takes care of v. */
static struct file *open_vcpu(struct kkm_vm *vm, unsigned int id)
{
	struct kkm_vcpu *v = alloc_vcpu(vm, id);
	struct file *file;

	if (!v)
		return ERR_PTR(-ENOMEM);
	file = anon_inode_getfile("kkm-vcpu", &vcpu_fops, v, O_RDWR | O_CLOEXEC);
	if (IS_ERR(file))
		kkm_vcpu_free(v);
	else
		kkm_vm_user_get(vm);
	return file;
}

/* KVM_CREATE_VCPU: a descriptor, or -errno. What can fail comes before the id is taken. */
long kkm_vcpu_create(struct kkm_vm *vm, unsigned long id)
{
	struct file *file;
	int fd, r;

	if (id >= KKM_MAX_VCPUS)
		return -EINVAL;
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	file = open_vcpu(vm, id);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	r = list_vcpu(vm, file->private_data);
	if (r) {
		put_unused_fd(fd);
		fput(file);
		return r;
	}
	kkm_count(vcpus);
	atomic_inc(&vm->spawn_wanted);
	wake_up(&vm->spawn_wait);
	fd_install(fd, file);
	return fd;
}
