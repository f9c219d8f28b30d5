/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of the module.
 *
 * monitor      the process that opened /dev/kkm
 * companion    its child, whose address space is the guest's
 * guest thread a thread of the companion, bound to one vCPU for life
 *
 * Locks, outer to inner; docs/kkm.md has the reasons:
 *   vcpu->lock         one ioctl at a time on a vCPU; KVM_RUN holds it
 *   vm->lock           vCPU list, writers of the layout, the companion
 *   host mmap_lock  >  MMU notifier  >  inode's i_mmap  >  page-table locks
 *   guest mmap_lock >  page-table locks;  never both mmap_locks at once
 *   kkm_srcu           readers of vm->layout
 *   kkm_threads_lock   writers of the task -> vCPU table; readers use RCU
 */
#ifndef _KKM_KKM_H
#define _KKM_KKM_H

#include <linux/atomic.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/refcount.h>
#include <linux/srcu.h>
#include <linux/task_work.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "compat.h"
#include "include/uapi/kkm.h"
#include "stub.h"

struct perf_event;

#define KKM_PROT_RIGHTS	(KKM_PROT_READ | KKM_PROT_WRITE | KKM_PROT_EXEC)

/* Counters, one line each: name, what it counts. Read in /sys/class/misc/kkm/counters/. */
#define KKM_COUNTERS(X)							\
	X(machines, "machines made")					\
	X(vcpus, "vCPUs made")						\
	X(runs, "KVM_RUN calls that entered the guest")			\
	X(exits_syscall, "exits: system call")				\
	X(exits_io, "exits: port I/O")					\
	X(exits_exception, "exits: exception")				\
	X(exits_debug, "exits: debug")					\
	X(exits_interrupted, "exits: signal or immediate_exit")		\
	X(exits_shutdown, "exits: companion gone")			\
	X(faults_resolved, "page faults resolved in the kernel")	\
	X(faults_around, "pages mapped beside a faulting one")		\
	X(faults_failed, "page faults handed to the monitor")		\
	X(faults_raced, "page faults repeated after an invalidation")	\
	X(invalidations, "ranges withdrawn by the MMU notifier")	\
	X(kicks, "guests interrupted")					\
	X(unpinned, "runs that gave up sharing one CPU")

enum kkm_counter {
#define X(name, what) KKM_COUNT_##name,
	KKM_COUNTERS(X)
#undef X
	KKM_NR_COUNTERS
};

struct kkm_stats {
	u64 n[KKM_NR_COUNTERS];
};
DECLARE_PER_CPU(struct kkm_stats, kkm_stats);
#define kkm_count(name) this_cpu_inc(kkm_stats.n[KKM_COUNT_##name])

struct kkm_slot {
	u64 gpa, size, hva;
	u32 id, flags;
};

/* A task work, and whether it is queued. */
struct kkm_work {
	struct callback_head head;
	atomic_t queued;
};

/* What a guest address means. Immutable once published; replaced as a whole. */
struct kkm_layout {
	unsigned int nslots, nwindows;
	struct kkm_slot slots[KKM_MAX_SLOTS];		/* sorted by gpa */
	struct kkm_window windows[KKM_MAX_WINDOWS];
};

struct kkm_place {
	u64 hva;
	u64 left;	/* bytes from hva to the end of the slot or window */
	u32 prot;
};

struct kkm_vm {
	refcount_t users;	/* VM and vCPU files; the last one kills the companion */
	refcount_t refs;	/* all users together, and the space file */
	struct mm_struct *host_mm;
	struct pid *host_pid;
	struct mmu_interval_notifier notifier;	/* of the whole of host_mm */
	struct inode *inode;	/* its mapping knows every guest page-table entry */
	struct kkm_layout __rcu *layout;
	atomic_t layout_seq;

	struct mutex lock;
	struct list_head vcpus;
	unsigned int nvcpus;
	struct pid *companion;		/* set once */
	struct mm_struct *guest_mm;	/* compared, never followed; held, so that it stays the only one */
	struct task_struct *mapper;	/* in KKM_SPACE_INIT: who may map the space file */
	bool dead;
	wait_queue_head_t spawn_wait;
	atomic_t spawn_wanted;		/* vCPUs without a thread, not yet claimed */

	struct delayed_work free_work;
};

/*
 * NEW -> PARKED by the guest thread, PARKED -> RUNNING by KVM_RUN, RUNNING ->
 * PARKED by the guest thread, anything -> DEAD by whoever sees it die.
 */
enum kkm_state { KKM_NEW, KKM_PARKED, KKM_RUNNING, KKM_DEAD };

/* What the guest thread runs: the guest, or an entry of the stub. */
enum kkm_job { KKM_JOB_GUEST, KKM_JOB_XSAVE, KKM_JOB_XRSTOR };

/* Why the guest stopped, written by the guest thread before it parks. */
struct kkm_exit {
	u32 reason;
	u32 vector, error, flags;
	u64 cr2, dr6;
};

struct kkm_vcpu {
	struct kkm_vm *vm;
	struct list_head link;		/* vm->vcpus */
	struct hlist_node thread_node;	/* task -> vCPU */
	unsigned int id;
	struct mutex lock;

