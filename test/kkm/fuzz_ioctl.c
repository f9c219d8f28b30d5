// SPDX-License-Identifier: Apache-2.0
/*
 * Random ioctls on every kind of descriptor, from several threads and processes
 * that make, share and close machines: fuzz_ioctl [seconds [seed]]. Nothing to
 * check but that everybody ends; the rest is in the kernel log.
 */
#define _GNU_SOURCE
#include "machine.h"

#include <sys/time.h>

#define PROCESSES 3
#define THREADS 3
#define FDS 8
#define LARGEST 16384  /* bytes one ioctl may write */

static const unsigned long commands[] = {
    KVM_GET_API_VERSION, KVM_CREATE_VM, KVM_CHECK_EXTENSION, KVM_GET_VCPU_MMAP_SIZE, 0xc008ae05, 0xc004ae02,
    KKM_GET_IDENTITY, KVM_CREATE_VCPU, KVM_SET_USER_MEMORY_REGION, KVM_SET_USER_MEMORY_REGION, KKM_MAP_WINDOW,
    KKM_MAP_WINDOW, KVM_SET_IDENTITY_MAP_ADDR, KVM_SET_TSS_ADDR, KKM_SPACE_WAIT, KKM_SPACE_ATTACH, KKM_SPACE_INIT,
    KVM_RUN, KVM_RUN, KVM_RUN, KVM_RUN, KVM_GET_REGS, KVM_SET_REGS, KVM_GET_SREGS, KVM_SET_SREGS, KVM_GET_FPU,
    KVM_SET_FPU, KVM_GET_XSAVE, KVM_SET_XSAVE, 0x9000aecf, KVM_GET_XCRS, KVM_SET_XCRS, 0xc008ae88, 0x4008ae89,
    0x4008ae90, 0xc008ae91, KVM_SET_SIGNAL_MASK, KVM_SET_GUEST_DEBUG, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
    KVM_GET_MP_STATE, KVM_SET_MP_STATE,
};

static int fds[FDS];
static struct kvm_run *runs[FDS];
static char *mem;
static volatile bool stop;
static __thread uint64_t state;

static uint32_t rnd(void) {  /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (state * 0x2545f4914f6cdd1dull) >> 32;
}

/* Values that are near something: sizes, addresses, flags. */
static uint64_t interesting(void) {
  static const uint64_t values[] = {0, 1, 2, 3, 8, PAGE, 2 * PAGE, GUEST_BASE, GUEST_SIZE, 0x7fffffffe000,
                                    0x7ffffffff000, 0xffff888000000000, ~0ull, ~0xfffull, 1ull << 52};

  switch (rnd() % 4) {
    case 0:
      return (uintptr_t)mem + (rnd() % 64) * PAGE;
    case 1:
      return ((uint64_t)rnd() << 32 | rnd()) >> (rnd() & 63);
    case 2:
      return GUEST_BASE + (rnd() % 4096) * PAGE;
  }
  return values[rnd() % (sizeof(values) / sizeof(values[0]))];
}

/*
 * Not for the kernel to write to: guest code (QEMU 7.2 crashes guests at far returns, see fuzz_guest.c), and this
 * program itself, which a static link puts among the addresses that are tried.
 */
static bool ours(uint64_t address) {
  extern const char __executable_start[];
  uint64_t guest = (uintptr_t)mem, image = (uintptr_t)__executable_start;

  return (address >= guest && address < guest + GUEST_SIZE) ||
         (address >= image - LARGEST && address < (uintptr_t)sbrk(0));
}

static void *fuzz(void *arg) {
  uint64_t *buffer = calloc(2, LARGEST);

  state = (uintptr_t)arg | 1;
  while (!stop) {
    unsigned long cmd = commands[rnd() % (sizeof(commands) / sizeof(commands[0]))];
    int i = rnd() % FDS;
    uint64_t argument;

    for (int k = 0; k < 16; k++)
      buffer[rnd() % (k & 1 ? 512 : 8)] = interesting();
    argument = rnd() % 8 ? (uintptr_t)buffer : interesting();
    if (ours(argument))
      argument = (uintptr_t)buffer;
    if (cmd == KVM_RUN)
      argument = 0;
    if (cmd == KVM_CREATE_VM || cmd == KVM_CREATE_VCPU)
      argument = rnd() % 300;
    if (runs[i] && rnd() % 4 == 0) {
      runs[i]->immediate_exit = rnd() & 1;
      runs[i]->kvm_dirty_regs = rnd() & 3;
      runs[i]->kvm_valid_regs = rnd() & 3;
      runs[i]->s.regs.regs.rip = GUEST_BASE + (rnd() & 0xff);
    }
    if (cmd == KVM_SET_SIGNAL_MASK) {  /* any mask but one that shuts out what ends this thread */
      argument = (uintptr_t)buffer;
      *(uint32_t *)buffer = 8;
      ((uint8_t *)buffer)[4 + (SIGUSR1 - 1) / 8] &= ~(1 << (SIGUSR1 - 1) % 8);
    }
    int r = ioctl(fds[i], cmd, argument);

    if (r > 2 && (cmd == KVM_CREATE_VM || cmd == KVM_CREATE_VCPU))
      close(r);
    if (rnd() % 64 == 0)
      madvise(mem + (rnd() % 64) * PAGE, PAGE * (rnd() % 16), MADV_DONTNEED);
    if (rnd() % 64 == 0)
      mprotect(mem + (rnd() % 64) * PAGE, PAGE, rnd() & 1 ? PROT_READ : PROT_READ | PROT_WRITE);
  }
  free(buffer);
  return NULL;
}

