// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest-virtual -> window -> guest-physical -> slot -> monitor address.
 * A layout never changes once published: writers copy it, edit the copy,
 * publish it, and withdraw what guests had mapped through the old one.
 */
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "kkm.h"

#define KKM_PROT_ALL	(KKM_PROT_RIGHTS | KKM_PROT_HOST_EXEC)
#define KKM_GPA_END	(1ULL << 52)

static const struct kkm_slot *find_slot(const struct kkm_layout *l, u64 gpa)
{
	unsigned int lo = 0, hi = l->nslots;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;
		const struct kkm_slot *s = &l->slots[mid];

		if (gpa < s->gpa)
			hi = mid;
		else if (gpa - s->gpa >= s->size)
			lo = mid + 1;
		else
			return s;
	}
	return NULL;
}

static const struct kkm_window *find_window(const struct kkm_layout *l, u64 gva)
{
	unsigned int i;

	for (i = 0; i < l->nwindows; i++)
		if (gva - l->windows[i].gva < l->windows[i].size)
			return &l->windows[i];
	return NULL;
}

/* Where gva lies in the monitor; false when no window or slot covers it. */
bool kkm_find(const struct kkm_layout *l, u64 gva, struct kkm_place *place)
{
	const struct kkm_window *w = NULL;
	const struct kkm_slot *s;
	u64 gpa = gva;

	if (l->nwindows) {
		w = find_window(l, gva);
		if (!w)
			return false;
		gpa = w->gpa + (gva - w->gva);
	}
	s = find_slot(l, gpa);
	if (!s)
		return false;
	place->hva = s->hva + (gpa - s->gpa);
	place->left = s->size - (gpa - s->gpa);
	place->prot = KKM_PROT_RIGHTS;
	if (w) {
		place->left = min(place->left, w->size - (gva - w->gva));
		place->prot = w->prot;
	}
	if (s->flags & KVM_MEM_READONLY)
		place->prot &= ~KKM_PROT_WRITE;
	return true;
}

/* Withdraw guest-virtual [gva, gva + size): file offset = guest address. */
static void zap_gva(struct kkm_vm *vm, u64 gva, u64 size)
{
	/*
	 * Called from a notifier, this nests one address space's invalidation in
	 * another's; the order is always monitor, then guest, never back, which
	 * lockdep cannot see: both are the same class to it.
	 */
	lockdep_off();
	unmap_mapping_range(vm->inode->i_mapping, gva, size, 1);
	lockdep_on();
}

static void zap_gpa(struct kkm_vm *vm, const struct kkm_layout *l, u64 gpa, u64 size)
{
	unsigned int i;

	if (!l->nwindows) {
		zap_gva(vm, gpa, size);
		return;
	}
	for (i = 0; i < l->nwindows; i++) {
		const struct kkm_window *w = &l->windows[i];
		u64 from = max(gpa, w->gpa), to = min(gpa + size, w->gpa + w->size);

		if (from < to)
			zap_gva(vm, w->gva + (from - w->gpa), to - from);
	}
}

/* Whether a guest can see any of the monitor's [start, end). */
bool kkm_shows_host(const struct kkm_layout *l, u64 start, u64 end)
{
	unsigned int i;

	for (i = 0; i < l->nslots; i++)
		if (start < l->slots[i].hva + l->slots[i].size && l->slots[i].hva < end)
			return true;
	return false;
}

/* Withdraw everything that shows the monitor's [start, end). */
void kkm_zap_host(struct kkm_vm *vm, const struct kkm_layout *l, u64 start, u64 end)
{
	unsigned int i;

	for (i = 0; i < l->nslots; i++) {
		const struct kkm_slot *s = &l->slots[i];
		u64 from = max(start, s->hva), to = min(end, s->hva + s->size);

		if (from >= to)
			continue;
		kkm_count(invalidations);
		zap_gpa(vm, l, s->gpa + (from - s->hva), to - from);
	}
}

/* A private copy to edit; vm->lock is held. */
static struct kkm_layout *copy_layout(struct kkm_vm *vm)
{
	const struct kkm_layout *old = rcu_dereference_protected(vm->layout,
						lockdep_is_held(&vm->lock));

	return kmemdup(old, sizeof(*old), GFP_KERNEL_ACCOUNT);
}

/*
 * A fault that read the old layout sees layout_seq changed after it has mapped its
 * page, and takes it back; so the order is publish, count, withdraw. Returns
 * the old layout, for the caller to withdraw what it showed, and to free.
 */
static struct kkm_layout *publish(struct kkm_vm *vm, struct kkm_layout *new)
{
	struct kkm_layout *old = rcu_dereference_protected(vm->layout,
						lockdep_is_held(&vm->lock));

	rcu_assign_pointer(vm->layout, new);
	smp_mb__before_atomic();
	atomic_inc(&vm->layout_seq);
	smp_mb__after_atomic();
	return old;
}

static void retire(struct kkm_layout *old)
{
	synchronize_srcu_expedited(&kkm_srcu);
	kfree(old);
}

