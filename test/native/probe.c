// SPDX-License-Identifier: Apache-2.0
// Says what its loader gave it; loader_run.cc compares that with what Linux gives the same program.
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#define PAGES 4096 * 5

char zeros[PAGES + 123];
char filled[PAGES + 77] = {1, 2, 3};
char small_zero;
const char constant[] = "constant";
__thread int thread_zero;
__thread int thread_value = 42;
static int constructed;

__attribute__((constructor)) static void construct(void) { constructed = 7; }

static int all_zero(void) {
  for (size_t i = 0; i < sizeof(zeros); i++)
    if (zeros[i] != 0) return 0;
  return small_zero == 0 && thread_zero == 0;
}

static int is_address(uint64_t type) {
  return type == AT_SYSINFO_EHDR || type == AT_PHDR || type == AT_BASE || type == AT_ENTRY || type == AT_RANDOM;
}

static int contiguous(char **strings, const char *behind) {
  for (; *strings != NULL; strings++) {
    const char *next = strings[1] != NULL ? strings[1] : behind;
    if (next != NULL && next != *strings + strlen(*strings) + 1) return 0;
  }
  return 1;
}

int main(int argc, char **argv, char **envp) {
  char **word = envp;
  while (*word != NULL) word++;
  printf("argc %d, argc word %ld\n", argc, ((long *)argv)[-1]);
  for (int i = 0; i <= argc; i++) printf("argv[%d] %s\n", i, argv[i] != NULL ? argv[i] : "NULL");
  for (char **e = envp; *e != NULL; e++) printf("env %s\n", *e);
  for (Elf64_auxv_t *a = (Elf64_auxv_t *)(word + 1);; a++) {
    uint64_t value = a->a_un.a_val;
    if (a->a_type == AT_HWCAP2) value &= 2;                  // km offers FSGSBASE only
    if (a->a_type == 27 || a->a_type == 28) continue;        // AT_RSEQ_*: not offered
    if (a->a_type == AT_PLATFORM || a->a_type == AT_EXECFN) printf("auxv %lu %s\n", a->a_type, (char *)value);
    else if (is_address(a->a_type)) printf("auxv %lu %s\n", a->a_type, value != 0 ? "set" : "0");
    else printf("auxv %lu %lu\n", a->a_type, value);
    if (a->a_type == AT_NULL) break;
  }
  const char *execfn = (const char *)getauxval(AT_EXECFN);
  printf("rsp aligned %d\n", ((uintptr_t)argv - 8) % 16 == 0);
  printf("contiguous %d %d\n", contiguous(argv, envp[0]), contiguous(envp, execfn));
  printf("end %d\n", ((uintptr_t)execfn + strlen(execfn) + 1 + 8) % 4096 == 0);
  const uint64_t *random = (const uint64_t *)getauxval(AT_RANDOM);
  printf("random %d\n", random[0] != random[1] && random[0] != 0);
  const Elf64_Phdr *phdr = (const Elf64_Phdr *)getauxval(AT_PHDR);
  for (uint64_t i = 0; i < getauxval(AT_PHNUM); i++) printf("phdr %u %lx\n", phdr[i].p_type, phdr[i].p_memsz);
  printf("zero %d filled %d %d %d %s tls %d ctor %d\n", all_zero(), filled[2], filled[3], filled[PAGES + 76], constant,
         thread_value, constructed);
  memset(zeros, 1, sizeof(zeros));
  memset(filled, 1, sizeof(filled));
  char *memory = malloc(1 << 20);
  memset(memory, 1, 1 << 20);
  free(memory);
  fflush(stdout);
  return 3;
}
