// SPDX-License-Identifier: Apache-2.0
/*
 * Random code with random registers: fuzz_guest [seconds [seed]]. Every run must
 * end in an exit that the interface defines; the kernel log is the lab's matter.
 *
 * QEMU 7.2's TCG does IRET, far RET and far CALL at CPL 3 with supervisor rights
 * (any plain program can crash its guest kernel so), aborts at some VEX encodings,
 * and jumps to address 0 at the instructions 0F 38 0C to 0F where VEX is missing:
 * their opcodes are left out.
 */
#define _GNU_SOURCE
#include "machine.h"

#include <setjmp.h>
#include <sys/time.h>

#define CODE_SIZE 8192u

static struct machine machine;
static struct vcpu cpu;
static unsigned long reasons[64], vectors[32], other;

static uint64_t state;

static uint32_t rnd(void) {  /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (state * 0x2545f4914f6cdd1dull) >> 32;
}

static const char *const prefixes[] = {
    "",         "\x0f",     "\xcd", "\x0f\x01", "\x0f\xc7", "\x66\x0f\x38", "\x8e",        "\xf3\x0f\xae", "\x0f\xae",
    "\xf2",     "\x48\x0f", "\x9d", "\x0f\x34", "\x0f\x05", "\xcd\x80",     "\x0f\x01\xef" /* wrpkru */,
    "\xf3\x48\x0f\xae\xd0" /* wrfsbase */, "\xee", "\xec", "\x66\xef", "\x8e\xe0" /* mov fs */,
};

static bool forbidden(const uint8_t *p) {
  if (p[0] == 0x0f && p[1] == 0x38 && (p[2] & ~3) == 0x0c)
    return true;
  if (p[0] == 0xcf || p[0] == 0xcb || p[0] == 0xca || p[0] == 0xc4 || p[0] == 0xc5)
    return true;
  return p[0] == 0xff && (((p[1] >> 3) & 7) == 3);
}

static void random_code(uint8_t *code, uint32_t entry) {
  const char *prefix = prefixes[rnd() % (sizeof(prefixes) / sizeof(prefixes[0]))];

  for (uint32_t i = 0; i < CODE_SIZE; i++)
    code[i] = rnd() >> 7;
  memcpy(code + entry, prefix, strlen(prefix));
  for (uint32_t i = 0; i < CODE_SIZE; i++)
    while (forbidden(code + i))
      code[i] = 0x90;
}

static void random_regs(struct kvm_regs *r, uint32_t entry) {
  uint32_t *words = (uint32_t *)r;

  for (size_t i = 0; i < sizeof(*r) / 4; i++)
    words[i] = rnd();
  if (rnd() & 1) {  /* half of the runs get registers that point somewhere */
    r->rsp = GUEST_BASE + 0x80000;
    r->rdi = GUEST_BASE + 0x90000 + (rnd() & 0xfff);
    r->rsi = GUEST_BASE + 0xa0000;
    r->rdx = KKM_PORT_FIRST + (rnd() & 0x1ff);
    r->rcx &= 0xff;
  }
  if (rnd() % 50)
    r->rip = GUEST_BASE + entry;
}

static bool defined_exit(int r) {
  uint32_t reason = cpu.run->exit_reason;

  if (r == -EINTR)
    return reason == KVM_EXIT_INTR;
  if (r)
    return false;
  if (reason == KVM_EXIT_EXCEPTION) {
    vectors[vcpu_exception(&cpu)->vector & 31]++;
    return vcpu_exception(&cpu)->vector < 32;
  }
  return reason == KKM_EXIT_SYSCALL || reason == KVM_EXIT_IO;
}

#define MXCSR_KNOWN 0xffffu

/* What became of the vector images, so that each refusal has its cause counted. */
static struct {
  unsigned long rounds, interrupted, reserved;
} images;

/* A vCPU that has no thread yet waits for it, and a signal ends the wait. */
static int retry(unsigned long cmd, void *arg) {
  while (ioctl(cpu.fd, cmd, arg) < 0) {
    if (errno != EINTR)
      return -errno;
    images.interrupted++;
  }
  return 0;
}

