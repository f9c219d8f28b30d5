// SPDX-License-Identifier: GPL-2.0-only
/* The machine: its file, its life and its end. */
#include <linux/anon_inodes.h>
#include <linux/mount.h>
#include <linux/pid.h>
#include <linux/pseudo_fs.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kkm.h"

struct vfsmount *kkm_mnt;
static int kkm_mnt_count;

/*
 * The companion's address space outlives neither the machine's files nor the
 * monitor. Safe to call again and from any context that may take a spinlock.
 */
void kkm_vm_kill(struct kkm_vm *vm)
{
	struct pid *companion;

	WRITE_ONCE(vm->dead, true);
	smp_mb();	/* with kkm_space_init(): one of the two sees the other */
	companion = READ_ONCE(vm->companion);
	wake_up_all(&vm->spawn_wait);
	if (companion)
		kill_pid(companion, SIGKILL, 1);
}

static bool threads_ended(const struct kkm_vm *vm)
{
	const struct kkm_vcpu *v;

	list_for_each_entry(v, &vm->vcpus, link)
		if (!kkm_vcpu_ended(v))
			return false;
	return true;
}

/*
 * Last reference gone: the space file was released, so every guest thread is
 * past its address space, but perhaps not yet past its last task works. Runs on
 * our own workqueue because it waits; for those threads by coming again, so
 * that one which lingers (under a debugger) delays nobody else's end.
 */
static void free_vm(struct work_struct *work)
{
	struct kkm_vm *vm = container_of(to_delayed_work(work), struct kkm_vm, free_work);
	struct kkm_vcpu *v, *next;

	if (!threads_ended(vm)) {
		queue_delayed_work(kkm_wq, &vm->free_work, max(HZ / 100, 1));
		return;
	}
	list_for_each_entry(v, &vm->vcpus, link)
		kkm_unbind(v);
	synchronize_rcu();	/* probe and fault handler are through with them */
	list_for_each_entry_safe(v, next, &vm->vcpus, link)
		kkm_vcpu_free(v);

	mmu_interval_notifier_remove(&vm->notifier);
	mmdrop(vm->host_mm);
	if (vm->guest_mm)
		mmdrop(vm->guest_mm);
	kfree(rcu_dereference_protected(vm->layout, true));
	put_pid(vm->companion);
	put_pid(vm->host_pid);
	iput(vm->inode);
	kfree(vm);
	simple_release_fs(&kkm_mnt, &kkm_mnt_count);
}

void kkm_vm_get(struct kkm_vm *vm)
{
	refcount_inc(&vm->refs);
}

void kkm_vm_put(struct kkm_vm *vm)
{
	if (refcount_dec_and_test(&vm->refs))
		queue_delayed_work(kkm_wq, &vm->free_work, 0);
}

void kkm_vm_user_get(struct kkm_vm *vm)
{
	refcount_inc(&vm->users);
}

void kkm_vm_user_put(struct kkm_vm *vm)
{
	if (!refcount_dec_and_test(&vm->users))
		return;
	kkm_vm_kill(vm);
	kkm_vm_put(vm);
}

static int vm_release(struct inode *inode, struct file *file)
{
	kkm_vm_user_put(file->private_data);
	return 0;
}

static long set_memory(struct kkm_vm *vm, void __user *arg)
{
	struct kvm_userspace_memory_region m;

	if (copy_from_user(&m, arg, sizeof(m)))
		return -EFAULT;
	return kkm_set_slot(vm, &m);
}

static long map_window(struct kkm_vm *vm, void __user *arg)
{
	struct kkm_window w;

	if (copy_from_user(&w, arg, sizeof(w)))
		return -EFAULT;
	return kkm_set_window(vm, &w);
}

/* Addresses KVM wants for its own tables; read, checked, of no use here. */
static long ignored_address(void __user *arg)
{
	u64 addr;

	return copy_from_user(&addr, arg, sizeof(addr)) ? -EFAULT : 0;
}

static long vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct kkm_vm *vm = file->private_data;
	void __user *user = (void __user *)arg;

	if (cmd == KKM_SPACE_INIT)
		return kkm_space_init(vm, arg);
	/* A machine is of use only in the address space its slots point into. */
	if (current->mm != vm->host_mm)
		return -EIO;
	switch (cmd) {
	case KVM_CREATE_VCPU:
		return kkm_vcpu_create(vm, arg);
	case KVM_SET_USER_MEMORY_REGION:
		return set_memory(vm, user);
	case KKM_MAP_WINDOW:
		return map_window(vm, user);
	case KVM_CHECK_EXTENSION:
		if (arg == KKM_CAP_COMPANION)
			return READ_ONCE(vm->companion) != NULL;
		return kkm_check_extension(arg);
	case KVM_SET_IDENTITY_MAP_ADDR:
		return ignored_address(user);
	case KVM_SET_TSS_ADDR:
		return 0;
	}
	return -ENOTTY;
}

static const struct file_operations vm_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vm_ioctl,
	.release = vm_release,
	.llseek = noop_llseek,
};

/* A private inode per machine, so that its mapping holds only its entries. */
static struct inode *new_space_inode(void)
{
	static struct lock_class_key i_mmap_key;
	struct inode *inode = new_inode(kkm_mnt->mnt_sb);

	if (!inode)
		return NULL;
	inode->i_ino = get_next_ino();
	inode->i_mode = S_IFREG | 0600;
	inode->i_flags |= S_PRIVATE;
	/* Taken inside a notifier that may already hold another inode's. */
	lockdep_set_class(&inode->i_data.i_mmap_rwsem, &i_mmap_key);
	return inode;
}

static struct kkm_vm *alloc_vm(void)
{
	struct kkm_vm *vm = kzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	struct kkm_layout *layout = kzalloc(sizeof(*layout), GFP_KERNEL_ACCOUNT);

	if (!vm || !layout) {
		kfree(layout);
		kfree(vm);
		return NULL;
	}
	refcount_set(&vm->users, 1);
	refcount_set(&vm->refs, 1);
	mutex_init(&vm->lock);
	INIT_LIST_HEAD(&vm->vcpus);
	init_waitqueue_head(&vm->spawn_wait);
	INIT_DELAYED_WORK(&vm->free_work, free_vm);
	RCU_INIT_POINTER(vm->layout, layout);
	return vm;
}

/* KVM_CREATE_VM: a descriptor, or -errno. */
long kkm_vm_create(unsigned long type)
{
	struct kkm_vm *vm;
	long r;

	if (type)
		return -EINVAL;
	vm = alloc_vm();
	if (!vm)
		return -ENOMEM;
	r = simple_pin_fs(&kkm_fs, &kkm_mnt, &kkm_mnt_count);
	if (r)
		goto err_free;
	r = -ENOMEM;
	vm->inode = new_space_inode();
	if (!vm->inode)
		goto err_fs;
	vm->host_mm = current->mm;
	mmgrab(vm->host_mm);
	vm->host_pid = get_task_pid(current, PIDTYPE_TGID);
	r = kkm_notifier_register(vm);
	if (r)
		goto err_mm;
	kkm_count(machines);
	r = anon_inode_getfd("kkm-vm", &vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (r < 0)
		kkm_vm_user_put(vm);
	return r;

err_mm:
	put_pid(vm->host_pid);
	mmdrop(vm->host_mm);
	iput(vm->inode);
err_fs:
	simple_release_fs(&kkm_mnt, &kkm_mnt_count);
err_free:
	kfree(rcu_dereference_protected(vm->layout, true));
	kfree(vm);
	return r;
}
