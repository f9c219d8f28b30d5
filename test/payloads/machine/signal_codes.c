// SPDX-License-Identifier: Apache-2.0
// si_code and si_addr of everything the processor can complain about.
#define _GNU_SOURCE
#include <fcntl.h>
#include <fenv.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "report.h"

static sigjmp_buf back;
static siginfo_t info;
static long long trapno, error_code, rip;

static void handler(int signo, siginfo_t* si, void* context) {
  (void)signo;
  const ucontext_t* uc = context;
  info = *si;
  trapno = uc->uc_mcontext.gregs[REG_TRAPNO];
  error_code = uc->uc_mcontext.gregs[REG_ERR];
  rip = uc->uc_mcontext.gregs[REG_RIP];
  siglongjmp(back, 1);
}

static const char* code_name(void) {
  static const struct {
    int signo, code;
    const char* name;
  } kCodes[] = {{SIGSEGV, SEGV_MAPERR, "SEGV_MAPERR"}, {SIGSEGV, SEGV_ACCERR, "SEGV_ACCERR"},
                {SIGBUS, BUS_ADRERR, "BUS_ADRERR"},    {SIGBUS, BUS_ADRALN, "BUS_ADRALN"},
                {SIGFPE, FPE_INTDIV, "FPE_INTDIV"},    {SIGFPE, FPE_FLTDIV, "FPE_FLTDIV"},
                {SIGFPE, FPE_FLTOVF, "FPE_FLTOVF"},    {SIGFPE, FPE_FLTINV, "FPE_FLTINV"},
                {SIGILL, ILL_ILLOPN, "ILL_ILLOPN"},    {SIGTRAP, TRAP_BRKPT, "TRAP_BRKPT"},
                {SIGTRAP, TRAP_TRACE, "TRAP_TRACE"}};
  for (size_t i = 0; i < sizeof kCodes / sizeof kCodes[0]; i++) {
    if (kCodes[i].signo == info.si_signo && kCodes[i].code == info.si_code) return kCodes[i].name;
  }
  return info.si_code == SI_KERNEL ? "SI_KERNEL" : "another";
}

// `base`: what si_addr is printed relative to; NULL prints it as it is. The
// present bit of a page fault's error code depends on what was touched before, so it is left out.
#define FAULT(name, base, ...)                                                                                     \
  do {                                                                                                             \
    memset(&info, 0, sizeof info);                                                                                 \
    const char* const origin = hidden(base);                                                                       \
    if (sigsetjmp(back, 1) == 0) {                                                                                 \
      __VA_ARGS__;                                                                                                 \
      printf("%s: nothing happened\n", name);                                                                      \
    } else {                                                                                                       \
      printf("%s: %s %s addr %s%#lx trapno %lld err %#llx\n", name, sigabbrev_np(info.si_signo), code_name(),      \
             origin ? "+" : "", (unsigned long)((char*)info.si_addr - origin), trapno, error_code & ~1);           \
    }                                                                                                              \
  } while (0)

static const char read_only_data[64] = "read-only";