static sigjmp_buf not_taken;

static void on_fault(int sig) { siglongjmp(not_taken, sig); }

/* Whether this CPU loads reserved MXCSR bits. Hardware never does (SDM volume 1, 10.2.3.1); QEMU 7.2 does. */
static bool cpu_is_lax(void) {
  uint32_t reserved = MXCSR_KNOWN + 1, usual = 0x1f80;
  bool lax = false;

  signal(SIGSEGV, on_fault);
  if (sigsetjmp(not_taken, 1) == 0) {
    __asm__ volatile("ldmxcsr %0" ::"m"(reserved));
    lax = true;
  }
  __asm__ volatile("ldmxcsr %0" ::"m"(usual));
  signal(SIGSEGV, SIG_DFL);
  return lax;
}

/* State the guest made must come out and go in again; only what no CPU may hold is refused. */
static void image_round_trip(bool lax) {
  struct kvm_xsave x;
  int get = retry(KVM_GET_XSAVE, &x), set;

  images.rounds++;
  if (x.region[6] & ~MXCSR_KNOWN) {
    images.reserved++;
    set = retry(KVM_SET_XSAVE, &x);
    CHECK(lax && set == -EINVAL, "MXCSR %x came out of a %s CPU and went in: %d", x.region[6], lax ? "lax" : "strict",
          set);
    x.region[6] &= MXCSR_KNOWN;
  }
  set = retry(KVM_SET_XSAVE, &x);
  CHECK(get == 0 && set == 0, "xsave: get %d set %d", get, set);
}

static void one_run(bool lax) {
  uint32_t entry = rnd() & 0xfff;
  int r;

  random_code((uint8_t *)machine.mem, entry);
  random_regs(&cpu.regs, entry);
  vcpu_set(&cpu);
  r = vcpu_run(&cpu);
  CHECK(defined_exit(r), "r %d reason %x vector %u", r, cpu.run->exit_reason, vcpu_exception(&cpu)->vector);
  if (r == 0 && cpu.run->exit_reason < 64)
    reasons[cpu.run->exit_reason]++;
  else
    other++;
  if (rnd() % 64 == 0)
    image_round_trip(lax);
}

static void on_tick(int sig) { (void)sig; }

int main(int argc, char **argv) {
  struct itimerval it = {{0, 3000}, {0, 3000}};
  int seconds = argc > 1 ? atoi(argv[1]) : 10;
  double end = now_ns() + seconds * 1e9;
  unsigned long runs = 0;
  bool lax = cpu_is_lax();

  setvbuf(stdout, NULL, _IONBF, 0);
  state = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)now_ns() | 1;
  printf("seed %llu\n", (unsigned long long)state);
  machine_make(&machine);
  vcpu_make(&cpu, &machine, 0);
  signal(SIGALRM, on_tick);
  setitimer(ITIMER_REAL, &it, NULL);
  for (; now_ns() < end; runs++) {
    one_run(lax);
    if (rnd() % 5000 == 0) {
      vcpu_end(&cpu);
      machine_end(&machine);
      machine_make(&machine);
      vcpu_make(&cpu, &machine, rnd() % KKM_MAX_VCPUS);
    }
  }
  printf("%lu runs; io %lu exceptions %lu syscalls and interrupts %lu; vectors", runs, reasons[KVM_EXIT_IO],
         reasons[KVM_EXIT_EXCEPTION], other);
  for (int i = 0; i < 32; i++)
    if (vectors[i])
      printf(" %d:%lu", i, vectors[i]);
  printf("\n");
  printf("vector images: %lu out and in, %lu calls interrupted, %lu with reserved MXCSR bits, refused (CPU %s)\n",
         images.rounds, images.interrupted, images.reserved, lax ? "loads such bits, as QEMU 7.2" : "is strict");
  CHECK(kill(machine.companion, 0) == 0, "the companion lives");
  vcpu_end(&cpu);
  machine_end(&machine);
  return report();
}
