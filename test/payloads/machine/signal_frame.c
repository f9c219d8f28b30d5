// SPDX-License-Identifier: Apache-2.0
// The frame a handler gets, field by field: registers as they were, trap number and error code, FP area with its
// magic words, mask, stack layout; and that what the handler writes there is what the program goes on with.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "report.h"

enum { kMagic1 = 0x46505853, kMagic2 = 0x46505845 };

static ucontext_t seen;
static siginfo_t info;
static uint64_t frame_address, ucontext_address, siginfo_address, restorer;
static uint32_t magic1, magic2, extended_size, xstate_size;
static uint64_t xfeatures;
static void (*in_handler)(ucontext_t*);

static void handler(int signo, siginfo_t* si, void* context) {
  (void)signo;
  ucontext_t* uc = context;
  seen = *uc;
  info = *si;
  frame_address = (uint64_t)uc - 8;
  ucontext_address = (uint64_t)uc;
  siginfo_address = (uint64_t)si;
  restorer = *(uint64_t*)frame_address;
  const char* fp = (const char*)uc->uc_mcontext.fpregs;
  if (fp) {
    memcpy(&magic1, fp + 464, 4);
    memcpy(&extended_size, fp + 468, 4);
    memcpy(&xfeatures, fp + 472, 8);
    memcpy(&xstate_size, fp + 480, 4);
    if (magic1 == kMagic1) memcpy(&magic2, fp + xstate_size, 4);
  }
  if (in_handler) in_handler(uc);
}

static void install(int signo, int flags) {
  struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGUSR2);
  must(sigaction(signo, &action, NULL) == 0, "sigaction");
}

static void skip_two(ucontext_t* uc) { uc->uc_mcontext.gregs[REG_RIP] += 2; }
static void do_nothing(ucontext_t* uc) { (void)uc; }

// Every register gets a value of its own, then an instruction faults; the stack pointer and rip are kept apart.
// clang-format off
#define SET_REGISTERS                                   \
  "movq $0x1111111111111111, %%rax\n"                   \
  "movq $0x2222222222222222, %%rbx\n"                   \
  "movq $0x3333333333333333, %%rcx\n"                   \
  "movq $0x4444444444444444, %%rdx\n"                   \
  "movq $0x5555555555555555, %%rsi\n"                   \
  "movq $0x6666666666666666, %%rdi\n"                   \
  "movq $0x8888888888888888, %%r8\n"                    \
  "movq $0x9999999999999999, %%r9\n"                    \
  "movq $0xaaaaaaaaaaaaaaaa, %%r10\n"                   \
  "movq $0xbbbbbbbbbbbbbbbb, %%r11\n"                   \
  "movq $0xcccccccccccccccc, %%r12\n"                   \
  "movq $0xdddddddddddddddd, %%r13\n"                   \
  "movq $0xeeeeeeeeeeeeeeee, %%r14\n"                   \
  "movq $0xffffffffffffffff, %%r15\n"
#define CLOBBERS "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc", "memory"
// clang-format on

extern char fault_ud[];
static uint64_t rsp_at_fault;

__attribute__((noinline)) static void undefined_instruction(void) {
  __asm__ volatile(
      "mov %%rsp, %0\n" SET_REGISTERS
      "stc\n"
      ".globl fault_ud\n"
      "fault_ud: ud2\n"
      : "=m"(rsp_at_fault)
      :
      : CLOBBERS);
}

static void print_general(void) {
  static const struct {
    const char* name;
    int index;
  } kRegisters[] = {{"rax", REG_RAX}, {"rbx", REG_RBX}, {"rcx", REG_RCX}, {"rdx", REG_RDX}, {"rsi", REG_RSI},
                    {"rdi", REG_RDI}, {"r8", REG_R8},   {"r9", REG_R9},   {"r10", REG_R10}, {"r11", REG_R11},
                    {"r12", REG_R12}, {"r13", REG_R13}, {"r14", REG_R14}, {"r15", REG_R15}};
  for (size_t i = 0; i < sizeof kRegisters / sizeof kRegisters[0]; i++) {
    show(kRegisters[i].name, "%llx", seen.uc_mcontext.gregs[kRegisters[i].index]);
  }
}

static void print_frame(void) {
  show("trapno", "%lld", seen.uc_mcontext.gregs[REG_TRAPNO]);
  show("err", "%llx", seen.uc_mcontext.gregs[REG_ERR]);
  show("cr2", "%llx", seen.uc_mcontext.gregs[REG_CR2]);
  show("cs", "%llx", seen.uc_mcontext.gregs[REG_CSGSFS] & 0xffff);
  show("ss", "%llx", (unsigned long long)seen.uc_mcontext.gregs[REG_CSGSFS] >> 48);
  show("uc_flags", "%lx", seen.uc_flags & ~0x10ul);
  show("uc_link", "%p", (void*)seen.uc_link);
  show("uc_sigmask", "%lx", *(unsigned long*)&seen.uc_sigmask);
  // Without an alternate stack the flags are what an ancestor left in them.
  show("uc_stack flags", "%d", seen.uc_stack.ss_flags & ~SS_DISABLE);
  check(seen.uc_mcontext.fpregs != NULL, "fpregs points at the FP area");
  check(frame_address % 16 == 8, "the return address sits at 8 mod 16");
  check((uint64_t)seen.uc_mcontext.fpregs % 64 == 0, "the FP area is aligned to 64");
  check(siginfo_address > ucontext_address && siginfo_address - ucontext_address < 1024, "siginfo is behind ucontext");
  check(siginfo_address % 8 == 0 && (uint64_t)seen.uc_mcontext.fpregs > siginfo_address, "the FP area is above both");
  check(restorer != 0, "the frame returns to a restorer");
}

