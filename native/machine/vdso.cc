// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "native/machine/start.h"

namespace km {
namespace {

constexpr uint64_t kVdsoArea = 0x8000020000;  // behind the private area's fixed pages

struct Span {
  uint64_t start = 0, vdso = 0, end = 0;
};

/// The kernel's data pages lie directly below the vdso: [vvar], and since 6.13 [vvar_vclock].
Span find_vdso() {
  Span span;
  FILE* maps = fopen("/proc/self/maps", "re");
  if (maps == nullptr) return span;
  char line[512];
  while (fgets(line, sizeof line, maps) != nullptr) {
    bool data = strstr(line, "[vvar") != nullptr;
    bool code = strstr(line, "[vdso]") != nullptr;
    if (!data && !code) continue;
    char* dash = nullptr;
    uint64_t start = strtoull(line, &dash, 16);
    uint64_t end = strtoull(dash + 1, nullptr, 16);
    if (span.end != start) span.start = start;
    span.end = end;
    if (code) span.vdso = start;
  }
  fclose(maps);
  return span.vdso != 0 ? span : Span{};
}

const Span& vdso_span() {
  static const Span span = find_vdso();
  return span;
}

}  // namespace

int map_vdso(Process& process) {
  const Span& span = vdso_span();
  if (span.vdso == 0) return 0;
  uint64_t data = span.vdso - span.start;
  int rc = process.machine->map_private(kVdsoArea, reinterpret_cast<void*>(span.start), span.end - span.start,
                                        PROT_READ | PROT_EXEC);
  if (rc == -EOPNOTSUPP) return 0;  // not on this device (KKM): the payload's libc makes system calls instead
  if (rc != 0) return rc;
  process.vdso_base = kVdsoArea + data;
  return 0;
}

}  // namespace km
