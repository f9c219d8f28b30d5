// SPDX-License-Identifier: Apache-2.0
// Traps few programs make: every software interrupt, int1, stack segment faults, a fault whose signal is blocked and
// pending; and the address of a fault under instructions that are awkward to decode, which nobody should have to.
#define _GNU_SOURCE
#include <cpuid.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "report.h"

static sigjmp_buf back;
static siginfo_t info;
static long long trapno, rip;

static void handler(int signo, siginfo_t* si, void* context) {
  (void)signo;
  const ucontext_t* uc = context;
  info = *si;
  trapno = uc->uc_mcontext.gregs[REG_TRAPNO];
  rip = uc->uc_mcontext.gregs[REG_RIP];
  siglongjmp(back, 1);
}

/// Runs instructions the assembler would not write; they end with a ret or a fault.
static void run_bytes(char* outcome, const uint8_t* bytes, size_t size) {
  static char* code;
  if (!code) code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(code != MAP_FAILED, "mmap");
  memcpy(code, bytes, size);
  memset(&info, 0, sizeof info);
  if (sigsetjmp(back, 1) == 0) {
    ((void (*)(void))code)();
    strcpy(outcome, "nothing happened");
    return;
  }
  const long address = info.si_addr == NULL ? -1 : (char*)info.si_addr - code;
  sprintf(outcome, "%s code %d trapno %lld addr %ld rip +%lld", sigabbrev_np(info.si_signo), info.si_code, trapno, address, rip - (long long)code);
}

// Not tried: 0x80, the 32-bit system call (test/payloads/bad/doors.c), and three that kvm_pvm keeps to itself: it does
// something else instead of a fault, and tells nobody.
static int is_tried(int vector) { return vector != 0x80 && vector != 0x17 && vector != 0x19 && vector != 0x1a; }

// Neighbours that do the same are one line.
static void software_interrupts(void) {
  char outcome[128] = "", last[128] = "";
  int first = 0;
  // Another kind of trap first, which maps what delivering one needs: where that still causes a nested page fault, QEMU's
  // SVM tells KVM of the instruction instead of the fault it made, and KVM goes on behind it.
  run_bytes(outcome, (const uint8_t[]){0x0f, 0x0b}, 2);
  for (int vector = 0; vector <= 256; vector++) {
    const uint8_t bytes[] = {0xcd, (uint8_t)vector, 0xc3};
    if (!is_tried(vector)) continue;
    if (vector < 256) run_bytes(outcome, bytes, sizeof bytes);
    if (vector < 256 && strcmp(outcome, last) == 0) continue;
    if (vector > 0) printf("int %#x to %#x: %s\n", first, vector - 1, last);
    first = vector;
    strcpy(last, outcome);
  }
  run_bytes(outcome, (const uint8_t[]){0xf1, 0xc3}, 2);
  show("int1", "%s", outcome);
  run_bytes(outcome, (const uint8_t[]){0xcc, 0xc3}, 2);
  show("int3", "%s", outcome);
}

#define FAULT(what, base, ...)                                                                                       \
  do {                                                                                                               \
    memset(&info, 0, sizeof info);                                                                                   \
    const char* const origin = base;                                                                                 \
    if (sigsetjmp(back, 1) == 0) {                                                                                   \
      __VA_ARGS__;                                                                                                   \
      show(what, "nothing happened");                                                                                \
    } else {                                                                                                         \
      show(what, "%s code %d addr %s%#lx trapno %lld", sigabbrev_np(info.si_signo), info.si_code, origin ? "+" : "", \
           (unsigned long)((char*)info.si_addr - origin), trapno);                                                   \
    }                                                                                                                \
  } while (0)

