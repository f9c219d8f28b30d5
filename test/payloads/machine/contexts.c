// SPDX-License-Identifier: Apache-2.0
// Control flow the compiler does not see: ucontext coroutines, jumps out of handlers, returning into an edited
// context, and the red zone below the stack pointer, which neither a system call nor a signal may touch.
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include "report.h"

static ucontext_t main_context, coroutine[2];
static char stacks[2][64 * 1024];
static char trace[128];
static int traced;

static void run(int id) {
  for (int i = 0; i < 5; i++) {
    traced += snprintf(trace + traced, sizeof trace - (size_t)traced, "%c%d ", 'a' + id, i);
    swapcontext(&coroutine[id], &coroutine[1 - id]);
  }
}

static void coroutines(void) {
  for (int id = 0; id < 2; id++) {
    getcontext(&coroutine[id]);
    coroutine[id].uc_stack.ss_sp = stacks[id];
    coroutine[id].uc_stack.ss_size = sizeof stacks[id];
    coroutine[id].uc_link = &main_context;
    makecontext(&coroutine[id], (void (*)(void))run, 1, id);
  }
  swapcontext(&main_context, &coroutine[0]);
  show("coroutines", "%s", trace);
}

static sigjmp_buf back;
static void jump(int signo) { siglongjmp(back, signo); }

static void jumps(void) {
  struct sigaction action = {.sa_handler = jump};
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGSEGV, &action, NULL);
  volatile int count = 0;
  for (volatile int i = 0; i < 1000; i++) {
    if (sigsetjmp(back, 1) == 0) {
      if (i % 2 == 0) {
        raise(SIGUSR1);
      } else {
        volatile char* nowhere = (char*)16;
        __asm__("" : "+r"(nowhere));
        *nowhere = 1;
      }
    } else {
      count++;
    }
  }
  show("jumps out of handlers", "%d", count);
  sigset_t now;
  sigprocmask(SIG_SETMASK, NULL, &now);
  show("mask restored by siglongjmp", "%d", !sigismember(&now, SIGUSR1) && !sigismember(&now, SIGSEGV));
  if (sigsetjmp(back, 0) == 0) raise(SIGUSR1);
  sigprocmask(SIG_SETMASK, NULL, &now);
  show("mask kept without savemask", "%d", sigismember(&now, SIGUSR1));
  sigemptyset(&now);
  sigprocmask(SIG_SETMASK, &now, NULL);
}

static ucontext_t resume_here;
static volatile int rounds;

static void set_context(int signo) {
  (void)signo;
  setcontext(&resume_here);
}

static void context_from_handler(void) {
  struct sigaction action = {.sa_handler = set_context};
  sigaction(SIGUSR2, &action, NULL);
  getcontext(&resume_here);
  if (++rounds < 20) raise(SIGUSR2);
  show("setcontext out of a handler", "%d", rounds);
}

static atomic_int ticks;
static void tick(int signo) {
  (void)signo;
  atomic_fetch_add(&ticks, 1);
}

// Leaf functions in assembly: the 128 bytes below their rsp are theirs. They fill them, issue `calls` system calls
// (or count down), and return how many of the 16 words changed.
long red_zone_calls(long number, long calls);
long red_zone_spin(long iterations);
// clang-format off
#define FILL_RED_ZONE                                  \
  "  movabs $0x5a5a5a5a12345678, %rdx\n"               \
  "  mov $-16, %rcx\n"                                 \
  "1: mov %rdx, (%rsp,%rcx,8)\n"                       \
  "  inc %rcx\n"                                       \
  "  jnz 1b\n"
#define COUNT_CHANGES                                  \
  "  movabs $0x5a5a5a5a12345678, %rdx\n"               \
  "  xor %eax, %eax\n"                                 \
  "  mov $-16, %rcx\n"                                 \
  "3: cmp %rdx, (%rsp,%rcx,8)\n"                       \
  "  je 4f\n"                                          \
  "  inc %rax\n"                                       \
  "4: inc %rcx\n"                                      \
  "  jnz 3b\n"                                         \
  "  ret\n"
__asm__(
    ".text\n"
    "red_zone_calls:\n" FILL_RED_ZONE
    "  mov %rdi, %r8\n"
    "2: mov %r8, %rax\n"
    "  syscall\n"
    "  dec %rsi\n"
    "  jnz 2b\n" COUNT_CHANGES
    "red_zone_spin:\n" FILL_RED_ZONE
    "2: dec %rdi\n"
    "  jnz 2b\n" COUNT_CHANGES);
// clang-format on

static void red_zone(void) {
  struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  show("red zone across getpid", "%ld words changed", red_zone_calls(SYS_getpid, 200));
  show("red zone across an unknown call", "%ld words changed", red_zone_calls(999, 20));
  struct itimerval every = {{0, 1000}, {0, 1000}}, stop = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &every, NULL);
  long changed = 0;
  const long end = now_ms() + 20000;
  while (atomic_load(&ticks) < 50 && now_ms() < end) changed += red_zone_spin(1000000);
  show("red zone across signals while computing", "%ld words changed", changed);
  while (atomic_load(&ticks) < 100 && now_ms() < end) changed += red_zone_calls(SYS_getppid, 100);
  setitimer(ITIMER_REAL, &stop, NULL);
  show("red zone across signals and calls", "%ld words changed", changed);
  check(atomic_load(&ticks) >= 100, "a hundred signals came");
}

// All registers but rax, rcx, r11 survive a system call.
static void call_registers(void) {
  uint64_t rbx, rdx, rsi, rdi, r8, r9, r10, r12;
  __asm__ volatile(
      "mov $1, %%rbx\n mov $2, %%rdx\n mov $3, %%rsi\n mov $4, %%rdi\n mov $5, %%r8\n mov $6, %%r9\n mov $7, %%r10\n"
      "mov $8, %%r12\n mov $39, %%rax\n std\n cld\n stc\n syscall\n"
      "mov %%r8, %4\n mov %%r9, %5\n mov %%r10, %6\n mov %%r12, %7\n"
      : "=&b"(rbx), "=&d"(rdx), "=&S"(rsi), "=&D"(rdi), "=m"(r8), "=m"(r9), "=m"(r10), "=m"(r12)
      :
      : "rax", "rcx", "r8", "r9", "r10", "r11", "r12", "cc", "memory");
  show("registers across a call", "%lu %lu %lu %lu %lu %lu %lu %lu", rbx, rdx, rsi, rdi, r8, r9, r10, r12);
  uint64_t rcx, r11, rip;
  uint8_t carry;
  __asm__ volatile("mov $39, %%rax\n stc\n syscall\n1: setc %3\n lea 1b(%%rip), %2\n mov %%r11, %1\n"
                   : "=&c"(rcx), "=&r"(r11), "=&r"(rip), "=&r"(carry)
                   :
                   : "rax", "r11", "cc", "memory");
  show("rcx is the return address, r11 the flags", "%d %lx carry %d", rcx == rip, r11 & 1, carry);
}

int main(void) {
  coroutines();
  jumps();
  context_from_handler();
  red_zone();
  call_registers();
  return finish();
}
