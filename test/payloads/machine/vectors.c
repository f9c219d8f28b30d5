// SPDX-License-Identifier: Apache-2.0
// FP and vector state is per thread and survives everything that happens between two instructions: system calls,
// signals, other threads, fork. SSE always; AVX and AVX-512 where this processor has them.
#define _GNU_SOURCE
#include <fenv.h>
#include <immintrin.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>

#include "report.h"

enum { kBytes = 64, kRegisters = 32 };
static atomic_int ticks;

// Wipes what it can, so that only a proper restore brings it back.
__attribute__((target("avx512f,avx512bw"))) static void wipe_avx512(void) {
  __asm__ volatile(
      "vpternlogd $0xff, %%zmm0, %%zmm0, %%zmm0\n vmovdqa64 %%zmm0, %%zmm5\n vmovdqa64 %%zmm0, %%zmm31\n kxnorq %%k1, %%k1, %%k1\n"
      "kxnorq %%k7, %%k7, %%k7\n vmovdqa64 %%zmm0, %%zmm17\n" ::
          : "xmm0", "xmm5");
}
__attribute__((target("avx2"))) static void wipe_avx(void) {
  __asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n vmovdqa %%ymm0, %%ymm5\n vmovdqa %%ymm0, %%ymm15\n" ::: "xmm0", "xmm5", "xmm15");
}

static int has_avx512, has_avx;

static void wipe_all(void) {
  if (has_avx512) wipe_avx512();
  if (has_avx) wipe_avx();
  __asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n movdqa %%xmm0, %%xmm1\n movdqa %%xmm0, %%xmm9\n fninit\n" ::: "xmm0", "xmm1", "xmm9");
  _mm_setcsr(0x1f80);
}

static void on_tick(int signo) {
  (void)signo;
  wipe_all();
  atomic_fetch_add(&ticks, 1);
}


// clang-format off

/// Loads every register, spins or calls, stores every register.
__attribute__((target("avx512f,avx512bw"), noinline)) static void round_avx512(const uint8_t* in, uint8_t* out, long spins, long call) {
  const uint64_t masks[8] = {0, 0x1122334455667788, 0x2233445566778899, 3, 4, 5, 6, 0x7777777777777777};
  uint64_t seen[2] = {0, 0};
#define Z(n) "vmovdqu64 " #n "*64(%[in]), %%zmm" #n "\n"
#define S(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[out])\n"
  __asm__ volatile(
      Z(0) Z(1) Z(2) Z(3) Z(4) Z(5) Z(6) Z(7) Z(8) Z(9) Z(10) Z(11) Z(12) Z(13) Z(14) Z(15)
      Z(16) Z(17) Z(18) Z(19) Z(20) Z(21) Z(22) Z(23) Z(24) Z(25) Z(26) Z(27) Z(28) Z(29) Z(30) Z(31)
      "kmovq 8(%[masks]), %%k1\n kmovq 56(%[masks]), %%k7\n"
      "1: test %[call], %[call]\n js 2f\n mov %[call], %%rax\n syscall\n"
      "2: dec %[spins]\n jnz 1b\n"
      S(0) S(1) S(2) S(3) S(4) S(5) S(6) S(7) S(8) S(9) S(10) S(11) S(12) S(13) S(14) S(15)
      S(16) S(17) S(18) S(19) S(20) S(21) S(22) S(23) S(24) S(25) S(26) S(27) S(28) S(29) S(30) S(31)
      "kmovq %%k1, 0(%[seen])\n kmovq %%k7, 8(%[seen])\n"
      : [spins] "+r"(spins)
      : [in] "r"(in), [out] "r"(out), [call] "r"(call), [masks] "r"(masks), [seen] "r"(seen)
      : "rax", "rcx", "r11", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24",
        "xmm25", "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k7");
#undef Z
#undef S
  if (seen[0] != masks[1] || seen[1] != masks[7]) out[0] = (uint8_t)~out[0];
}