static void stack_segment(void) {
  const uint64_t nowhere = 0x8000123456789000;
  FAULT("load by rbp", NULL, __asm__ volatile("push %%rbp\n mov %0, %%rbp\n mov (%%rbp), %%rax\n pop %%rbp" ::"r"(nowhere) : "rax", "memory"));
  FAULT("pop", NULL, __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n pop %%rax\n mov %%rbx, %%rsp" ::"r"(nowhere) : "rax", "rbx", "memory"));
  FAULT("call", NULL, __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n call 1f\n1: mov %%rbx, %%rsp" ::"r"(nowhere) : "rbx", "memory"));
}

// A stack pointer into a closed or missing page: the handler's frame needs another stack, and there is one.
static void bad_stacks(char* closed) {
  FAULT("push into a closed page", closed,
        __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n push %%rax\n mov %%rbx, %%rsp" ::"r"(closed + 64) : "rbx", "memory"));
  FAULT("push with rsp 16", NULL, __asm__ volatile("mov %%rsp, %%rbx\n mov $16, %%esp\n push %%rax\n mov %%rbx, %%rsp" ::: "rbx", "memory"));
  FAULT("call with rsp 0x1000", NULL, __asm__ volatile("mov %%rsp, %%rbx\n mov $0x1000, %%esp\n call 1f\n1: mov %%rbx, %%rsp" ::: "rbx", "memory"));
  FAULT("system call, then push, with rsp 16", NULL,
        __asm__ volatile("mov %%rsp, %%rbx\n mov $16, %%esp\n mov $39, %%eax\n syscall\n push %%rax\n mov %%rbx, %%rsp" ::
                             : "rax", "rbx", "rcx", "r11", "memory"));
}

/// `closed`: the first byte of a PROT_NONE page behind one that can be written.
static void plain_instructions(char* closed) {
  static char source[128] __attribute__((aligned(64)));
  char* const at = closed + 64;
  FAULT("rep stosb into it", closed, char* to = closed - 32; __asm__ volatile("rep stosb" : "+D"(to) : "c"(100L), "a"(0) : "memory"));
  FAULT("rep movsb into it", closed, char* to = closed - 32; char* from = source;
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from) : "c"(100L) : "memory"));
  FAULT("rep lodsb out of it", closed, char* from = closed - 32; __asm__ volatile("rep lodsb" : "+S"(from) : "c"(100L) : "rax", "memory"));
  FAULT("repne scasb", closed, char* from = at; __asm__ volatile("repne scasb" : "+D"(from) : "c"(100L), "a"(1) : "memory", "cc"));
  FAULT("movsq out of it", closed, char* to = source; char* from = at; __asm__ volatile("movsq" : "+D"(to), "+S"(from)::"memory"));
  FAULT("xchg", closed, __asm__ volatile("xchg %%rax, (%0)" ::"r"(at) : "rax", "memory"));
  FAULT("lock cmpxchg16b", closed,
        __asm__ volatile("lock cmpxchg16b (%0)" ::"r"(at), "a"(0L), "d"(0L), "b"(0L), "c"(0L) : "memory", "cc"));
  FAULT("lock bts by a register", closed, __asm__ volatile("lock btsq %1, (%0)" ::"r"(at), "r"(64L * 8) : "memory", "cc"));
  FAULT("not", closed, __asm__ volatile("notq 8(%0,%1,4)" ::"r"(at), "r"(2L) : "memory"));
  FAULT("idiv", closed, __asm__ volatile("idivl (%0)" ::"r"(at), "a"(1), "d"(0) : "memory", "cc"));
  FAULT("push of memory", closed, __asm__ volatile("pushq (%0)" ::"r"(at) : "memory"));
  FAULT("pop into memory", closed, __asm__ volatile("push %%rax\n popq (%0)" ::"r"(at) : "memory"));
  FAULT("call through memory", closed, __asm__ volatile("call *(%0)" ::"r"(at) : "memory"));
  FAULT("far jump through memory", closed, __asm__ volatile("ljmp *(%0)" ::"r"(at) : "memory"));
  FAULT("fld", closed, __asm__ volatile("fldt (%0)" ::"r"(at) : "memory"));
  FAULT("fxsave", closed, __asm__ volatile("fxsave64 (%0)" ::"r"(at) : "memory"));
  FAULT("movnti", closed, __asm__ volatile("movnti %%rax, (%0)" ::"r"(at) : "memory"));
  FAULT("maskmovdqu", closed,
        __asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n maskmovdqu %%xmm0, %%xmm0" : : "D"(at) : "xmm0", "memory"));
  FAULT("with a segment prefix", closed, __asm__ volatile(".byte 0x64\n nop\n ds mov (%0), %%al" ::"r"(at) : "rax", "memory"));
  FAULT("32-bit address", NULL, __asm__ volatile("mov $0x1234, %%eax\n movb $1, (%%eax)" ::: "rax", "memory"));
  FAULT("fs: below the thread's block", NULL, __asm__ volatile("movq $16, %%rax\n subq %%fs:0, %%rax\n movb $1, %%fs:(%%rax)" ::: "rax", "memory"));
  FAULT("prefetch of it", closed, __asm__ volatile("prefetcht0 (%0)" ::"r"(at)));
  FAULT("nop of it", closed, __asm__ volatile("nopl (%0)" ::"r"(at)));
}

static void vector_instructions(char* closed) {
  char* at = closed + 64;
  FAULT("movups", closed, __asm__ volatile("movups %%xmm1, (%0)" ::"r"(at) : "memory"));
  FAULT("movss", closed, __asm__ volatile("movss (%0), %%xmm1" ::"r"(at) : "xmm1", "memory"));
  if (!__builtin_cpu_supports("avx2")) {
    show("AVX2", "not on this processor");
    return;
  }
  FAULT("vmovaps", closed, __asm__ volatile("vmovaps %%ymm1, (%0)" ::"r"(at) : "memory"));
  FAULT("vpaddd, three-byte VEX", closed, __asm__ volatile("vpaddd (%0,%1,8), %%ymm9, %%ymm10" ::"r"(at), "r"(8L) : "xmm10", "memory"));
  FAULT("vpgatherdd", closed,
        __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n vpxor %%ymm1, %%ymm1, %%ymm1\n vpgatherdd %%ymm0, (%0,%%ymm1,4), %%ymm2" ::"r"(at)
                         : "xmm0", "xmm1", "xmm2", "memory"));
  FAULT("vmaskmovps, nothing chosen", closed,
        __asm__ volatile("vpxor %%ymm0, %%ymm0, %%ymm0\n vmaskmovps %%ymm1, %%ymm0, (%0)" ::"r"(at) : "xmm0", "memory"));
  if (__builtin_cpu_supports("bmi2")) FAULT("rorx", closed, __asm__ volatile("rorxq $3, (%0), %%rax" ::"r"(at) : "rax", "memory"));
  if (!__builtin_cpu_supports("avx512f")) {
    show("AVX-512", "not on this processor");
    return;
  }
  FAULT("vmovdqu64", closed, __asm__ volatile("vmovdqu64 %%zmm1, (%0)" ::"r"(at) : "memory"));
  FAULT("vaddpd with a broadcast", closed, __asm__ volatile("vaddpd 64(%0)%{1to8%}, %%zmm17, %%zmm18" ::"r"(at) : "memory"));
  FAULT("vscatterdps", closed,
        __asm__ volatile("kxnorw %%k1, %%k1, %%k1\n vpxorq %%zmm3, %%zmm3, %%zmm3\n vscatterdps %%zmm1, (%0,%%zmm3,4)%{%%k1%}" ::"r"(at) : "memory"));
}

// It can neither be delivered nor forgotten: Linux ends the process.
static void blocked_and_pending(void) {
  fflush(stdout);
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) {
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGSEGV);
    sigprocmask(SIG_BLOCK, &one, NULL);
    raise(SIGSEGV);
    *(volatile char*)hidden((void*)16) = 1;
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  show("a fault whose signal is blocked and pending", "signalled %d by %d", WIFSIGNALED(status), WTERMSIG(status));
}

