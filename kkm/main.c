// SPDX-License-Identifier: GPL-2.0-only
/* /dev/kkm: load, unload, and the ioctls of the device itself. */
#include <linux/init.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <asm/cpufeature.h>

#include "kkm.h"

#define KKM_FS_MAGIC	0x6b6b6d

struct workqueue_struct *kkm_wq;
struct srcu_struct kkm_srcu;

bool kkm_pinning = true;
module_param_named(pin, kkm_pinning, bool, 0644);
MODULE_PARM_DESC(pin, "keep a guest and its monitor on one CPU (default on)");

/* KVM_CHECK_EXTENSION, on the device and on a machine. */
long kkm_check_extension(unsigned long cap)
{
	switch (cap) {
	case KVM_CAP_USER_MEMORY:
	case KVM_CAP_SET_TSS_ADDR:
	case KVM_CAP_EXT_CPUID:
	case KVM_CAP_MP_STATE:
	case KVM_CAP_DESTROY_MEMORY_REGION_WORKS:
	case KVM_CAP_JOIN_MEMORY_REGIONS_WORKS:
	case KVM_CAP_SYNC_MMU:
	case KVM_CAP_SET_IDENTITY_MAP_ADDR:
	case KVM_CAP_VCPU_EVENTS:
	case KVM_CAP_XSAVE:
	case KVM_CAP_XCRS:
	case KVM_CAP_READONLY_MEM:
	case KVM_CAP_SET_GUEST_DEBUG:
	case KVM_CAP_CHECK_EXTENSION_VM:
	case KVM_CAP_IMMEDIATE_EXIT:
	case KKM_CAP_SYSCALL_EXIT:
		return 1;
	case KVM_CAP_NR_VCPUS:
		return min_t(long, num_online_cpus(), KKM_MAX_VCPUS);
	case KVM_CAP_MAX_VCPUS:
	case KVM_CAP_MAX_VCPU_ID:
		return KKM_MAX_VCPUS;
	case KVM_CAP_NR_MEMSLOTS:
		return KKM_MAX_SLOTS;
	case KVM_CAP_SYNC_REGS:
		return KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	case KVM_CAP_XSAVE2:
		return kkm_xsave_size();
	case KKM_CAP_ABI:
		return KKM_ABI_VERSION;
	case KKM_CAP_WINDOWS:
		return KKM_MAX_WINDOWS;
	}
	return 0;
}

/* MSRs that KVM_GET/SET_MSRS know. */
static const u32 known_msrs[] = { MSR_FS_BASE, MSR_GS_BASE };

static long get_msr_list(struct kvm_msr_list __user *arg)
{
	u32 room;

	if (get_user(room, &arg->nmsrs) || put_user(ARRAY_SIZE(known_msrs), &arg->nmsrs))
		return -EFAULT;
	if (room < ARRAY_SIZE(known_msrs))
		return -E2BIG;
	return copy_to_user(arg->indices, known_msrs, sizeof(known_msrs)) ? -EFAULT : 0;
}

static long dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case KVM_GET_API_VERSION:
		return arg ? -EINVAL : KVM_API_VERSION;
	case KKM_GET_IDENTITY:
		return KKM_IDENTITY;
	case KVM_CREATE_VM:
		return kkm_vm_create(arg);
	case KVM_CHECK_EXTENSION:
		return kkm_check_extension(arg);
	case KVM_GET_VCPU_MMAP_SIZE:
		return arg ? -EINVAL : 2 * PAGE_SIZE;
	case KVM_GET_SUPPORTED_CPUID:
		return kkm_get_cpuid((struct kvm_cpuid2 __user *)arg);
	case KVM_GET_MSR_INDEX_LIST:
		return get_msr_list((struct kvm_msr_list __user *)arg);
	}
	return -ENOTTY;
}

static const struct file_operations dev_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = dev_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice kkm_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "kkm",
	.fops = &dev_fops,
	.mode = 0660,
	.groups = kkm_counter_groups,
};

static int init_fs_context(struct fs_context *fc)
{
	if (!init_pseudo(fc, KKM_FS_MAGIC))
		return -ENOMEM;
	/* Guests execute from this file; since 6.16 pseudo filesystems forbid it. */
	fc->s_iflags &= ~SB_I_NOEXEC;
	return 0;
}

/* Mounted while a machine exists, which also keeps the module loaded. */
struct file_system_type kkm_fs = {
	.owner = THIS_MODULE,
	.name = "kkm",
	.init_fs_context = init_fs_context,
	.kill_sb = kill_anon_super,
};

/* One line that names what is missing, or NULL. */
static const char *missing(void)
{
	if (!IS_ENABLED(CONFIG_TRACEPOINTS))
		return "CONFIG_TRACEPOINTS";
	if (!IS_ENABLED(CONFIG_SECCOMP_FILTER))
		return "CONFIG_SECCOMP_FILTER";
	if (!IS_ENABLED(CONFIG_MMU_NOTIFIER))
		return "CONFIG_MMU_NOTIFIER";
	if (!boot_cpu_has(X86_FEATURE_OSXSAVE))
		return "a CPU with XSAVE (or the kernel was booted with noxsave)";
	if (kkm_xsave_size() > KKM_SCRATCH_SIZE)
		return "room for this CPU's XSAVE image";
	return NULL;
}

static int __init kkm_init(void)
{
	const char *what = missing();
	int r;

	if (what) {
		pr_err("kkm: cannot load: this kernel lacks %s\n", what);
		return -EOPNOTSUPP;
	}
	r = kkm_stub_init();
	if (r)
		return r;
	r = init_srcu_struct(&kkm_srcu);
	if (r)
		goto err_stub;
	r = -ENOMEM;
	kkm_wq = alloc_workqueue("kkm", WQ_UNBOUND, 0);
	if (!kkm_wq)
		goto err_srcu;
	r = kkm_hook_init();
	if (r) {
		pr_err("kkm: cannot load: this kernel lacks the signal_generate tracepoint\n");
		goto err_wq;
	}
	r = misc_register(&kkm_device);
	if (r)
		goto err_hook;
	return 0;

err_hook:
	kkm_hook_exit();
err_wq:
	destroy_workqueue(kkm_wq);
err_srcu:
	cleanup_srcu_struct(&kkm_srcu);
err_stub:
	kkm_stub_exit();
	return r;
}

static void __exit kkm_exit(void)
{
	misc_deregister(&kkm_device);
	/* The last machine's work dropped the last reference; let it return. */
	destroy_workqueue(kkm_wq);
	kkm_hook_exit();
	cleanup_srcu_struct(&kkm_srcu);
	kkm_stub_exit();
	kkm_cpuid_exit();
}

module_init(kkm_init);
module_exit(kkm_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Kontain toolkit authors");
MODULE_DESCRIPTION("Kontain kernel module: virtual machines without hardware virtualization");
MODULE_VERSION("1.0.0");