	/* The guest thread and the hand-over. */
	struct task_struct *task;	/* NULL until attached */
	bool spawning;
	int spawn_error;
	struct kkm_work work, kick_work;	/* events of its own; kicks of other threads */
	atomic_t kick;
	int state;			/* enum kkm_state */
	int job, job_result;		/* enum kkm_job; 0 or -errno */
	wait_queue_head_t guest_wait, run_wait;
	int cpu;			/* where the guest thread is pinned, or -1 */
	unsigned long pinned_at;	/* jiffies */

	/* A fault on its way from the handler to the event code, same thread. */
	bool fault;
	unsigned long fault_addr;	/* page, not byte */
	unsigned int fault_error;
	unsigned long denied;		/* page whose next fault shall be a SIGSEGV */

	/* Guest state while parked. */
	struct kvm_regs regs;
	u64 fs_base, gs_base, cr2;
	u64 live_fs_base, live_gs_base;	/* what the thread has loaded */
	struct kkm_exit exit;
	bool in_pending;		/* an `in` waits for its datum */
	u8 in_size;

	struct kvm_guest_debug debug;
	struct perf_event *hw_bp[4];

	sigset_t sigmask;
	bool sigmask_set;

	struct kvm_run *run;		/* two pages: kvm_run, then the I/O datum */
	void *scratch;			/* XSAVE image shared with the stub, or NULL */
	u32 job_pkru;			/* PKRU the stub found */
};

/* main.c */
extern struct file_system_type kkm_fs;
extern struct workqueue_struct *kkm_wq;
extern struct srcu_struct kkm_srcu;
extern bool kkm_pinning;
long kkm_check_extension(unsigned long cap);

/* counters.c */
extern const struct attribute_group *kkm_counter_groups[];

/* cpuid.c */
long kkm_get_cpuid(struct kvm_cpuid2 __user *arg);
void kkm_cpuid_exit(void);
unsigned int kkm_xsave_size(void);
u64 kkm_xcr0(void);

/* vm.c */
extern struct vfsmount *kkm_mnt;
long kkm_vm_create(unsigned long type);
void kkm_vm_get(struct kkm_vm *vm);
void kkm_vm_put(struct kkm_vm *vm);
void kkm_vm_user_get(struct kkm_vm *vm);
void kkm_vm_user_put(struct kkm_vm *vm);
void kkm_vm_kill(struct kkm_vm *vm);

/* layout.c */
long kkm_set_slot(struct kkm_vm *vm, const struct kvm_userspace_memory_region *m);
long kkm_set_window(struct kkm_vm *vm, const struct kkm_window *w);
bool kkm_find(const struct kkm_layout *l, u64 gva, struct kkm_place *place);
bool kkm_shows_host(const struct kkm_layout *l, u64 start, u64 end);
void kkm_zap_host(struct kkm_vm *vm, const struct kkm_layout *l, u64 start, u64 end);

/* space.c */
long kkm_space_init(struct kkm_vm *vm, unsigned long vm_fd);
void kkm_set_handler(int sig);

/* vcpu.c */
long kkm_vcpu_create(struct kkm_vm *vm, unsigned long id);
bool kkm_vcpu_ended(const struct kkm_vcpu *v);
void kkm_vcpu_free(struct kkm_vcpu *v);
void kkm_vcpu_dead(struct kkm_vcpu *v);

/* run.c */
long kkm_run(struct kkm_vcpu *v);
int kkm_wait_ready(struct kkm_vcpu *v);
int kkm_enter_job(struct kkm_vcpu *v);

/* event.c */
void kkm_push(struct kkm_vcpu *v);
void kkm_kick(struct kkm_vcpu *v);
void kkm_bind(struct kkm_vcpu *v);
void kkm_unbind(struct kkm_vcpu *v);
struct kkm_vcpu *kkm_current(void);
int kkm_hook_init(void);
void kkm_hook_exit(void);

/* mmu.c */
/* For *why, inside the module: KKM_FAULT_PROT where no right is left at all, which a CPU calls absent. */
#define KKM_WHY_HIDDEN		0x80000000
int kkm_resolve(struct kkm_vcpu *v, unsigned long addr, unsigned int error, u32 *why);
int kkm_notifier_register(struct kkm_vm *vm);
int kkm_guest_mmap(struct file *file, struct vm_area_struct *vma);

/* regs.c */
void kkm_save_regs(struct kkm_vcpu *v, const struct pt_regs *p);
void kkm_load_regs(struct kkm_vcpu *v, struct pt_regs *p);
void kkm_clear_segments(struct kkm_vcpu *v);
void kkm_get_sregs(const struct kkm_vcpu *v, struct kvm_sregs *s);
int kkm_set_sregs(struct kkm_vcpu *v, const struct kvm_sregs *s);
long kkm_set_msrs(struct kkm_vcpu *v, struct kvm_msrs __user *arg);
long kkm_get_msrs(struct kkm_vcpu *v, struct kvm_msrs __user *arg);

/* state.c */
long kkm_state_ioctl(struct kkm_vcpu *v, unsigned int cmd, void __user *arg);

/* debug.c */
int kkm_set_debug(struct kkm_vcpu *v, const struct kvm_guest_debug *dbg);
void kkm_clear_debug(struct kkm_vcpu *v);

/* stub.c */
int kkm_stub_init(void);
void kkm_stub_exit(void);
struct page *kkm_stub_page(void);

#endif /* _KKM_KKM_H */
