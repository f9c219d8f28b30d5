// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory. The guest's page tables are Linux's own, of a PFN-mapped area
 * of the companion; entries are put there by the event code, in the guest
 * thread, and withdrawn when the monitor's memory changes.
 */
#include <linux/lockdep.h>
#include <linux/mmu_notifier.h>
#include <linux/pfn.h>
#include <linux/sched/mm.h>
#include <asm/trap_pf.h>

#include "kkm.h"

#define KKM_BATCH	16	/* pages looked up at once: a fault and its neighbours */

/* What one fault found, between the monitor's mmap lock and the guest's. */
struct kkm_pages {
	struct page *page[KKM_BATCH];
	long count;
	bool writable, executable;
};

/*
 * First half of a fault: find out, record, map nothing. The event code runs on
 * the way back to user mode, where it may sleep and hold the monitor's lock.
 */
static vm_fault_t note_fault(struct vm_fault *vmf, unsigned int error)
{
	struct kkm_vcpu *v;

	/* A kernel access on behalf of a guest thread would loop; let it fail. */
	if (!(vmf->flags & FAULT_FLAG_USER))
		return VM_FAULT_SIGBUS;
	v = kkm_current();
	if (!v)
		return VM_FAULT_SIGBUS;
	/*
	 * It was tried and failed: take the long way, by a signal, which tells the
	 * byte and the CPU's own error code; vmf knows only the page (before 5.18).
	 */
	if (v->denied == (vmf->address & PAGE_MASK)) {
		v->denied = 0;
		return VM_FAULT_SIGSEGV;
	}
	error |= X86_PF_USER;
	if (vmf->flags & FAULT_FLAG_WRITE)
		error |= X86_PF_WRITE;
	if (vmf->flags & FAULT_FLAG_INSTRUCTION)
		error |= X86_PF_INSTR;
	v->fault = true;
	v->fault_addr = vmf->address;
	v->fault_error = error;
	kkm_push(v);
	set_thread_flag(TIF_NOTIFY_RESUME);
	return VM_FAULT_NOPAGE;
}

static vm_fault_t guest_fault(struct vm_fault *vmf)
{
	return note_fault(vmf, 0);
}

/* A write to an entry we made read-only; NOPAGE keeps Linux from opening it. */
static vm_fault_t guest_write_fault(struct vm_fault *vmf)
{
	return note_fault(vmf, X86_PF_PROT);
}

static const struct vm_operations_struct guest_vm_ops = {
	.fault = guest_fault,
	.pfn_mkwrite = guest_write_fault,
};

