// SPDX-License-Identifier: Apache-2.0
// What a program finds when it starts: the auxiliary vector, the stack, clocks, limits and identity. The vdso is vdso.c's matter.
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <sched.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/utsname.h>
#include <fcntl.h>

#include "report.h"

extern char** environ;

static void vector(char** envp) {
  while (*envp) envp++;
  const ElfW(auxv_t)* entry = (void*)(envp + 1);
  printf("types:");
  int entries = 0;
  unsigned long present[64] = {0};
  for (; entry[entries].a_type != AT_NULL; entries++) {
    if (entry[entries].a_type < 64) present[entry[entries].a_type] = entry[entries].a_un.a_val;
  }
  static const unsigned long kExpected[] = {AT_HWCAP, AT_PAGESZ, AT_CLKTCK, AT_PHDR,   AT_PHENT,  AT_PHNUM,    AT_FLAGS,  AT_ENTRY,
                                            AT_UID,          AT_EUID,  AT_GID,    AT_EGID,   AT_SECURE, AT_RANDOM, AT_PLATFORM, AT_EXECFN};
  for (size_t i = 0; i < sizeof kExpected / sizeof kExpected[0]; i++) {
    int found = 0;
    for (int j = 0; j < entries; j++) found += entry[j].a_type == kExpected[i];
    printf(" %lu:%d", kExpected[i], found);
  }
  printf("\n");
  show("values", "pagesz %lu clktck %lu phent %lu flags %lu secure %lu", present[AT_PAGESZ], present[AT_CLKTCK], present[AT_PHENT], present[AT_FLAGS], present[AT_SECURE]);
  show("ids are the process's", "%d", present[AT_UID] == getuid() && present[AT_EUID] == geteuid() && present[AT_GID] == getgid() && present[AT_EGID] == getegid());
  show("platform", "%s", (char*)present[AT_PLATFORM]);
  show("hwcap", "%lx", present[AT_HWCAP]);
  check((present[AT_RANDOM] & 0xf) <= 0xf && present[AT_RANDOM] != 0, "random bytes are there");
  check(strcmp((char*)present[AT_EXECFN], program_invocation_name) == 0, "execfn is what was executed");
  const ElfW(Phdr)* headers = (void*)present[AT_PHDR];
  int loads = 0;
  for (unsigned long i = 0; i < present[AT_PHNUM]; i++) loads += headers[i].p_type == PT_LOAD;
  check(loads >= 2, "phdr points at program headers");
  // The kernel's copy says the same.
  ElfW(auxv_t) copy[64];
  const int fd = open("/proc/self/auxv", O_RDONLY);
  const long n = read(fd, copy, sizeof copy);
  close(fd);
  check(n >= (long)(entries * (int)sizeof copy[0]) && memcmp(copy, entry, (size_t)entries * sizeof copy[0]) == 0, "/proc/self/auxv is the same");
}

static void stack(char** argv) {
  check((uintptr_t)argv % 8 == 0 && ((uintptr_t)argv - 8) % 16 == 0, "argc sits on a multiple of 16");
  check((char*)argv < argv[0], "strings are above the pointers");
  uint8_t random[16];
  memcpy(random, (void*)getauxval(AT_RANDOM), 16);
  int distinct = 0;
  for (int i = 1; i < 16; i++) distinct += random[i] != random[0];
  check(distinct > 4, "random bytes are random");
}

static void clocks(void) {
  struct timeval day;
  gettimeofday(&day, NULL);
  check(labs((long)(time(NULL) - day.tv_sec)) <= 1, "time and gettimeofday agree");
  const unsigned long start = __builtin_ia32_rdtsc();
  sleep_ms(5);
  check(__builtin_ia32_rdtsc() > start, "the time-stamp counter advances");
  unsigned cpu, node;
  check(getcpu(&cpu, &node) == 0 && cpu < (unsigned)get_nprocs_conf(), "getcpu names a processor");
}

static void identity(void) {
  struct utsname name;
  uname(&name);
  show("system", "%s %s", name.sysname, name.machine);
  show("ids", "%d %d %d %d", getuid(), geteuid(), getgid(), getegid());
  show("dumpable", "%d", prctl(PR_GET_DUMPABLE) == 0 || prctl(PR_GET_DUMPABLE) == 1);
  struct rlimit limit;
  getrlimit(RLIMIT_STACK, &limit);
  show("stack limit", "%lu", (unsigned long)limit.rlim_cur);
  cpu_set_t cpus;
  check(sched_getaffinity(0, sizeof cpus, &cpus) == 0 && CPU_COUNT(&cpus) >= 1, "there is a processor to run on");
  char comm[16] = "";
  prctl(PR_GET_NAME, comm);
  show("name", "%s", comm);
}

int main(int argc, char** argv) {
  (void)argc;
  vector(environ);
  stack(argv);
  clocks();
  identity();
  return finish();
}
