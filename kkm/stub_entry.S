/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only code of ours that runs in user mode, copied to a page the companion
 * can read and execute but nobody can write. It keeps nothing in memory, so a
 * guest that shares the address space cannot influence it; the memory it reads
 * is this very page.
 *
 * Each way out is a ud2 of its own: the kernel side tells them apart by address.
 */
#include <linux/linkage.h>
#include <asm/unistd_64.h>

#include "stub.h"

#define IOCTL_WAIT	0xaef1	/* KKM_SPACE_WAIT; stub.c checks both */
#define IOCTL_ATTACH	0xaef2	/* KKM_SPACE_ATTACH */
#define SECCOMP_FILTER	1

	.section .rodata, "a"
	.balign 64
	.globl kkm_stub_start, kkm_stub_end, kkm_stub_ready, kkm_stub_fail
	.globl kkm_stub_done, kkm_stub_xsave, kkm_stub_xrstor
	.globl kkm_stub_xsave_pku, kkm_stub_xrstor_pku

/* Leader, from KKM_SPACE_INIT: r12d = space file, r13d = the VM's descriptor. */
kkm_stub_start:
	/* The registers still hold the monitor's vectors: reset every component. */
	movl	$-1, %eax
	movl	$-1, %edx
	leaq	kkm_stub_start + KKM_STUB_INIT_IMAGE(%rip), %rdi
	xrstor64 (%rdi)

	/* A companion that held its own machine open would never end. */
	movl	$__NR_close, %eax
	movl	%r13d, %edi
	syscall

	/* First filter: nothing but what this page does. */
	movl	$__NR_seccomp, %eax
	movl	$SECCOMP_FILTER, %edi
	xorl	%esi, %esi
	leaq	kkm_stub_start + KKM_STUB_DATA(%rip), %rdx
	syscall
	testl	%eax, %eax
	jnz	kkm_stub_fail
	xorl	%r14d, %r14d		/* nothing cloned yet */

.Lwait:	/* Sleep until a vCPU wants a thread; report how the last clone went. */
	movl	$__NR_ioctl, %eax
	movl	%r12d, %edi
	movl	$IOCTL_WAIT, %esi
	movq	%r14, %rdx
	syscall
	testl	%eax, %eax
	jnz	kkm_stub_fail
	movl	$__NR_clone, %eax
	movl	$KKM_STUB_CLONE_FLAGS, %edi
	xorl	%esi, %esi		/* same (unused) stack pointer */
	xorl	%edx, %edx
	xorl	%r10d, %r10d
	xorl	%r8d, %r8d
	syscall
	movq	%rax, %r14
	testq	%rax, %rax
	jnz	.Lwait

	/* Guest thread: bind to a vCPU, shut every system call, report. */
	movl	$__NR_ioctl, %eax
	movl	%r12d, %edi
	movl	$IOCTL_ATTACH, %esi
	xorl	%edx, %edx
	syscall
	testl	%eax, %eax
	jnz	kkm_stub_fail
	movl	$__NR_seccomp, %eax
	movl	$SECCOMP_FILTER, %edi
	xorl	%esi, %esi
	leaq	kkm_stub_start + KKM_STUB_DATA + 16(%rip), %rdx
	syscall
	testl	%eax, %eax
	jnz	kkm_stub_fail
kkm_stub_ready:
	ud2
kkm_stub_fail:
	ud2

/*
 * Vector state, for KVM_GET/SET_XSAVE. rdi = scratch, edx:eax = components.
 * With protection keys the guest's PKRU may forbid our own store, so it is
 * opened around it; the value goes out in r8d, and comes in with the image.
 */
kkm_stub_xsave_pku:
	movl	%eax, %r9d
	movl	%edx, %r10d
	xorl	%ecx, %ecx
	rdpkru
	movl	%eax, %r8d
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrpkru
	movl	%r9d, %eax
	movl	%r10d, %edx
	xsave64	(%rdi)
	movl	%r8d, %eax
	xorl	%edx, %edx
	wrpkru
	jmp	kkm_stub_done
kkm_stub_xsave:
	xsave64	(%rdi)
	jmp	kkm_stub_done
kkm_stub_xrstor_pku:
	movl	%eax, %r9d
	movl	%edx, %r10d
	xorl	%ecx, %ecx
	xorl	%eax, %eax
	xorl	%edx, %edx
	wrpkru
	movl	%r9d, %eax
	movl	%r10d, %edx
kkm_stub_xrstor:
	xrstor64 (%rdi)
kkm_stub_done:
	ud2
kkm_stub_end:

	.section .note.GNU-stack, "", @progbits
