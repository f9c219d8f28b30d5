/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * /dev/kkm as user space sees it, apart from what <linux/kvm.h> defines.
 *
 * The device answers KVM's own ioctl numbers with KVM's own structures; this
 * header has only what KVM has no name for. docs/kkm.md lists both.
 */
#ifndef _UAPI_KKM_H
#define _UAPI_KKM_H

#include <linux/ioctl.h>
#include <linux/kvm.h>
#include <linux/types.h>

/* Answer of KKM_GET_IDENTITY; KVM answers ENOTTY. */
#define KKM_IDENTITY		0x6B6B6D

/* Version of the private part below. */
#define KKM_ABI_VERSION		1

/* On the device. */
#define KKM_GET_IDENTITY	_IO(KVMIO, 0xff)

/*
 * On the machine, by a single-threaded child of the monitor; the argument is
 * the number the machine's descriptor has in that child. On success the caller
 * becomes the companion and the call never returns to its code: the whole
 * address space is replaced. EAGAIN: someone looks at the child's memory just
 * now (a reader of /proc); call again.
 */
#define KKM_SPACE_INIT		_IO(KVMIO, 0xf0)

/* On the space file, by the companion's stub only. */
#define KKM_SPACE_WAIT		_IO(KVMIO, 0xf1)
#define KKM_SPACE_ATTACH	_IO(KVMIO, 0xf2)

/* On the machine, by the monitor: struct kkm_window. */
#define KKM_MAP_WINDOW		_IOW(KVMIO, 0xf3, struct kkm_window)

/*
 * Guest-virtual [gva, gva + size) shows guest-physical [gpa, gpa + size).
 * Without any window, guest-virtual equals guest-physical with every right.
 * size 0 removes the window that starts at gva.
 */
struct kkm_window {
	__u64 gva;
	__u64 gpa;
	__u64 size;
	__u32 prot;		/* KKM_PROT_* */
	__u32 reserved;		/* must be 0 */
};

/* Rights; the monitor's own mapping may take away READ and WRITE further. */
#define KKM_PROT_READ		0x1
#define KKM_PROT_WRITE		0x2
#define KKM_PROT_EXEC		0x4
/* Executable only where the monitor's own mapping is (with KKM_PROT_EXEC). */
#define KKM_PROT_HOST_EXEC	0x8

/* Extensions, for KVM_CHECK_EXTENSION; KVM answers 0 to these. */
#define KKM_CAP_ABI		0x6b000000	/* KKM_ABI_VERSION */
#define KKM_CAP_WINDOWS		0x6b000001	/* number of windows */
#define KKM_CAP_SYSCALL_EXIT	0x6b000002	/* KKM_EXIT_SYSCALL happens */
#define KKM_CAP_COMPANION	0x6b000003	/* on a machine: 1 once it has a companion */

/* The only I/O ports a guest can reach; every other port is #GP. */
#define KKM_PORT_FIRST		0x8000
#define KKM_PORT_LAST		0x81ff

/*
 * kvm_run.exit_reason of a guest system call, by whatever instruction.
 * The details are a struct kkm_syscall at KKM_RUN_EXIT_OFFSET of kvm_run; the
 * result goes into RAX. RIP is behind the instruction already.
 */
#define KKM_EXIT_SYSCALL	0x6b000001

/* Where kvm_run's union of exit details starts. */
#define KKM_RUN_EXIT_OFFSET	32

struct kkm_syscall {
	__u64 nr;		/* all 64 bits of RAX */
	__u64 args[6];		/* RDI RSI RDX R10 R8 R9 (32-bit: EBX ECX EDX ESI EDI EBP) */
	__u64 flags;		/* KKM_SYSCALL_* */
};

#define KKM_SYSCALL_32BIT	0x1	/* int 0x80 or sysenter */
#define KKM_SYSCALL_VSYSCALL	0x2	/* a call into the vsyscall page; it has returned */

/* KVM_EXIT_EXCEPTION: KVM's first two fields, then ours, same offset. */
struct kkm_exception {
	__u32 vector;		/* = kvm_run.ex.exception */
	__u32 error_code;	/* = kvm_run.ex.error_code */
	__u64 cr2;		/* of a page fault, else 0 */
	__u32 flags;		/* KKM_FAULT_* */
	__u32 reserved;
};

#define KKM_FAULT_NO_SLOT	0x1	/* no window, no slot or nothing mapped there */
#define KKM_FAULT_PROT		0x2	/* something is there and forbids this access */
#define KKM_FAULT_NO_PAGE	0x4	/* mapped, but the host has no page: SIGBUS */

#define KKM_MAX_VCPUS		288
#define KKM_MAX_SLOTS		128
#define KKM_MAX_WINDOWS		64

#endif /* _UAPI_KKM_H */