static int slot_index(const struct kkm_layout *l, u32 id)
{
	unsigned int i;

	for (i = 0; i < l->nslots; i++)
		if (l->slots[i].id == id)
			return i;
	return -1;
}

static void remove_slot(struct kkm_layout *l, unsigned int i)
{
	l->nslots--;
	memmove(&l->slots[i], &l->slots[i + 1], (l->nslots - i) * sizeof(l->slots[0]));
}

static int insert_slot(struct kkm_layout *l, const struct kkm_slot *new)
{
	unsigned int i;

	for (i = 0; i < l->nslots && l->slots[i].gpa < new->gpa; i++)
		if (new->gpa - l->slots[i].gpa < l->slots[i].size)
			return -EEXIST;
	if (i < l->nslots && l->slots[i].gpa - new->gpa < new->size)
		return -EEXIST;
	memmove(&l->slots[i + 1], &l->slots[i], (l->nslots - i) * sizeof(l->slots[0]));
	l->slots[i] = *new;
	l->nslots++;
	return 0;
}

/* The whole edit on a private copy; rules and errors are KVM's. */
static int edit_slot(struct kkm_layout *l, const struct kkm_slot *new)
{
	int i = slot_index(l, new->id);

	if (!new->size && i < 0)
		return -EINVAL;
	if (new->size && i >= 0) {
		const struct kkm_slot *old = &l->slots[i];

		/* Only moving in guest-physical space is allowed. */
		if (old->hva != new->hva || old->size != new->size || old->flags != new->flags)
			return -EINVAL;
	}
	if (i >= 0)
		remove_slot(l, i);
	return new->size ? insert_slot(l, new) : 0;
}

static long replace_slot(struct kkm_vm *vm, const struct kkm_slot *new)
{
	struct kkm_layout *l = copy_layout(vm), *old;
	int i, r;

	if (!l)
		return -ENOMEM;
	r = edit_slot(l, new);
	if (r) {
		kfree(l);
		return r;
	}
	old = publish(vm, l);
	i = slot_index(old, new->id);
	if (i >= 0)
		zap_gpa(vm, old, old->slots[i].gpa, old->slots[i].size);
	retire(old);
	return 0;
}

/* KVM_SET_USER_MEMORY_REGION. */
long kkm_set_slot(struct kkm_vm *vm, const struct kvm_userspace_memory_region *m)
{
	const struct kkm_slot new = {
		.gpa = m->guest_phys_addr, .size = m->memory_size,
		.hva = m->userspace_addr, .id = m->slot, .flags = m->flags,
	};
	long r;

	if (m->slot >= KKM_MAX_SLOTS || (m->flags & ~KVM_MEM_READONLY))
		return -EINVAL;
	if ((new.gpa | new.size | new.hva) & ~PAGE_MASK)
		return -EINVAL;
	if (new.gpa > KKM_GPA_END || new.size > KKM_GPA_END - new.gpa)
		return -EINVAL;
	if (!access_ok((void __user *)(unsigned long)new.hva, new.size))
		return -EINVAL;

	mutex_lock(&vm->lock);
	r = replace_slot(vm, &new);
	mutex_unlock(&vm->lock);
	return r;
}

static int edit_window(struct kkm_layout *l, const struct kkm_window *new)
{
	unsigned int i;

	for (i = 0; i < l->nwindows; i++) {
		const struct kkm_window *w = &l->windows[i];

		if (!new->size && w->gva == new->gva) {
			l->windows[i] = l->windows[--l->nwindows];
			return 0;
		}
		if (new->gva < w->gva + w->size && w->gva < new->gva + new->size)
			return -EEXIST;
	}
	if (!new->size)
		return -ENOENT;
	if (l->nwindows == KKM_MAX_WINDOWS)
		return -ENOSPC;
	l->windows[l->nwindows++] = *new;
	return 0;
}

static long replace_window(struct kkm_vm *vm, const struct kkm_window *w)
{
	struct kkm_layout *l = copy_layout(vm), *old;
	int r;

	if (!l)
		return -ENOMEM;
	r = edit_window(l, w);
	if (r) {
		kfree(l);
		return r;
	}
	old = publish(vm, l);
	/* A new window shows nothing yet, unless all was shown before. */
	if (!w->size || !old->nwindows)
		zap_gva(vm, KKM_GUEST_LO, KKM_GUEST_HI - KKM_GUEST_LO);
	retire(old);
	return 0;
}

/* KKM_MAP_WINDOW. */
long kkm_set_window(struct kkm_vm *vm, const struct kkm_window *w)
{
	long r;

	if (w->reserved || (w->prot & ~KKM_PROT_ALL))
		return -EINVAL;
	if ((w->gva | w->gpa | w->size) & ~PAGE_MASK)
		return -EINVAL;
	if (w->gpa > KKM_GPA_END || w->size > KKM_GPA_END - w->gpa)
		return -EINVAL;
	if (w->gva < KKM_GUEST_LO || w->gva > KKM_GUEST_HI || w->size > KKM_GUEST_HI - w->gva)
		return -EINVAL;

	mutex_lock(&vm->lock);
	r = replace_window(vm, w);
	mutex_unlock(&vm->lock);
	return r;
}