static void memory_faults(void) {
  char* page = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(page != MAP_FAILED, "mmap");
  page[0] = (char)0xc3;  // ret
  page[8192] = 1;
  mprotect(page + 4096, 4096, PROT_NONE);
  mprotect(page + 8192, 4096, PROT_READ);
  FAULT("read of PROT_NONE", page, *(volatile char*)(page + 4096 + 12));
  FAULT("write of PROT_NONE", page, *(volatile char*)(page + 4096 + 13) = 1);
  FAULT("write of PROT_READ", page, *(volatile char*)(page + 8192 + 14) = 1);
  FAULT("execution without PROT_EXEC", page, ((void (*)(void))page)());
  mprotect(page, 4096, PROT_READ);
  FAULT("execution of read-only data", page, ((void (*)(void))page)());
  FAULT("read-write-modify of PROT_READ", page, __atomic_fetch_add((volatile int*)(page + 8192), 1, __ATOMIC_SEQ_CST));
  FAULT("access across the end of a page", page, *(volatile uint64_t*)(page + 4096 - 4));
  munmap(page, 3 * 4096);
  FAULT("read of unmapped", page, *(volatile char*)(page + 21));
  FAULT("write of unmapped", page, *(volatile char*)(page + 22) = 1);
  FAULT("execution of unmapped", page, ((void (*)(void))(page + 23))());
  FAULT("null read", NULL, *(volatile char*)hidden(NULL));
  FAULT("null write", NULL, *(volatile char*)hidden((void*)8) = 1);
  FAULT("null call", NULL, ((void (*)(void))hidden(NULL))());
  FAULT("call of a small address", NULL, ((void (*)(void))0x1000)());
  FAULT("write to text", (char*)memory_faults, *(volatile char*)memory_faults = 1);
  FAULT("write to read-only data", read_only_data, *(volatile char*)hidden(read_only_data) = 1);
  char local = (char)0xc3;
  FAULT("execution of the stack", &local, ((void (*)(void))&local)());
  FAULT("kernel half", NULL, *(volatile char*)0xffff800000000123);
  FAULT("top of the address space", NULL, *(volatile char*)0xffffffffffffff00);
  FAULT("non-canonical read", NULL, *(volatile char*)0x1234567890abcdef);
  FAULT("non-canonical call", NULL, ((void (*)(void))0x1234567890abcdef)());
  FAULT("non-canonical stack", NULL,
        __asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n push %%rax\n mov %%rbx, %%rsp" ::"r"(0x8000123456789000)
                         : "rbx", "memory"));
}

static void file_faults(void) {
  const int fd = memfd_create("codes", 0);
  must(fd >= 0 && ftruncate(fd, 2 * 4096) == 0, "memfd_create");
  char* map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  must(map != MAP_FAILED, "mmap");
  map[4096] = 1;
  FAULT("read behind the end of a file", map, *(volatile char*)(map + 8192 + 5));
  FAULT("write behind the end of a file", map, *(volatile char*)(map + 12288 + 6) = 1);
  must(ftruncate(fd, 4096) == 0, "ftruncate");
  FAULT("read of what was cut off", map, *(volatile char*)(map + 4096));
  must(ftruncate(fd, 3 * 4096) == 0, "ftruncate");
  show("read of what came back", "%d", *(volatile char*)(map + 8192));
  char* private = mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
  must(private != MAP_FAILED && ftruncate(fd, 0) == 0, "private map");
  FAULT("private map of an emptied file", private, *(volatile char*)(private + 3));
  close(fd);
}

// By hand: the compiler knows too much about divisions.
static void divide(int dividend, int divisor) {
  __asm__ volatile("cltd\n idivl %1" : "+a"(dividend) : "r"(divisor) : "rdx", "cc");
}

static void arithmetic(void) {
  if (sigsetjmp(back, 1) == 0) divide(1, 0);
  show("division by zero", "%s %s trapno %lld", sigabbrev_np(info.si_signo), code_name(), trapno);
  check((long long)info.si_addr == rip, "si_addr of a division is the instruction");
  if (sigsetjmp(back, 1) == 0) divide((int)0x80000000, -1);
  show("overflowing division", "%s %s", sigabbrev_np(info.si_signo), code_name());
  feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
  volatile double none = 0, huge = 1e308;
  volatile long double long_none = 0;
  if (sigsetjmp(back, 1) == 0) none = 1 / none;
  show("SSE division by zero", "%s %s trapno %lld", sigabbrev_np(info.si_signo), code_name(), trapno);
  feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
  if (sigsetjmp(back, 1) == 0) huge = huge * 10;
  show("SSE overflow", "%s %s trapno %lld", sigabbrev_np(info.si_signo), code_name(), trapno);
  feenableexcept(FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW);
  none = 0;
  if (sigsetjmp(back, 1) == 0) none = none / none;
  show("SSE invalid", "%s %s trapno %lld", sigabbrev_np(info.si_signo), code_name(), trapno);
  feenableexcept(FE_DIVBYZERO);
  if (sigsetjmp(back, 1) == 0) {
    long_none = 1 / long_none;
    __asm__ volatile("fwait");
  }
  show("x87 division by zero", "%s %s trapno %lld", sigabbrev_np(info.si_signo), code_name(), trapno);
  fedisableexcept(FE_ALL_EXCEPT);
  feclearexcept(FE_ALL_EXCEPT);
}