static void print_fp(void) {
  if (magic1 != kMagic1) {
    check(0, "FP_XSTATE_MAGIC1");
    return;
  }
  check(1, "FP_XSTATE_MAGIC1");
  check(magic2 == kMagic2, "FP_XSTATE_MAGIC2 at the end of the state");
  check(extended_size == xstate_size + 4, "extended_size counts the second magic");
  show("xfeatures has x87, SSE", "%x", (unsigned)(xfeatures & 3));
}

static void whole_frame(void) {
  install(SIGILL, 0);
  in_handler = skip_two;
  undefined_instruction();
  show("signal", "%d code %d", info.si_signo, info.si_code);
  check(info.si_addr == (void*)fault_ud, "si_addr is the instruction");
  check(seen.uc_mcontext.gregs[REG_RIP] == (long long)fault_ud, "rip is the instruction");
  check(seen.uc_mcontext.gregs[REG_RSP] == (long long)rsp_at_fault, "rsp is the program's");
  show("carry flag", "%llx", seen.uc_mcontext.gregs[REG_EFL] & 1);
  check((seen.uc_mcontext.gregs[REG_EFL] & 0x200) != 0, "interrupt flag reads as on Linux");
  check((uint64_t)rsp_at_fault - ((uint64_t)seen.uc_mcontext.fpregs + xstate_size + 4) >= 128, "the red zone is spared");
  print_general();
  print_frame();
  print_fp();
}

static void page_fault_details(void) {
  char* page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  must(page != MAP_FAILED, "mmap");
  install(SIGSEGV, 0);
  in_handler = skip_two;
  // Two-byte stores and loads, so that one skip fits all: mov %al,(%rdi); mov (%rdi),%al.
  __asm__ volatile(".byte 0x88, 0x07" : : "D"(page + 5), "a"(0) : "memory");
  show("write to read-only", "code %d, addr +%ld, trapno %lld, err %llx, cr2 +%lld", info.si_code,
       (long)((char*)info.si_addr - page), seen.uc_mcontext.gregs[REG_TRAPNO], seen.uc_mcontext.gregs[REG_ERR] & ~1,
       seen.uc_mcontext.gregs[REG_CR2] - (long long)page);
  munmap(page, 4096);
  __asm__ volatile(".byte 0x8a, 0x07" : : "D"(page + 7) : "rax", "memory");
  show("read of nothing", "code %d, addr +%ld, trapno %lld, err %llx, cr2 +%lld", info.si_code,
       (long)((char*)info.si_addr - page), seen.uc_mcontext.gregs[REG_TRAPNO], seen.uc_mcontext.gregs[REG_ERR] & ~1,
       seen.uc_mcontext.gregs[REG_CR2] - (long long)page);
  __asm__ volatile(".byte 0x8a, 0x07" : : "D"(0x123456789abcdef0) : "rax", "memory");
  show("non-canonical", "code %d, addr %p, trapno %lld, err %llx", info.si_code, info.si_addr,
       seen.uc_mcontext.gregs[REG_TRAPNO], seen.uc_mcontext.gregs[REG_ERR]);
}

static void change_registers(ucontext_t* uc) {
  uc->uc_mcontext.gregs[REG_RIP] += 2;
  uc->uc_mcontext.gregs[REG_RAX] = 0xabcdef;
  uc->uc_mcontext.gregs[REG_R15] = 0x123456789;
  uc->uc_mcontext.gregs[REG_EFL] |= 1;
  uc->uc_mcontext.fpregs->_xmm[3].element[1] = 0xfeedface;
}

static void handler_writes(void) {
  install(SIGILL, 0);
  in_handler = change_registers;
  uint64_t rax, r15;
  uint32_t xmm3[4] __attribute__((aligned(16)));
  uint8_t carry;
  __asm__ volatile(
      "pxor %%xmm3, %%xmm3\n clc\n ud2\n setc %3\n mov %%r15, %1\n movdqa %%xmm3, %2\n"
      : "=&a"(rax), "=&r"(r15), "=m"(xmm3), "=&r"(carry)
      :
      : "r15", "xmm3", "cc");
  show("the handler's rax, r15, carry, xmm3", "%lx %lx %d %x", rax, r15, carry, xmm3[1]);
}

static void mask_from_frame(ucontext_t* uc) { sigaddset(&uc->uc_sigmask, SIGUSR1); }

static void masks(void) {
  install(SIGHUP, 0);
  in_handler = mask_from_frame;
  raise(SIGHUP);
  sigset_t now;
  sigprocmask(SIG_SETMASK, NULL, &now);
  show("mask taken from the frame", "USR1 %d USR2 %d HUP %d", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2), sigismember(&now, SIGHUP));
  sigemptyset(&now);
  sigprocmask(SIG_SETMASK, &now, NULL);
}

static void sender_fields(void) {
  install(SIGUSR1, 0);
  in_handler = do_nothing;
  kill(getpid(), SIGUSR1);
  show("kill", "signo %d errno %d code %d own pid %d uid %d", info.si_signo, info.si_errno, info.si_code, info.si_pid == getpid(), info.si_uid == getuid());
  raise(SIGUSR1);
  show("raise", "code %d own pid %d", info.si_code, info.si_pid == getpid());
  sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 4711});
  show("sigqueue", "code %d value %d", info.si_code, info.si_value.sival_int);
}

int main(void) {
  whole_frame();
  page_fault_details();
  handler_writes();
  masks();
  sender_fields();
  return finish();
}