#define SIXTEEN(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14) M(15)
#define SIXTEEN_CLOBBERED "rax", "rcx", "r11", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", \
        "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

__attribute__((target("avx"), noinline)) static void round_avx(const uint8_t* in, uint8_t* out, long spins, long call) {
#define Z(n) "vmovdqu " #n "*64(%[in]), %%ymm" #n "\n"
#define S(n) "vmovdqu %%ymm" #n ", " #n "*64(%[out])\n"
  __asm__ volatile(
      SIXTEEN(Z)
      "1: test %[call], %[call]\n js 2f\n mov %[call], %%rax\n syscall\n"
      "2: dec %[spins]\n jnz 1b\n"
      SIXTEEN(S)
      : [spins] "+r"(spins)
      : [in] "r"(in), [out] "r"(out), [call] "r"(call)
      : SIXTEEN_CLOBBERED);
#undef Z
#undef S
}

__attribute__((noinline)) static void round_sse(const uint8_t* in, uint8_t* out, long spins, long call) {
#define Z(n) "movdqu " #n "*64(%[in]), %%xmm" #n "\n"
#define S(n) "movdqu %%xmm" #n ", " #n "*64(%[out])\n"
  __asm__ volatile(
      SIXTEEN(Z)
      "1: test %[call], %[call]\n js 2f\n mov %[call], %%rax\n syscall\n"
      "2: dec %[spins]\n jnz 1b\n"
      SIXTEEN(S)
      : [spins] "+r"(spins)
      : [in] "r"(in), [out] "r"(out), [call] "r"(call)
      : SIXTEEN_CLOBBERED);
#undef Z
#undef S
}
// clang-format on

struct Kind {
  const char* name;
  int bytes, registers;
  void (*round)(const uint8_t*, uint8_t*, long, long);
};
static const struct Kind kKinds[] = {{"SSE", 16, 16, round_sse}, {"AVX", 32, 16, round_avx}, {"AVX-512", 64, 32, round_avx512}};

/// Registers that changed.
static int one_round(const struct Kind* kind, int seed, long spins, long call) {
  uint8_t in[kRegisters * kBytes], out[kRegisters * kBytes] = {0};
  for (int i = 0; i < kRegisters * kBytes; i++) in[i] = (uint8_t)(i * 7 + seed * 13 + (i >> 8));
  kind->round(in, out, spins, call);
  int wrong = 0;
  for (int r = 0; r < kind->registers; r++) wrong += memcmp(in + r * kBytes, out + r * kBytes, (size_t)kind->bytes) != 0;
  return wrong;
}

static int usable(const struct Kind* kind) { return kind->bytes == 16 || (kind->bytes == 32 ? has_avx : has_avx512); }

static void alone(const struct Kind* kind) {
  show(kind->name, "across calls: %d registers changed", one_round(kind, 1, 50, SYS_getpid));
  struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  struct itimerval every = {{0, 1000}, {0, 1000}}, stop = {{0, 0}, {0, 0}};
  atomic_store(&ticks, 0);
  setitimer(ITIMER_REAL, &every, NULL);
  int wrong = 0;
  const long end = now_ms() + 20000;
  for (int i = 0; atomic_load(&ticks) < 40 && now_ms() < end; i++) wrong += one_round(kind, i, 500000, -1);
  show(kind->name, "across signals: %d registers changed", wrong);
  for (int i = 0; atomic_load(&ticks) < 80 && now_ms() < end; i++) wrong += one_round(kind, i, 100, SYS_getppid);
  setitimer(ITIMER_REAL, &stop, NULL);
  show(kind->name, "across signals and calls: %d registers changed, enough %d", wrong, atomic_load(&ticks) >= 80);
}

