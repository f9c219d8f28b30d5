// SPDX-License-Identifier: Apache-2.0
/* What the guest sees of the monitor's memory, while the monitor changes it. */
#define _GNU_SOURCE
#include "machine.h"

#include <sys/syscall.h>

#define DATA 0x400000ul            /* inside the slot of machine_make() */
#define FAR 0x40000000ul           /* outside it */
#define AT(m, gpa) ((m)->mem + ((gpa) - GUEST_BASE))

GUEST(g_read, "mov (%rdi), %rax; syscall");
GUEST(g_write, "mov %rsi, (%rdi); mov $1, %eax; syscall");
GUEST(g_exec, "jmp *%rdi");
GUEST(g_return7, "mov $7, %eax; syscall");
GUEST(g_touch, "1: mov %rdi, (%rdi); add $4096, %rdi; dec %ecx; jnz 1b; syscall");
GUEST(g_count, "1: lock incq (%rdi); jmp 1b");
GUEST(g_poll, "1: mov (%rdi), %rax; cmp %rsi, %rax; jne 1b; syscall");
GUEST(g_mirror, "1: mov (%rdi), %rax; mov %rax, (%rsi); lock incq 8(%rsi); jmp 1b");

static struct machine machine;
static struct vcpu cpu;

static void run(const char *code, const char *end, uint64_t rdi, uint64_t rsi) {
  vcpu_code(&cpu, GUEST_BASE, code, end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rdi = rdi;
  cpu.regs.rsi = rsi;
  vcpu_set(&cpu);
  vcpu_run(&cpu);
}
#define RUN(name, rdi, rsi) run(name, name##_end, rdi, rsi)

static bool read_is(uint64_t gva, uint64_t value) {
  RUN(g_read, gva, 0);
  return is_syscall(&cpu, value);
}

static bool read_faults(uint64_t gva, uint32_t flags) {
  RUN(g_read, gva, 0);
  return is_exception(&cpu, 14) && vcpu_exception(&cpu)->cr2 == gva && vcpu_exception(&cpu)->flags == flags;
}

static bool write_works(uint64_t gva, uint64_t value) {
  RUN(g_write, gva, value);
  return is_syscall(&cpu, 1);
}

static bool write_faults(uint64_t gva, uint32_t flags) {
  RUN(g_write, gva, 1);
  return is_exception(&cpu, 14) && vcpu_exception(&cpu)->cr2 == gva && vcpu_exception(&cpu)->flags == flags &&
         (vcpu_exception(&cpu)->error_code & 2);
}

static uint64_t *word(uint64_t gpa) { return (uint64_t *)AT(&machine, gpa); }

static void test_demand(void) {
  bool same = true;

  vcpu_code(&cpu, GUEST_BASE, g_touch, g_touch_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rdi = 0x600000;
  cpu.regs.rcx = 2048;
  vcpu_set(&cpu);
  vcpu_run(&cpu);
  for (uint64_t a = 0x600000; a < 0x600000 + 2048 * PAGE; a += PAGE)
    same = same && *word(a) == a;
  CHECK(cpu.run->exit_reason == KKM_EXIT_SYSCALL && same, "2048 pages written, all seen by the monitor");
}

static void test_remap(void) {
  *word(DATA) = 0x1111;
  CHECK(read_is(DATA, 0x1111), "first content");
  *word(DATA) = 0x1112;
  CHECK(read_is(DATA, 0x1112), "same page, new content");
  mmap(AT(&machine, DATA), PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  *word(DATA) = 0x2222;
  CHECK(read_is(DATA, 0x2222), "page replaced under the guest");
  madvise(AT(&machine, DATA), PAGE, MADV_DONTNEED);
  CHECK(read_is(DATA, 0), "page dropped under the guest");
  CHECK(write_works(DATA, 0x3333) && *word(DATA) == 0x3333, "written after reading the zero page");
  munmap(AT(&machine, DATA), PAGE);
  CHECK(read_faults(DATA, KKM_FAULT_NO_SLOT), "page taken away: flags %x", vcpu_exception(&cpu)->flags);
  mmap(AT(&machine, DATA), PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  CHECK(read_is(DATA, 0), "and given back");
}

static void test_protect(void) {
  *word(DATA) = 5;
  CHECK(write_works(DATA, 6), "writable");
  mprotect(AT(&machine, DATA), PAGE, PROT_READ);
  CHECK(read_is(DATA, 6), "read-only reads");
  CHECK(write_faults(DATA, KKM_FAULT_PROT), "read-only does not write: flags %x", vcpu_exception(&cpu)->flags);
  CHECK(*word(DATA) == 6, "nothing was written");
  mprotect(AT(&machine, DATA), PAGE, PROT_NONE);
  CHECK(read_faults(DATA, KKM_FAULT_PROT), "no access reads not");
  CHECK(write_faults(DATA, KKM_FAULT_PROT), "nor writes");
  mprotect(AT(&machine, DATA), PAGE, PROT_READ | PROT_WRITE);
  CHECK(write_works(DATA, 7) && *word(DATA) == 7, "writable again");
}

static void test_readonly_slot(void) {
  char *at = mmap(NULL, 4 * PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  *(uint64_t *)at = 0x77;
  CHECK(machine_slot(&machine, 3, KVM_MEM_READONLY, FAR, 4 * PAGE, at) == 0, "read-only slot");
  CHECK(read_is(FAR, 0x77), "reads");
  CHECK(write_faults(FAR, KKM_FAULT_PROT), "does not write");
  CHECK(write_faults(FAR + PAGE, KKM_FAULT_PROT), "nor a page never read");
  CHECK(machine_slot(&machine, 3, 0, FAR, 0, NULL) == 0, "slot removed");
  CHECK(read_faults(FAR, KKM_FAULT_NO_SLOT), "and out of reach");
  munmap(at, 4 * PAGE);
}

static void test_slots(void) {
  char *at = mmap(NULL, 64 * PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  for (int i = 0; i < 64; i++)
    *(uint64_t *)(at + i * PAGE) = 100 + i;
  /* Backwards in the monitor, forwards in the guest, from the last id to the first. */
  for (int i = 0; i < 64; i++)
    CHECK(machine_slot(&machine, 127 - i, 0, FAR + i * 2 * PAGE, PAGE, at + (63 - i) * PAGE) == 0, "slot %d", i);
  for (int i = 0; i < 64; i += 7)
    CHECK(read_is(FAR + i * 2 * PAGE, 100 + 63 - i) && read_faults(FAR + i * 2 * PAGE + PAGE, KKM_FAULT_NO_SLOT),
          "slot %d and the hole behind it", i);
  CHECK(machine_slot(&machine, 1, 0, FAR + PAGE, 2 * PAGE, at) == -EEXIST, "overlap with the next");
  CHECK(machine_slot(&machine, 1, 0, FAR - PAGE, 2 * PAGE, at) == -EEXIST, "overlap with the first");
  CHECK(machine_slot(&machine, 127, 0, FAR - 8 * PAGE, PAGE, at + 63 * PAGE) == 0, "a slot moves");
  CHECK(read_faults(FAR, KKM_FAULT_NO_SLOT) && read_is(FAR - 8 * PAGE, 163), "and shows there only");
  CHECK(machine_slot(&machine, 127, 0, FAR, PAGE, at) == -EINVAL, "other memory under a used id");
  CHECK(machine_slot(&machine, 127, 0, FAR, 2 * PAGE, at + 63 * PAGE) == -EINVAL, "another size");
  for (int i = 0; i < 64; i++)
    machine_slot(&machine, 127 - i, 0, 0, 0, NULL);
  munmap(at, 64 * PAGE);
}

static int window(uint64_t gva, uint64_t gpa, uint64_t size, uint32_t prot) {
  struct kkm_window w = {.gva = gva, .gpa = gpa, .size = size, .prot = prot};

  return ioctl(machine.vm, KKM_MAP_WINDOW, &w) ? -errno : 0;
}

static void test_windows(void) {
  const uint32_t rwx = KKM_PROT_READ | KKM_PROT_WRITE | KKM_PROT_EXEC;

  *word(DATA) = 0xabc;
  CHECK(window(GUEST_BASE, GUEST_BASE, 1 << 20, rwx) == 0, "first window");
  CHECK(read_faults(DATA, KKM_FAULT_NO_SLOT), "nothing outside it any more");
  CHECK(window(FAR, DATA, PAGE, KKM_PROT_READ) == 0, "the same memory elsewhere");
  CHECK(read_is(FAR, 0xabc) && write_faults(FAR, KKM_FAULT_PROT), "read-only there");
  CHECK(window(FAR + PAGE, DATA, PAGE, KKM_PROT_READ | KKM_PROT_WRITE) == 0, "and once more");
  CHECK(write_works(FAR + PAGE, 0xdef) && read_is(FAR, 0xdef), "two views of one page");
  memcpy(AT(&machine, DATA), g_return7, g_return7_end - g_return7);
  RUN(g_exec, FAR, 0);
  CHECK(is_exception(&cpu, 14) && vcpu_exception(&cpu)->cr2 == FAR && (vcpu_exception(&cpu)->error_code & 16) &&
            vcpu_exception(&cpu)->flags == KKM_FAULT_PROT,
        "not executable: reason %x flags %x", cpu.run->exit_reason, vcpu_exception(&cpu)->flags);
  CHECK(window(FAR, 0, 0, 0) == 0 && window(FAR, DATA, PAGE, rwx) == 0, "replaced");
  RUN(g_exec, FAR, 0);
  CHECK(is_syscall(&cpu, 7), "executable now: reason %x", cpu.run->exit_reason);
  /* HOST_EXEC: the monitor's mapping decides, and mprotect is seen at once. */
  window(FAR, 0, 0, 0);
  CHECK(window(FAR, DATA, PAGE, rwx | KKM_PROT_HOST_EXEC) == 0, "host decides");
  RUN(g_exec, FAR, 0);
  CHECK(is_exception(&cpu, 14), "not executable in the monitor, not here");
  mprotect(AT(&machine, DATA), PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
  RUN(g_exec, FAR, 0);
  CHECK(is_syscall(&cpu, 7), "executable in both");
  mprotect(AT(&machine, DATA), PAGE, PROT_READ | PROT_WRITE);
  RUN(g_exec, FAR, 0);
  CHECK(is_exception(&cpu, 14), "and in neither");
  /* Invalidation reaches every view. */
  madvise(AT(&machine, DATA), PAGE, MADV_DONTNEED);
  CHECK(read_is(FAR, 0) && read_is(FAR + PAGE, 0), "both views dropped");
  CHECK(window(FAR + PAGE - 4096 * 2, 0, 4 * PAGE, 1) == -EEXIST, "overlap refused");
  CHECK(window(FAR + 64 * PAGE, 0, 0, 0) == -ENOENT, "no such window");
  CHECK(window(FAR, 0, 0, 0) == 0 && window(FAR + PAGE, 0, 0, 0) == 0 && window(GUEST_BASE, 0, 0, 0) == 0,
        "all removed");
  CHECK(read_is(DATA, 0), "identity again");
}

static void test_fork(void) {
  int status;
  pid_t pid;

  *word(DATA) = 1;
  CHECK(write_works(DATA, 2), "mapped writable");
  pid = fork();
  if (pid == 0) {
    struct kvm_regs r;

    /* The child has a copy, and no right to the machine. */
    bool copy = *word(DATA) == 2, refused = ioctl(cpu.fd, KVM_GET_REGS, &r) < 0 && errno == EIO;

    usleep(200000);
    _exit(copy && refused && *word(DATA) == 2 ? 0 : 1);
  }
  CHECK(write_works(DATA, 3) && *word(DATA) == 3, "guest writes after fork are the parent's");
  waitpid(pid, &status, 0);
  CHECK(status == 0, "and not the child's");
}

static void test_file(void) {
  int fd = memfd_create("slot", 0);
  uint64_t v = 0;
  char *at;

  CHECK(ftruncate(fd, 4 * PAGE) == 0, "memfd");
  at = mmap(NULL, 4 * PAGE, 3, MAP_SHARED, fd, 0);
  CHECK(machine_slot(&machine, 5, 0, FAR, 4 * PAGE, at) == 0, "file slot");
  CHECK(write_works(FAR, 0x51) && pread(fd, &v, 8, 0) == 8 && v == 0x51, "guest write reaches the file");
  v = 0x52;
  CHECK(pwrite(fd, &v, 8, 0) == 8 && read_is(FAR, 0x52), "file write reaches the guest");
  CHECK(write_works(FAR + 3 * PAGE, 9), "last page");
  CHECK(ftruncate(fd, PAGE) == 0 && read_faults(FAR + 3 * PAGE, KKM_FAULT_NO_PAGE), "truncated: flags %x",
        vcpu_exception(&cpu)->flags);
  machine_slot(&machine, 5, 0, 0, 0, NULL);
  munmap(at, 4 * PAGE);
  close(fd);
}

static void test_huge(void) {
  char *raw = mmap(NULL, 8 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *at = (char *)(((uintptr_t)raw + (2 << 20) - 1) & ~((2ul << 20) - 1));
  bool same = true;

  madvise(at, 4 << 20, MADV_HUGEPAGE);
  CHECK(machine_slot(&machine, 6, 0, FAR, 4 << 20, at) == 0, "huge slot");
  vcpu_code(&cpu, GUEST_BASE, g_touch, g_touch_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rdi = FAR;
  cpu.regs.rcx = 1024;
  vcpu_set(&cpu);
  vcpu_run(&cpu);
  for (uint64_t i = 0; i < 1024; i++)
    same = same && *(uint64_t *)(at + i * PAGE) == FAR + i * PAGE;
  CHECK(cpu.run->exit_reason == KKM_EXIT_SYSCALL && same, "4 MiB of huge pages");
  munmap(at + PAGE, PAGE);  /* splits the huge page */
  CHECK(read_is(FAR, FAR) && read_faults(FAR + PAGE, KKM_FAULT_NO_SLOT) && read_is(FAR + 2 * PAGE, FAR + 2 * PAGE),
        "split");
  machine_slot(&machine, 6, 0, 0, 0, NULL);
  munmap(raw, 8 << 20);
}

static volatile bool stop;

/* Keeps the page moving while the guest counts on it. */
static void *mover(void *arg) {
  (void)arg;
  while (!stop) {
    char *spare = mmap(NULL, PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    /* Rights come and go; the content must not. */
    mprotect(AT(&machine, DATA), PAGE, PROT_READ);
    mprotect(AT(&machine, DATA), PAGE, PROT_READ | PROT_WRITE);
    munmap(spare, PAGE);
  }
  return NULL;
}

static void test_race(void) {
  uint64_t last = 0, faults = 0;
  struct kvm_regs spot;
  pthread_t t;

  stop = false;
  *word(DATA) = 0;
  vcpu_code(&cpu, GUEST_BASE, g_count, g_count_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rdi = DATA;
  vcpu_set(&cpu);
  spot = cpu.regs;
  pthread_create(&t, NULL, mover, NULL);
  for (int i = 0; i < 300; i++) {
    int r = vcpu_run(&cpu);

    if (r == 0 && is_exception(&cpu, 14) && vcpu_exception(&cpu)->cr2 == DATA) {
      faults++;
      CHECK(*word(DATA) >= last, "the count goes back: %lu after %lu", *word(DATA), last);
      last = *word(DATA);
      cpu.regs.rip = spot.rip;
      vcpu_set(&cpu);
      continue;
    }
    CHECK(false, "race: r %d reason %x", r, cpu.run->exit_reason);
    break;
  }
  stop = true;
  pthread_join(t, NULL);
  CHECK(faults == 300 && *word(DATA) > 0, "300 faults, count %lu", *word(DATA));
}

static void no_op(int sig) { (void)sig; }

static void *run_until_told(void *arg) {
  while (!stop)
    vcpu_run(arg);
  return NULL;
}

/*
 * A fault that begins while the monitor's memory is being taken away, and ends after, must not leave the old page
 * mapped. The page is the last of many: so the guest, which asks for it again and again, often asks in that moment.
 */
static void test_withdrawn_while_faulting(void) {
  enum { kPages = 512, kRounds = 200 };
  const uint64_t from = 0x800000, page = from + (kPages - 1) * PAGE, mirror = DATA;
  volatile uint64_t *seen = word(mirror);
  struct sigaction action = {.sa_handler = no_op};
  int stale = 0, stuck = 0;
  pthread_t t;

  stop = false;
  sigaction(SIGUSR1, &action, NULL);
  madvise(AT(&machine, from), kPages * PAGE, MADV_NOHUGEPAGE);
  seen[0] = seen[1] = 0;
  vcpu_code(&cpu, GUEST_BASE, g_mirror, g_mirror_end);
  vcpu_start(&cpu, GUEST_BASE);
  cpu.regs.rdi = page;
  cpu.regs.rsi = mirror;
  vcpu_set(&cpu);
  pthread_create(&t, NULL, run_until_told, &cpu);
  for (uint64_t i = 1; i <= kRounds; i++) {
    for (uint64_t a = from; a <= page; a += PAGE)
      *word(a) = i;
    madvise(AT(&machine, from), kPages * PAGE, MADV_DONTNEED);
    *(volatile uint64_t *)word(page) = ~i;
    uint64_t since = seen[1];
    int waits = 0;
    while (seen[1] < since + 3 && waits++ < 30000)
      usleep(100);
    stuck += seen[1] < since + 3;
    stale += seen[0] != ~i;
  }
  stop = true;
  while (pthread_tryjoin_np(t, NULL)) {
    pthread_kill(t, SIGUSR1);
    usleep(1000);
  }
  CHECK(stuck == 0, "the guest stood still %d times", stuck);
  CHECK(stale == 0, "the guest used a page that was gone %d times of %d", stale, kRounds);
}

struct stopper {
  uint64_t gpa, value;
};

static void *write_later(void *arg) {
  struct stopper *s = arg;

  usleep(100000);
  mmap(AT(&machine, s->gpa), PAGE, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  usleep(50000);
  *word(s->gpa) = s->value;
  return NULL;
}

/* A guest that never leaves must see the new page. */
static void test_running(void) {
  struct stopper s = {.gpa = DATA + PAGE, .value = 0x600d};
  pthread_t t;

  *word(DATA + PAGE) = 1;
  pthread_create(&t, NULL, write_later, &s);
  RUN(g_poll, DATA + PAGE, 0x600d);
  CHECK(is_syscall(&cpu, 0x600d), "remap seen by a running guest: reason %x", cpu.run->exit_reason);
  pthread_join(t, NULL);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  machine_make(&machine);
  vcpu_make(&cpu, &machine, 0);
  test_demand();
  test_remap();
  test_protect();
  test_readonly_slot();
  test_slots();
  test_windows();
  test_fork();
  test_file();
  test_huge();
  test_race();
  test_running();
  test_withdrawn_while_faulting();
  vcpu_end(&cpu);
  machine_end(&machine);
  return report();
}