static void on_tick(int sig) { (void)sig; }

/* One machine's life: make it, let threads at it, close it in some order. */
static void life(void) {
  struct machine m;
  pthread_t t[THREADS];

  machine_open(&m);
  mem = mmap(NULL, GUEST_SIZE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memset(mem, 0x90, 256);
  memcpy(mem + 256, "\x0f\x05\xeb\xfc", 4);  /* syscall in a loop */
  machine_slot(&m, 0, 0, GUEST_BASE, GUEST_SIZE, mem);
  if (rnd() % 8)
    m.companion = machine_birth(m.vm);
  fds[0] = m.dev;
  fds[1] = m.vm;
  for (int i = 2; i < FDS; i++) {
    fds[i] = ioctl(m.vm, KVM_CREATE_VCPU, i);
    runs[i] = mmap(NULL, 2 * PAGE, 3, MAP_SHARED, fds[i], 0);
    if (runs[i] == MAP_FAILED)
      runs[i] = NULL;
  }
  stop = false;
  for (int i = 0; i < THREADS; i++)
    pthread_create(&t[i], NULL, fuzz, (void *)(uintptr_t)((uint64_t)rnd() << 20 | rnd()));
  for (int i = 0; i < 40; i++) {
    usleep(5000);
    for (int k = 0; k < THREADS; k++)
      pthread_kill(t[k], SIGUSR1);
    if (m.companion > 0 && rnd() % 400 == 0)
      kill(m.companion, rnd() & 1 ? SIGKILL : SIGSEGV);
  }
  stop = true;
  for (int k = 0; k < THREADS; k++) {
    struct timespec soon;

    do {  /* all that are left: one may hold the vCPU another waits for */
      for (int other = k; other < THREADS; other++)
        pthread_kill(t[other], SIGUSR1);
      clock_gettime(CLOCK_REALTIME, &soon);
      soon.tv_nsec += 2000000;
      if (soon.tv_nsec >= 1000000000) {
        soon.tv_nsec -= 1000000000;
        soon.tv_sec++;
      }
    } while (pthread_timedjoin_np(t[k], NULL, &soon));
  }
  for (int i = FDS - 1; i >= 2; i--) {
    if (runs[i])
      munmap(runs[i], 2 * PAGE);
    close(fds[i]);
  }
  close(m.vm);
  close(m.dev);
  if (m.companion > 0)
    waitpid(m.companion, NULL, __WALL);
  munmap(mem, GUEST_SIZE);
}

int main(int argc, char **argv) {
  int seconds = argc > 1 ? atoi(argv[1]) : 10, status;
  double end = now_ns() + seconds * 1e9;
  uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)now_ns();
  pid_t pids[PROCESSES];
  int lives = 0;

  setvbuf(stdout, NULL, _IONBF, 0);
  printf("seed %llu\n", (unsigned long long)seed);
  signal(SIGUSR1, on_tick);
  for (int i = 0; i < PROCESSES; i++) {
    pids[i] = fork();
    if (pids[i] == 0) {
      state = (seed + i * 7919) | 1;
      while (now_ns() < end) {
        life();
        if (rnd() % 16 == 0 && i == 2)
          raise(SIGKILL);  /* a monitor dies at any point of its life; main makes another */
        lives++;
      }
      _exit(0);
    }
  }
  while (now_ns() < end) {
    pid_t gone = waitpid(-1, &status, WNOHANG);

    for (int i = 0; gone > 0 && i < PROCESSES; i++) {
      if (pids[i] != gone)
        continue;
      CHECK(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0, "process %d: status %x",
            i, status);
      pids[i] = now_ns() < end ? fork() : -1;
      if (pids[i] == 0) {
        state = ((uint64_t)now_ns() + i) | 1;
        while (now_ns() < end) {
          life();
          if (rnd() % 16 == 0)
            raise(SIGKILL);
        }
        _exit(0);
      }
    }
    usleep(50000);
  }
  alarm(60);  /* nobody hangs */
  for (int i = 0; i < PROCESSES; i++)
    if (pids[i] > 0)
      CHECK(waitpid(pids[i], &status, 0) == pids[i], "process %d ends", i);
  return report();
}