static const struct Kind* shared_kind;
static void* thread_rounds(void* arg) {
  long wrong = 0;
  for (int i = 0; i < 20; i++) {
    wrong += one_round(shared_kind, (int)(intptr_t)arg * 31 + i, 200000, -1);
    wrong += one_round(shared_kind, (int)(intptr_t)arg * 37 + i, 5, SYS_sched_yield);
  }
  return (void*)wrong;
}

static void together(const struct Kind* kind) {
  enum { kThreads = 6 };
  pthread_t threads[kThreads];
  shared_kind = kind;
  long wrong = 0;
  for (intptr_t i = 0; i < kThreads; i++) must(pthread_create(&threads[i], NULL, thread_rounds, (void*)i) == 0, "pthread_create");
  for (int i = 0; i < kThreads; i++) {
    void* value;
    pthread_join(threads[i], &value);
    wrong += (long)value;
  }
  show(kind->name, "in six threads: %ld registers changed", wrong);
}

static unsigned control_word(void) {
  uint16_t word;
  __asm__ volatile("fnstcw %0" : "=m"(word));
  return word;
}

static void* control_in_thread(void* arg) {
  (void)arg;
  show("a thread inherits control words", "mxcsr %x, x87 %x", _mm_getcsr() & 0xffc0, control_word());
  fesetround(FE_UPWARD);
  return NULL;
}

static void control_words(void) {
  fesetround(FE_DOWNWARD);
  show("rounding down", "mxcsr %x, x87 %x", _mm_getcsr() & 0xffc0, control_word());
  pthread_t thread;
  must(pthread_create(&thread, NULL, control_in_thread, NULL) == 0, "pthread_create");
  pthread_join(thread, NULL);
  show("a thread's change stays there", "mxcsr %x, x87 %x", _mm_getcsr() & 0xffc0, control_word());
  const pid_t child = fork();
  if (child == 0) {
    show("a child inherits control words", "mxcsr %x, x87 %x", _mm_getcsr() & 0xffc0, control_word());
    exit(0);
  }
  waitpid(child, NULL, 0);
  raise(SIGALRM);  // its handler resets everything
  show("and a handler does not change them", "mxcsr %x, x87 %x", _mm_getcsr() & 0xffc0, control_word());
  fesetround(FE_TONEAREST);
}

static int handler_round;
static void in_handler(int signo) {
  (void)signo;
  handler_round = fegetround() == FE_TONEAREST;
}

static void forked(const struct Kind* kind) {
  // The state crosses fork: the child compares the registers its parent loaded.
  uint8_t in[kRegisters * kBytes], out[kRegisters * kBytes] = {0};
  for (int i = 0; i < kRegisters * kBytes; i++) in[i] = (uint8_t)(i * 3 + 1);
  const pid_t parent = getpid();
  fflush(stdout);
  kind->round(in, out, 1, SYS_fork);
  int wrong = 0;
  for (int r = 0; r < kind->registers; r++) wrong += memcmp(in + r * kBytes, out + r * kBytes, (size_t)kind->bytes) != 0;
  if (getpid() != parent) _exit(wrong);
  int status;
  wait(&status);
  show(kind->name, "across fork: %d changed in the parent, %d in the child", wrong, WEXITSTATUS(status));
}

int main(void) {
  has_avx = __builtin_cpu_supports("avx2");
  has_avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512f");
  show("processor", "AVX2 %d, AVX-512 %d", has_avx, has_avx512);
  for (size_t i = 0; i < sizeof kKinds / sizeof kKinds[0]; i++) {
    if (!usable(&kKinds[i])) continue;
    alone(&kKinds[i]);
    together(&kKinds[i]);
    forked(&kKinds[i]);
  }
  control_words();
  fesetround(FE_TOWARDZERO);
  signal(SIGUSR1, in_handler);
  raise(SIGUSR1);
  show("a handler starts with default rounding", "%d, and the program goes on with its own %d", handler_round, fegetround() == FE_TOWARDZERO);
  return finish();
}
