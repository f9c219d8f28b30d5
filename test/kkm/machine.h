/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every suite for /dev/kkm needs: a machine with one slot, its companion,
 * vCPUs, guest code in assembly, and a count of checks.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../kkm/include/uapi/kkm.h"

#define GUEST_BASE 0x200000ul
#define GUEST_SIZE (16ul << 20)
#define PAGE 4096ul

/* Sizes by which the ioctl numbers were made; KVM's, whatever the header. */
_Static_assert(sizeof(struct kvm_regs) == 144, "kvm_regs");
_Static_assert(sizeof(struct kvm_sregs) == 312, "kvm_sregs");

struct machine {
  int dev, vm;
  char *mem;      /* the monitor's view of [GUEST_BASE, GUEST_BASE + size) */
  size_t size;
  pid_t companion;
};

struct vcpu {
  struct machine *m;
  int fd;
  struct kvm_run *run;
  struct kvm_regs regs;  /* as of the last exit */
};

/* Position-independent guest code between name and name_end. */
#define GUEST(name, text)                                              \
  extern const char name[], name##_end[];                              \
  __asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n" \
          ".popsection\n")

#define CHECK(ok, ...) check(!!(ok), __FILE__, __LINE__, __VA_ARGS__)

void check(bool ok, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int report(void);                       /* prints "N passed, N failed"; the exit status */
void die(const char *what);             /* for what no test can go on without */
double now_ns(void);

void machine_make(struct machine *m);   /* with one slot and a companion */
void machine_open(struct machine *m);   /* without companion or slot */
int machine_slot(struct machine *m, unsigned id, uint32_t flags, uint64_t gpa, uint64_t size, void *at);
pid_t machine_birth(int vm);            /* fork a companion; its pid */
void machine_end(struct machine *m);    /* closes, waits for the companion */

void vcpu_make(struct vcpu *v, struct machine *m, unsigned id);
void vcpu_end(struct vcpu *v);
void vcpu_code(struct vcpu *v, uint64_t at, const char *code, const char *end);
void vcpu_start(struct vcpu *v, uint64_t rip);  /* fresh registers */
int vcpu_set(struct vcpu *v);
int vcpu_run(struct vcpu *v);           /* 0 or -errno; regs are fetched */
int vcpu_exec(struct vcpu *v, const char *code, const char *end);  /* load, start, run */
#define EXEC(v, name) vcpu_exec(v, name, name##_end)

const struct kkm_syscall *vcpu_syscall(const struct vcpu *v);
const struct kkm_exception *vcpu_exception(const struct vcpu *v);
bool is_syscall(const struct vcpu *v, uint64_t nr);
bool is_exception(const struct vcpu *v, uint32_t vector);

int others(void);     /* processes with our name besides this one: companions and monitors still there */
bool all_gone(void);  /* waits, half a minute at most, for there to be none */
