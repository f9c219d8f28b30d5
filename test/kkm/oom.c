// SPDX-License-Identifier: Apache-2.0
/*
 * Out of memory. A guest's pages are charged to the monitor's cgroup, so a guest
 * that takes too much ends its own machine: once with the monitor as the victim,
 * once with the companion. Wants a cgroup2 with the memory controller.
 */
#define _GNU_SOURCE
#include "machine.h"

#include <sys/stat.h>

#define ROOT "/sys/fs/cgroup"
#define GROUP ROOT "/kkm-oom"
#define LIMIT "33554432"
#define TOUCHED (96ul << 20)

GUEST(g_touch, "1: mov %rdi, (%rdi); add $4096, %rdi; dec %ecx; jnz 1b; syscall");

static bool put(const char *path, const char *value) {
  int fd = open(path, O_WRONLY);
  bool done = fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);

  if (fd >= 0)
    close(fd);
  return done;
}

static void put_score(pid_t pid, const char *value) {
  char path[64];

  snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", pid);
  CHECK(put(path, value), "%s = %s: %s", path, value, strerror(errno));
}

static long kills(void) {
  FILE *f = fopen(GROUP "/memory.events", "r");
  char word[32];
  long n, found = -1;

  while (f && fscanf(f, "%31s %ld", word, &n) == 2)
    if (strcmp(word, "oom_kill") == 0)
      found = n;
  if (f)
    fclose(f);
  return found;
}

/* In a child inside the group: a guest touches three times what the group may have. */
static int monitor(bool companion_first) {
  struct machine m;
  struct vcpu v;
  int r;

  if (!put(GROUP "/cgroup.procs", "0"))
    return 2;
  machine_open(&m);
  m.size = TOUCHED + GUEST_SIZE;
  m.mem = mmap(NULL, m.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (m.mem == MAP_FAILED || machine_slot(&m, 0, 0, GUEST_BASE, m.size, m.mem))
    return 3;
  m.companion = machine_birth(m.vm);
  vcpu_make(&v, &m, 0);
  if (companion_first) {
    put_score(getpid(), "-1000");
    put_score(m.companion, "1000");
  }
  vcpu_code(&v, GUEST_BASE, g_touch, g_touch_end);
  vcpu_start(&v, GUEST_BASE);
  v.regs.rdi = GUEST_BASE + GUEST_SIZE;
  v.regs.rcx = TOUCHED / PAGE;
  vcpu_set(&v);
  r = vcpu_run(&v);
  madvise(m.mem, m.size, MADV_DONTNEED); /* the group is full: what follows may need a page of its own */
  printf("the guest ended with %d, reason %d\n", r, v.run->exit_reason);
  return r == -EIO && v.run->exit_reason == KVM_EXIT_SHUTDOWN ? 0 : 4;
}

static void test(bool companion_first) {
  const char *victim = companion_first ? "companion" : "monitor";
  long before = kills();
  int status;
  pid_t pid = fork();

  if (pid == 0)
    _exit(monitor(companion_first));
  waitpid(pid, &status, 0);
  if (companion_first)
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "monitor outlives its companion: status %x", status);
  else
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "monitor is killed: status %x", status);
  CHECK(all_gone(), "out of memory, %s first: all gone", victim);
  CHECK(kills() > before, "it was the memory controller: %ld kills, before %ld", kills(), before);
}

int main(void) {
  setvbuf(stdout, NULL, _IONBF, 0);
  put(ROOT "/cgroup.subtree_control", "+memory");
  if (mkdir(GROUP, 0755) && errno != EEXIST)
    die(GROUP);
  if (!put(GROUP "/memory.max", LIMIT))
    die("memory.max: no memory controller");
  test(false);
  test(true);
  CHECK(rmdir(GROUP) == 0, "nothing is left in the group: %s", strerror(errno));
  return report();
}