static vm_fault_t stub_fault(struct vm_fault *vmf)
{
	vmf->page = kkm_stub_page();
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct stub_vm_ops = { .fault = stub_fault };

/* A thread reaches only its own vCPU's scratch, and only once that exists. */
static vm_fault_t scratch_fault(struct vm_fault *vmf)
{
	struct kkm_vcpu *v = kkm_current();
	unsigned long offset;
	char *scratch;

	if (!v)
		return VM_FAULT_SIGBUS;
	scratch = smp_load_acquire(&v->scratch);
	if (!scratch)
		return VM_FAULT_SIGBUS;
	offset = (vmf->address & PAGE_MASK) - KKM_SCRATCH_VA(v->id);
	if (offset >= KKM_SCRATCH_SIZE)
		return VM_FAULT_SIGBUS;
	vmf->page = virt_to_page(scratch + offset);
	get_page(vmf->page);
	return 0;
}

static const struct vm_operations_struct scratch_vm_ops = { .fault = scratch_fault };

/* The three areas of the space file, as KKM_SPACE_INIT maps them. */
int kkm_guest_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long start = vma->vm_pgoff << PAGE_SHIFT;

	if (start != vma->vm_start)
		return -EINVAL;
	if (start == KKM_STUB_VA && vma->vm_end == start + PAGE_SIZE) {
		if (vma->vm_flags & VM_WRITE)
			return -EPERM;
		kkm_vm_flags(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
		vma->vm_ops = &stub_vm_ops;
		return 0;
	}
	if (start == KKM_GUEST_HI && vma->vm_end == KKM_STUB_VA) {
		kkm_vm_flags(vma, VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
		vma->vm_ops = &scratch_vm_ops;
		return 0;
	}
	if (start != KKM_GUEST_LO || vma->vm_end != KKM_GUEST_HI)
		return -EINVAL;
	kkm_vm_flags(vma, VM_PFNMAP | VM_IO | VM_DONTCOPY | VM_DONTEXPAND | VM_DONTDUMP, 0);
	vma->vm_ops = &guest_vm_ops;
	return 0;
}

/* Whether the window, the slot and the monitor's mapping allow this access. */
static bool allowed(const struct vm_area_struct *vma, u32 prot, unsigned int error)
{
	if (error & X86_PF_WRITE)
		return (prot & KKM_PROT_WRITE) && (vma->vm_flags & VM_WRITE);
	if (error & X86_PF_INSTR) {
		if (!(prot & KKM_PROT_EXEC))
			return false;
		return !(prot & KKM_PROT_HOST_EXEC) || (vma->vm_flags & VM_EXEC);
	}
	/* On x86 every right implies reading. */
	return (prot & KKM_PROT_RIGHTS) && (vma->vm_flags & VM_ACCESS_FLAGS);
}

/* Pages from hva on that the monitor has at hand; the first is faulted in. */
static void look_up(struct mm_struct *mm, const struct vm_area_struct *vma, u64 hva, u64 left,
		    bool may_write, bool need_write, struct kkm_pages *found)
{
	unsigned int flags = vma->vm_flags & VM_READ ? 0 : FOLL_FORCE;
	long n = min_t(u64, left >> PAGE_SHIFT, KKM_BATCH);

	found->count = 0;
	found->writable = false;
	/* Take it writable at once if it is so already: saves the second fault. */
	if (may_write && KKM_FOLL_PRESENT)
		found->count = kkm_get_pages(mm, hva, n, FOLL_WRITE | KKM_FOLL_PRESENT,
					     found->page);
	if (found->count > 0) {
		found->writable = true;
		return;
	}
	if (need_write)
		flags = FOLL_WRITE;
	found->count = kkm_get_pages(mm, hva, 1, flags, found->page);
	found->writable = need_write;
	if (found->count == 1 && n > 1 && KKM_FOLL_PRESENT) {
		long more = kkm_get_pages(mm, hva + PAGE_SIZE, n - 1, flags | KKM_FOLL_PRESENT,
					  found->page + 1);

		found->count += max(more, 0L);
	}
}

/* The monitor's half of a fault. 0, or -errno with *why set. */
static int collect(struct kkm_vm *vm, const struct kkm_place *place, unsigned int error,
		   struct kkm_pages *found, u32 *why)
{
	struct mm_struct *mm = vm->host_mm;
	struct vm_area_struct *vma;
	int r = -EFAULT;
	u64 left;

	if (!mmget_not_zero(mm)) {
		*why = KKM_FAULT_NO_SLOT;
		return -EFAULT;
	}
	if (mmap_read_lock_killable(mm)) {
		mmput(mm);
		return -EINTR;
	}
	vma = find_vma(mm, place->hva);
	if (!vma || vma->vm_start > place->hva) {
		*why = KKM_FAULT_NO_SLOT;
	} else if (!allowed(vma, place->prot, error)) {
		*why = vma->vm_flags & VM_ACCESS_FLAGS ? KKM_FAULT_PROT : KKM_WHY_HIDDEN;
	} else {
		/* A batch ends at a 64 KiB boundary, the mapping's and the slot's end. */
		left = min_t(u64, place->left, vma->vm_end - place->hva);
		left = min_t(u64, left, round_up(place->hva + 1, KKM_BATCH * PAGE_SIZE) - place->hva);
		look_up(mm, vma, place->hva, left, allowed(vma, place->prot, X86_PF_WRITE),
			error & X86_PF_WRITE, found);
		found->executable = allowed(vma, place->prot, X86_PF_INSTR);
		if (found->count > 0)
			r = 0;
		else
			*why = KKM_FAULT_NO_PAGE;
	}
	mmap_read_unlock(mm);
	mmput(mm);
	return r;
}

/*
 * Whether an entry at addr is one that withdrawing finds: by its offset in the
 * file, which is the address unless someone (a debugger) had the area moved.
 */
static bool ours(const struct vm_area_struct *vma, unsigned long addr)
{
	return vma && vma->vm_start <= addr && vma->vm_ops == &guest_vm_ops &&
	       vma->vm_pgoff == vma->vm_start >> PAGE_SHIFT;
}

/* The guest's half: enter what was found. False when even the first did not go in. */
static bool enter(unsigned long addr, const struct kkm_pages *found)
{
	unsigned long flags = VM_READ | VM_SHARED;
	struct vm_area_struct *vma;
	bool ok = false;
	pgprot_t prot;
	long i;

	if (found->writable)
		flags |= VM_WRITE;
	if (found->executable)
		flags |= VM_EXEC;
	prot = vm_get_page_prot(flags);

	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, addr);
	if (ours(vma, addr)) {
		for (i = 0; i < found->count && addr + i * PAGE_SIZE < vma->vm_end; i++) {
			vm_fault_t r = vmf_insert_pfn_prot(vma, addr + i * PAGE_SIZE,
						page_to_pfn(found->page[i]), prot);

			if (r != VM_FAULT_NOPAGE)
				break;
			ok = true;
		}
	}
	mmap_read_unlock(current->mm);
	return ok;
}

/* Where addr lies now; what follows it up to place->left lies there as well. */
static bool locate(struct kkm_vm *vm, unsigned long addr, struct kkm_place *place)
{
	bool found;
	int idx = srcu_read_lock(&kkm_srcu);

	found = kkm_find(srcu_dereference(vm->layout, &kkm_srcu), addr, place);
	srcu_read_unlock(&kkm_srcu, idx);
	return found;
}

/*
 * Map the page at addr for an access described by X86_PF_* bits. Runs in the
 * guest thread with no lock held. 0 means try the access again; -errno means it
 * is the guest's own fault, *why says how.
 *
 * Against invalidation: wait for one that is under way, note the sequences, look
 * up, enter, look at the sequences again and withdraw if one moved. Another vCPU
 * may use the page between the last two; the reference held meanwhile keeps it
 * from being freed, moved or merged, and marking it dirty keeps what was written.
 */
int kkm_resolve(struct kkm_vcpu *v, unsigned long addr, unsigned int error, u32 *why)
{
	struct kkm_vm *vm = v->vm;
	struct kkm_pages found;
	struct kkm_place place;
	unsigned long seq;
	int r, layout_seq;
	long i;
	bool raced;

	addr &= PAGE_MASK;
	seq = mmu_interval_read_begin(&vm->notifier);
	layout_seq = atomic_read(&vm->layout_seq);
	smp_rmb();	/* sequences before layout and pages */
	if (!locate(vm, addr, &place)) {
		*why = KKM_FAULT_NO_SLOT;
		return -EFAULT;
	}
	r = collect(vm, &place, error, &found, why);
	if (r)
		return r;
	/* The old entry would stay: it is there, but with less than is needed. */
	if (error & X86_PF_PROT)
		unmap_mapping_range(vm->inode->i_mapping, addr, PAGE_SIZE, 1);
	if (!enter(addr, &found)) {
		*why = KKM_FAULT_NO_PAGE;
		r = -EFAULT;
	}
	smp_mb();	/* entries before sequences */
	raced = mmu_interval_read_retry(&vm->notifier, seq) ||
		atomic_read(&vm->layout_seq) != layout_seq;
	if (raced) {
		unmap_mapping_range(vm->inode->i_mapping, addr, found.count * PAGE_SIZE, 1);
		kkm_count(faults_raced);
	} else {
		kkm_count(faults_resolved);
		this_cpu_add(kkm_stats.n[KKM_COUNT_faults_around], found.count - 1);
	}
	for (i = 0; i < found.count; i++) {
		if (raced && found.writable)
			set_page_dirty_lock(found.page[i]);
		put_page(found.page[i]);
	}
	if (raced) {
		cond_resched();
		return 0;
	}
	return r;
}

/*
 * The monitor's memory changes in range, or (MMU_NOTIFY_RELEASE) goes for good:
 * it exits or executes something else. The sequence is set first, so that a
 * fault either sees it changed or has its entry in place to be withdrawn.
 * Returns false to refuse: whoever must not wait, the OOM reaper, passes over it.
 */
static bool host_changes(struct mmu_interval_notifier *notifier,
			 const struct mmu_notifier_range *range, unsigned long seq)
{
	struct kkm_vm *vm = container_of(notifier, struct kkm_vm, notifier);
	const struct kkm_layout *l;
	bool done = true;
	int idx;

	mmu_interval_set_seq(notifier, seq);
	smp_mb();	/* sequence before layout and entries */
	idx = srcu_read_lock(&kkm_srcu);
	l = srcu_dereference(vm->layout, &kkm_srcu);
	if (kkm_shows_host(l, range->start, range->end)) {
		done = mmu_notifier_range_blockable(range);
		if (done)
			kkm_zap_host(vm, l, range->start, range->end);
	}
	srcu_read_unlock(&kkm_srcu, idx);
	if (range->event == MMU_NOTIFY_RELEASE)
		kkm_vm_kill(vm);
	return done;
}

static const struct mmu_interval_notifier_ops notifier_ops = { .invalidate = host_changes };

int kkm_notifier_register(struct kkm_vm *vm)
{
	return mmu_interval_notifier_insert(&vm->notifier, vm->host_mm, 0, ULONG_MAX, &notifier_ops);
}
