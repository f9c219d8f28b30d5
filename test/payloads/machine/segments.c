// SPDX-License-Identifier: Apache-2.0
// Segment registers: their selectors, and the bases of fs and gs, which signals, forks and threads must carry along
// and which have nothing to do with the selectors a signal's frame holds.
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "report.h"

static uint64_t block[2] = {0x1111, 0x2222}, other[2] = {0x3333, 0x4444};
static __thread int of_thread = 5;

static uint64_t at_gs(void) {
  uint64_t value;
  __asm__ volatile("mov %%gs:0, %0" : "=r"(value));
  return value;
}

/// The base of fs: glibc keeps it at fs:0.
static uint64_t fs_base(void) {
  uint64_t value;
  __asm__ volatile("mov %%fs:0, %0" : "=r"(value));
  return value;
}

static void set_gs(const uint64_t* to) { must(syscall(SYS_arch_prctl, ARCH_SET_GS, to) == 0, "ARCH_SET_GS"); }

static void show_bases(const char* what) {
  uint64_t fs = 0, gs = 0;
  syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
  syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
  show(what, "gs:0 %#lx, its base is %s, fs is the thread's %d, its variable %d", at_gs(),
       gs == (uint64_t)block ? "the first" : gs == (uint64_t)other ? "the second" : "another",
       fs == (uint64_t)pthread_self() && fs == fs_base(), of_thread);
}

static void selectors(void) {
  uint16_t cs, ss, ds, es, fs, gs;
  __asm__ volatile("mov %%cs, %0\n mov %%ss, %1\n mov %%ds, %2\n mov %%es, %3\n mov %%fs, %4\n mov %%gs, %5"
                   : "=r"(cs), "=r"(ss), "=r"(ds), "=r"(es), "=r"(fs), "=r"(gs));
  show("selectors", "cs %x ss %x ds %x es %x fs %x gs %x", cs, ss, ds, es, fs, gs);
}

static volatile uint64_t in_handler;
static void handler(int signo, siginfo_t* info, void* context) {
  (void)info;
  ucontext_t* uc = context;
  in_handler = at_gs() + (unsigned)of_thread;
  // Neither is restored on x86-64, and no base is made of them.
  uc->uc_mcontext.gregs[REG_CSGSFS] |= 0x002b002b0000;
  if (signo == SIGILL) uc->uc_mcontext.gregs[REG_RIP] += 2;
  if (signo == SIGSEGV) mprotect(info->si_addr, 1, PROT_READ | PROT_WRITE);
  if (signo == SIGUSR2) set_gs(other);
}

static void signals(void) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
  static const int kSignals[] = {SIGILL, SIGSEGV, SIGUSR1, SIGUSR2, SIGALRM};
  for (size_t i = 0; i < sizeof kSignals / sizeof kSignals[0]; i++) sigaction(kSignals[i], &action, NULL);
  __asm__ volatile("ud2");
  show("in the handler of an undefined instruction", "%#lx", in_handler);
  show_bases("after it");
  volatile char* closed = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  in_handler = 0;
  *closed = 1;
  show("in the handler of a page fault", "%#lx", in_handler);
  show_bases("after that");
  raise(SIGUSR1);
  show_bases("after a signal sent");
  in_handler = 0;
  setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 1000}, NULL);
  while (in_handler == 0) {
  }
  show_bases("after a signal that interrupts");
  raise(SIGUSR2);
  show_bases("a base that a handler set");
  set_gs(block);
  selectors();
}

static void* thread(void* unused) {
  show("a thread begins with the other's base of gs", "%d", at_gs() == block[0]);
  of_thread = 6;
  set_gs(other);
  raise(SIGUSR1);
  show_bases("in a thread");
  return unused;
}

static void copies(void) {
  pthread_t id;
  must(pthread_create(&id, NULL, thread, NULL) == 0 && pthread_join(id, NULL) == 0, "pthread_create");
  show_bases("after a thread's end");
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    show_bases("in a child");
    set_gs(other);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  show_bases("in its parent");
}

/// A child with another base of fs and no thread of its own: libc would not get far there.
static int with_other_fs(unsigned long flags) {
  static uint64_t tls[16];
  tls[2] = 42;
  long child = SYS_clone;
  register uint64_t *r8 __asm__("r8") = tls, r10 __asm__("r10") = 0;
  __asm__ volatile(
      "syscall\n test %%eax, %%eax\n jnz 1f\n"
      // mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), so that whoever answers has work to do
      "mov $9, %%eax\n xor %%edi, %%edi\n mov $4096, %%esi\n mov $1, %%edx\n mov $0x22, %%r10d\n mov $-1, %%r8\n xor %%r9d, %%r9d\n"
      "syscall\n movzbl (%%rax), %%edi\n addl %%fs:16, %%edi\n mov $231, %%eax\n syscall\n"
      "1:"
      : "+a"(child), "+r"(r10), "+r"(r8)
      : "D"(flags), "S"(0L), "d"(0L)
      : "rcx", "r11", "r9", "memory");
  int status = -1;
  waitpid((pid_t)child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int main(void) {
  set_gs(block);
  selectors();
  show_bases("at first");
  signals();
  copies();
  show("CLONE_SETTLS without CLONE_THREAD", "%d", with_other_fs(CLONE_SETTLS | SIGCHLD));
  show("CLONE_SETTLS with CLONE_VFORK", "%d", with_other_fs(CLONE_SETTLS | CLONE_VFORK | CLONE_VM | SIGCHLD));
  show_bases("after them");
  return finish();
}
