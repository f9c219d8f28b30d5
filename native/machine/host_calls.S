// SPDX-License-Identifier: Apache-2.0
// Two places a host signal may interrupt with meaning; the handler (signals.cc) knows their labels.

        .text

// int64_t km_forward(volatile int *captured, int64_t nr, const uint64_t args[6])
// From km_forward_begin up to and including the `syscall` (the kernel rewinds to it for a restart) the handler
// continues at km_forward_restart: the call has not happened.
        .globl km_forward, km_forward_begin, km_forward_insn, km_forward_restart
        .type km_forward, @function
km_forward:
        movq    %rsi, %rax
        movq    %rdx, %rcx
        movq    %rdi, %r11
        movq    0(%rcx), %rdi
        movq    8(%rcx), %rsi
        movq    16(%rcx), %rdx
        movq    24(%rcx), %r10
        movq    32(%rcx), %r8
        movq    40(%rcx), %r9
km_forward_begin:
        cmpl    $0, (%r11)
        jne     km_forward_restart
km_forward_insn:
        syscall
        ret
km_forward_restart:
        movq    $-512, %rax
        ret
        .size km_forward, . - km_forward

// int km_copy(void *to, const void *from, size_t len): 0, or -EFAULT when either side faults.
        .globl km_copy, km_copy_begin, km_copy_end, km_copy_fault
        .type km_copy, @function
km_copy:
        movq    %rdx, %rcx
km_copy_begin:
        rep movsb
km_copy_end:
        xorl    %eax, %eax
        ret
km_copy_fault:
        movl    $-14, %eax
        ret
        .size km_copy, . - km_copy

        .section .note.GNU-stack,"",@progbits
