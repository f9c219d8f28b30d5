// SPDX-License-Identifier: Apache-2.0
// Alternate stacks: stack overflow survived, the rules of sigaltstack(2), one per thread, nesting, autodisarm.
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "report.h"

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

enum { kStackSize = 64 * 1024 };
static char main_stack[kStackSize];
static sigjmp_buf back;
static __thread char* my_stack = main_stack;
static int on_stack, flags_inside, flags_in_context;
static siginfo_t info;

static int on(const void* address, const char* stack) {
  return (const char*)address >= stack && (const char*)address < stack + kStackSize;
}

static void overflow_handler(int signo, siginfo_t* si, void* context) {
  (void)signo;
  stack_t now;
  info = *si;
  on_stack = on(&now, my_stack);
  sigaltstack(NULL, &now);
  flags_inside = now.ss_flags;
  flags_in_context = ((ucontext_t*)context)->uc_stack.ss_flags;
  siglongjmp(back, 1);
}

__attribute__((noinline)) static int recurse(int depth) {
  volatile char room[1024];
  room[0] = (char)depth;
  if (depth < 0) return room[0];
  return recurse(depth + 1) + room[0];
}

static void install(int signo, void (*handler)(int, siginfo_t*, void*), int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  must(sigaction(signo, &action, NULL) == 0, "sigaction");
}

static void overflow(const char* where) {
  for (int round = 0; round < 3; round++) {
    if (sigsetjmp(back, 1) == 0) {
      recurse(0);
      printf("no overflow\n");
    } else {
      show(where, "signo %d on alternate stack %d, sigaltstack says %d, context says %d", info.si_signo, on_stack, flags_inside,
           flags_in_context);
    }
  }
}

static void* overflow_in_thread(void* arg) {
  my_stack = arg;
  stack_t stack = {.ss_sp = arg, .ss_size = kStackSize};
  sigaltstack(&stack, NULL);
  overflow("a thread's overflow");
  return NULL;
}

static void overflows(void) {
  stack_t stack = {.ss_sp = main_stack, .ss_size = kStackSize};
  must(sigaltstack(&stack, NULL) == 0, "sigaltstack");
  install(SIGSEGV, overflow_handler, SA_ONSTACK);
  // Address-space layout must not decide how deep main's stack goes.
  struct rlimit limit = {1 << 20, 1 << 20};
  getrlimit(RLIMIT_STACK, &limit);
  show("soft stack limit", "%ld", (long)limit.rlim_cur);
  overflow("main's overflow");
  pthread_t thread;
  void* other = mmap(NULL, kStackSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(pthread_create(&thread, NULL, overflow_in_thread, other) == 0, "pthread_create");
  pthread_join(thread, NULL);
}

static int change_result, change_errno, nested_on_stack, depth;

static void rules_handler(int signo, siginfo_t* si, void* context) {
  (void)si;
  (void)context;
  stack_t other = {.ss_sp = main_stack, .ss_size = kStackSize};
  if (depth++ == 0) {
    change_result = sigaltstack(&other, NULL);
    change_errno = errno;
    raise(signo);  // SA_NODEFER: arrives here, on the same stack below us
  } else {
    nested_on_stack = on(&other, main_stack);
  }
}

static void rules(void) {
  stack_t old, tiny = {.ss_sp = main_stack, .ss_size = 1000}, odd = {.ss_sp = main_stack, .ss_size = kStackSize, .ss_flags = 0x40};
  result("too small", sigaltstack(&tiny, NULL));
  result("unknown flag", sigaltstack(&odd, NULL));
  result("bad pointer", sigaltstack((stack_t*)8, NULL));
  install(SIGUSR1, rules_handler, SA_ONSTACK | SA_NODEFER);
  raise(SIGUSR1);
  show("change while on it", "%d %s", change_result, strerrorname_np(change_errno));
  show("nested on the same stack", "%d", nested_on_stack);
  sigaltstack(NULL, &old);
  show("afterwards", "flags %d, own %d, size %zu", old.ss_flags, old.ss_sp == main_stack, old.ss_size);
  stack_t none = {.ss_flags = SS_DISABLE};
  result("disable", sigaltstack(&none, &old));
  sigaltstack(NULL, &old);
  show("disabled", "flags %d, sp %p", old.ss_flags, old.ss_sp);
  depth = 1;
  raise(SIGUSR1);
  show("without one the handler stays on the program's stack", "%d", nested_on_stack);
}

static int auto_flags;
static void auto_handler(int signo, siginfo_t* si, void* context) {
  (void)signo;
  (void)si;
  (void)context;
  stack_t now;
  sigaltstack(NULL, &now);
  auto_flags = now.ss_flags;
}

static void autodisarm(void) {
  stack_t stack = {.ss_sp = main_stack, .ss_size = kStackSize, .ss_flags = (int)SS_AUTODISARM}, now;
  result("autodisarm", sigaltstack(&stack, NULL));
  install(SIGUSR1, auto_handler, SA_ONSTACK);
  raise(SIGUSR1);
  sigaltstack(NULL, &now);
  show("autodisarm", "inside %d, afterwards %#x", auto_flags, (unsigned)now.ss_flags);
}

static void* report_none(void* arg) {
  stack_t now;
  sigaltstack(NULL, &now);
  show((char*)arg, "flags %d", now.ss_flags);
  return NULL;
}

int main(void) {
  overflows();
  rules();
  autodisarm();
  pthread_t thread;
  must(pthread_create(&thread, NULL, report_none, "a new thread has none") == 0, "pthread_create");
  pthread_join(thread, NULL);
  return finish();
}