static char order[64];
static void plain_handler(int signo) {
  strcat(order, signo == SIGUSR1 ? "(1" : "(2");
  if (signo == SIGUSR1) raise(SIGUSR2);
  strcat(order, ")");
}

// The old kind of handler, with one argument: its mask and flags count as well.
static void without_siginfo(const char* what, int flags, int masked) {
  struct sigaction action = {.sa_handler = plain_handler, .sa_flags = flags};
  if (masked) sigaddset(&action.sa_mask, SIGUSR2);
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGUSR2, &action, NULL);
  order[0] = 0;
  raise(SIGUSR1);
  show(what, "%s", order);
}

int main(void) {
  static char alternate[65536];
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  static const int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof kSignals / sizeof kSignals[0]; i++) sigaction(kSignals[i], &action, NULL);
  char* pages = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(pages != MAP_FAILED && mprotect(pages + 4096, 4096, PROT_NONE) == 0, "mmap");
  software_interrupts();
  stack_segment();
  bad_stacks(pages + 4096);
  plain_instructions(pages + 4096);
  vector_instructions(pages + 4096);
  without_siginfo("sa_mask without SA_SIGINFO", 0, 1);
  without_siginfo("no mask without SA_SIGINFO", 0, 0);
  without_siginfo("SA_NODEFER without SA_SIGINFO", SA_NODEFER, 0);
  signal(SIGSEGV, SIG_DFL);
  blocked_and_pending();
  return finish();
}