extern char after_int3[], at_ud2[], at_lock[], after_step[];

static void instructions(void) {
  FAULT("ud2", at_ud2, __asm__ volatile("at_ud2: ud2"));
  FAULT("int3", NULL, __asm__ volatile("int3\nafter_int3:"));
  check(rip == (long long)after_int3, "rip is behind int3");
  FAULT("single step", after_step, __asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n nop\nafter_step: nop\n" ::: "memory", "cc"));
  FAULT("hlt", NULL, __asm__ volatile("hlt"));
  FAULT("cli", NULL, __asm__ volatile("cli"));
  FAULT("in", NULL, __asm__ volatile("inb $0x60, %%al" ::: "rax"));
  FAULT("out", NULL, __asm__ volatile("outb %%al, $0x60" ::: "rax"));
  FAULT("out, two-byte port", NULL, __asm__ volatile("outl %%eax, %%dx" ::"d"(0x3f8), "a"(0)));
  FAULT("read of cr3", NULL, __asm__ volatile("mov %%cr3, %%rax" ::: "rax"));
  FAULT("write of cr0", NULL, __asm__ volatile("mov %%rax, %%cr0" ::"a"(0)));
  FAULT("read of dr7", NULL, __asm__ volatile("mov %%dr7, %%rax" ::: "rax"));
  FAULT("rdmsr", NULL, __asm__ volatile("rdmsr" ::"c"(0xc0000082) : "rax", "rdx"));
  FAULT("wrmsr", NULL, __asm__ volatile("wrmsr" ::"c"(0xc0000082), "a"(0), "d"(0)));
  FAULT("lgdt", NULL, char table[10] = {0}; __asm__ volatile("lgdt %0" ::"m"(table)));
  FAULT("lidt", NULL, char table[10] = {0}; __asm__ volatile("lidt %0" ::"m"(table)));
  FAULT("ltr", NULL, __asm__ volatile("ltr %%ax" ::"a"(0x40)));
  FAULT("invlpg", NULL, __asm__ volatile("invlpg (%%rax)" ::"a"(0)));
  FAULT("swapgs", NULL, __asm__ volatile("swapgs"));
  FAULT("sysret", NULL, __asm__ volatile("sysretq" ::: "rcx", "r11"));
  FAULT("xsetbv", NULL, __asm__ volatile("xsetbv" ::"c"(0), "a"(1), "d"(0)));
  FAULT("xrstor of nonsense", NULL, static char area[4096] __attribute__((aligned(64))); memset(area, 0xff, sizeof area);
        __asm__ volatile("xrstor %0" ::"m"(area), "a"(-1), "d"(-1)));
  FAULT("unaligned movaps", NULL, char area[64] __attribute__((aligned(16)));
        __asm__ volatile("movaps %%xmm0, %0" : "=m"(*(area + 1))));
  FAULT("lock on a register form", at_lock, __asm__ volatile("at_lock: .byte 0xf0, 0x90"));
}

// With EFLAGS.AC unaligned accesses are faults at CPL 3.
static void alignment(void) {
  static char area[16] __attribute__((aligned(16)));
  if (sigsetjmp(back, 1) == 0) {
    __asm__ volatile("pushfq\n orl $0x40000, (%%rsp)\n popfq\n movl 1(%0), %%eax\n pushfq\n andl $~0x40000, (%%rsp)\n popfq"
                     :
                     : "r"(area)
                     : "rax", "cc", "memory");
    show("alignment check", "nothing");
  } else {
    __asm__ volatile("pushfq\n andl $~0x40000, (%%rsp)\n popfq" ::: "cc", "memory");
    show("alignment check", "%s %s trapno %lld", sigabbrev_np(info.si_signo), code_name(), trapno);
  }
}

int main(void) {
  // Stack faults need a stack of their own.
  static char alternate[65536];
  stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
  sigaltstack(&stack, NULL);
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  static const int kSignals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS};
  for (size_t i = 0; i < sizeof kSignals / sizeof kSignals[0]; i++) sigaction(kSignals[i], &action, NULL);
  memory_faults();
  file_faults();
  arithmetic();
  instructions();
  alignment();
  return finish();
}
