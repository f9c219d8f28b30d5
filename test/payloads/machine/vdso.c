// SPDX-License-Identifier: Apache-2.0
// The vdso: found by the auxiliary vector, its clocks agree with the kernel's and do not step backwards.
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "report.h"

// Symbols of the vdso, found as a C library does.
static void* vdso_symbol(const char* name) {
  const char* base = (char*)getauxval(AT_SYSINFO_EHDR);
  if (!base || memcmp(base, ELFMAG, SELFMAG) != 0) return NULL;
  const ElfW(Ehdr)* header = (void*)base;
  const ElfW(Phdr)* segment = (void*)(base + header->e_phoff);
  const ElfW(Dyn)* dynamic = NULL;
  uintptr_t bias = 0;
  for (int i = 0; i < header->e_phnum; i++) {
    if (segment[i].p_type == PT_DYNAMIC) dynamic = (void*)(base + segment[i].p_offset);
    if (segment[i].p_type == PT_LOAD) bias = (uintptr_t)base + segment[i].p_offset - segment[i].p_vaddr;
  }
  const ElfW(Sym)* symbols = NULL;
  const char* strings = NULL;
  const uint32_t *hash = NULL, *gnu = NULL;
  for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
    if (dynamic->d_tag == DT_SYMTAB) symbols = (void*)(bias + dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_STRTAB) strings = (void*)(bias + dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_HASH) hash = (void*)(bias + dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_GNU_HASH) gnu = (void*)(bias + dynamic->d_un.d_ptr);
  }
  if (!symbols || !strings) return NULL;
  // Without the old hash the number of symbols is unknown: the vdso has a dozen, all in front of the string table.
  const uint32_t count = hash ? hash[1] : (gnu ? (uint32_t)(((uintptr_t)strings - (uintptr_t)symbols) / sizeof *symbols) : 0);
  for (uint32_t i = 0; i < count; i++) {
    if (symbols[i].st_shndx != SHN_UNDEF && strcmp(strings + symbols[i].st_name, name) == 0) return (void*)(bias + symbols[i].st_value);
  }
  return NULL;
}

static long to_us(struct timespec t) { return t.tv_sec * 1000000 + t.tv_nsec / 1000; }

static void clocks(void) {
  int (*fast)(clockid_t, struct timespec*) = vdso_symbol("__vdso_clock_gettime");
  check(fast != NULL, "the vdso has __vdso_clock_gettime");
  if (!fast) return;
  static const struct {
    clockid_t id;
    const char* name;
  } kClocks[] = {{CLOCK_REALTIME, "realtime agrees with the kernel"},
                 {CLOCK_MONOTONIC, "monotonic agrees with the kernel"},
                 {CLOCK_BOOTTIME, "boottime agrees with the kernel"},
                 {CLOCK_MONOTONIC_COARSE, "coarse agrees with the kernel"},
                 {CLOCK_MONOTONIC_RAW, "raw agrees with the kernel"}};
  for (size_t i = 0; i < sizeof kClocks / sizeof kClocks[0]; i++) {
    struct timespec before, inside, after;
    syscall(SYS_clock_gettime, kClocks[i].id, &before);
    fast(kClocks[i].id, &inside);
    syscall(SYS_clock_gettime, kClocks[i].id, &after);
    check(to_us(before) <= to_us(inside) + 1 && to_us(inside) <= to_us(after) + 1, kClocks[i].name);
  }
  struct timespec last = {0, 0};
  int backwards = 0;
  for (int i = 0; i < 200000; i++) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    backwards += now.tv_sec < last.tv_sec || (now.tv_sec == last.tv_sec && now.tv_nsec < last.tv_nsec);
    last = now;
  }
  show("steps backwards in 200000 readings", "%d", backwards);
}

int main(void) {
  clocks();
  return finish();
}
