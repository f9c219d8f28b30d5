/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Top of the companion's address space: per-vCPU scratch, then the stub page,
 * then the page Linux keeps free. Shared by C and assembly.
 */
#ifndef _KKM_STUB_H
#define _KKM_STUB_H

/* Layout of the stub page. */
#define KKM_STUB_DATA		0x400	/* struct kkm_stub_data */
#define KKM_STUB_INIT_IMAGE	0x800	/* 576 bytes, 64-byte aligned */

#define KKM_STUB_CLONE_FLAGS	0x50f00	/* VM FS FILES SIGHAND THREAD SYSVSEM */

#ifndef __ASSEMBLY__
#include <linux/mm.h>

#define KKM_SCRATCH_PAGES	4
#define KKM_SCRATCH_SIZE	(KKM_SCRATCH_PAGES * PAGE_SIZE)

#define KKM_GUEST_LO		0x10000UL
#define KKM_STUB_VA		(TASK_SIZE_MAX - 2 * PAGE_SIZE)
#define KKM_SCRATCH_VA(id)	(KKM_STUB_VA - (KKM_MAX_VCPUS - (id)) * KKM_SCRATCH_SIZE)
#define KKM_GUEST_HI		KKM_SCRATCH_VA(0)

/* Start, end and entries of the assembled stub, as it lies in the module. */
extern const char kkm_stub_start[], kkm_stub_end[];
extern const char kkm_stub_ready[], kkm_stub_fail[], kkm_stub_done[];
extern const char kkm_stub_xsave[], kkm_stub_xrstor[];
extern const char kkm_stub_xsave_pku[], kkm_stub_xrstor_pku[];

/* Address of an entry in the companion. */
#define kkm_stub_va(entry) (KKM_STUB_VA + (unsigned long)((entry) - kkm_stub_start))
#endif

#endif /* _KKM_STUB_H */
