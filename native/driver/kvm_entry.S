// SPDX-License-Identifier: Apache-2.0
// Guest code of a KVM machine. Position-independent; copied into the machine's own pages by kvm_tables.cc.
// Plain integer instructions only: some hosts (PVM) interpret CPL 0 with KVM's emulator.

        .section .rodata
        .balign 64

// LSTAR points here, in a user-executable page: some hosts enter it still at CPL 3.
// There the monitor sets rip/rflags itself; at CPL 0 `sysretq` returns. No memory is touched: the red zone is safe.
        .globl km_guest_syscall, km_guest_syscall_end
km_guest_syscall:
        outb    %al, $0x80
        sysretq
// Return address of signal handlers that brought no SA_RESTORER.
        .balign 64
        movl    $15, %eax
        syscall
        ud2
// Whose CPUID a guest sees: the vendor's first word is in ebx at the exit.
        .balign 64
        xorl    %eax, %eax
        cpuid
        syscall
        ud2
km_guest_syscall_end:

// IDT gates, 16 bytes each, vectors 0..31, all on IST stacks. Frame for the monitor, upwards from rsp at the `out`:
// vector, error code, rip, cs, rflags, rsp, ss.
        .balign 16
        .globl km_guest_gates, km_guest_gates_iret, km_guest_gates_end
km_guest_gates:
        .set vector, 0
        .rept 32
        .balign 16
        .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
        pushq   $0
        .endif
        pushq   $vector
        jmp     1f
        .set vector, vector + 1
        .endr
        .balign 16
1:      outb    %al, $0x81
        addq    $16, %rsp
km_guest_gates_iret:
        iretq
km_guest_gates_end:

        .section .note.GNU-stack,"",@progbits
