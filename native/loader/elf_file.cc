// SPDX-License-Identifier: Apache-2.0
#include "native/loader/elf_file.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <sys/mman.h>

#include <algorithm>
#include <cinttypes>
#include <cstring>

namespace km {
namespace {

static_assert(sizeof(Elf64_Ehdr) == kElfHeaderSize);
static_assert(sizeof(Elf64_Phdr) == kProgramHeaderSize);

constexpr uint64_t kMaxTableBytes = 65536;        // Linux's own limit
constexpr uint64_t kUserAddressEnd = 1ull << 47;  // no x86-64 program can want more
constexpr uint64_t kMaxFileOffset = INT64_MAX;

const char* machine_name(uint16_t machine) {
  switch (machine) {
    case EM_386:
      return "32-bit x86";
    case EM_ARM:
      return "32-bit Arm";
    case EM_AARCH64:
      return "64-bit Arm";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC64:
      return "POWER";
    case EM_S390:
      return "z/Architecture";
    case EM_MIPS:
      return "MIPS";
    default:
      return nullptr;
  }
}

bool check_identity(const Elf64_Ehdr& ehdr, LoadError* error) {
  if (ehdr.e_ident[EI_CLASS] == ELFCLASS32) {
    return fail(error, ENOEXEC,
                "is a 32-bit program; km runs 64-bit x86-64 programs only (rebuild it with -m64)");
  }
  if (ehdr.e_ident[EI_CLASS] != ELFCLASS64) {
    return fail(error, ENOEXEC, "has unknown ELF class %u; the file is damaged", ehdr.e_ident[EI_CLASS]);
  }
  if (ehdr.e_ident[EI_DATA] != ELFDATA2LSB) {
    return fail(error, ENOEXEC, "is not little-endian; km runs x86-64 programs only");
  }
  if (ehdr.e_machine == EM_X86_64) return true;
  const char* name = machine_name(ehdr.e_machine);
  if (name != nullptr) return fail(error, ENOEXEC, "is built for %s; km runs x86-64 programs only", name);
  return fail(error, ENOEXEC, "is built for another machine (ELF number %u); km runs x86-64 programs only",
              ehdr.e_machine);
}

bool check_type(const Elf64_Ehdr& ehdr, LoadError* error) {
  switch (ehdr.e_type) {
    case ET_EXEC:
    case ET_DYN:
      return true;
    case ET_REL:
      return fail(error, ENOEXEC, "is an object file (.o); link it into a program first");
    case ET_CORE:
      return fail(error, ENOEXEC, "is a core dump or snapshot, not a program");
    default:
      return fail(error, ENOEXEC, "has unknown ELF type %u; it is not a program", ehdr.e_type);
  }
}

uint32_t prot_of(uint32_t flags) {
  uint32_t prot = PROT_NONE;
  if (flags & PF_R) prot |= PROT_READ;
  if (flags & PF_W) prot |= PROT_WRITE;
  if (flags & PF_X) prot |= PROT_EXEC;
  return prot;
}

bool check_segment(const Elf64_Phdr& phdr, unsigned index, uint64_t file_size, LoadError* error) {
  if (phdr.p_filesz > phdr.p_memsz) {
    return fail(error, ENOEXEC, "segment %u is larger in the file than in memory; the file is damaged",
                index);
  }
  if (phdr.p_vaddr > kUserAddressEnd || phdr.p_memsz > kUserAddressEnd - phdr.p_vaddr) {
    return fail(error, ENOEXEC,
                "segment %u (0x%" PRIx64 " bytes at 0x%" PRIx64
                ") leaves the address space; the file is damaged",
                index, phdr.p_memsz, phdr.p_vaddr);
  }
  if (phdr.p_filesz == 0) return true;
  if (phdr.p_offset > kMaxFileOffset || phdr.p_filesz > kMaxFileOffset - phdr.p_offset) {
    return fail(error, ENOEXEC, "segment %u has an impossible file offset; the file is damaged", index);
  }
  if (phdr.p_vaddr % kPageSize != phdr.p_offset % kPageSize) {
    return fail(error, ENOEXEC,
                "segment %u: address and file offset disagree modulo the page size; relink it", index);
  }
  // Bytes of the last page that the file lacks read as zero, as on Linux; a missing page would be a SIGBUS.
  if (page_up(phdr.p_offset + phdr.p_filesz) > page_up(file_size)) {
    return fail(error, ENOEXEC,
                "is truncated: segment %u ends at byte %" PRIu64 " of the file, which has %" PRIu64, index,
                phdr.p_offset + phdr.p_filesz, file_size);
  }
  return true;
}

bool take_interpreter(const Elf64_Phdr& phdr, ElfFile* file, LoadError* error) {
  if (file->interpreter_size != 0) return true;  // Linux takes the first
  if (phdr.p_filesz < 2 || phdr.p_filesz > PATH_MAX) {
    return fail(error, ENOEXEC, "the interpreter path in it is %s; the file is damaged",
                phdr.p_filesz < 2 ? "empty" : "too long");
  }
  if (phdr.p_offset > kMaxFileOffset - phdr.p_filesz) {
    return fail(error, EINVAL, "the interpreter path has an impossible file offset; the file is damaged");
  }
  file->interpreter_offset = phdr.p_offset;
  file->interpreter_size = phdr.p_filesz;
  return true;
}

void note_phdr_address(const Elf64_Phdr& phdr, ElfFile* file) {
  uint64_t phoff = file->header.phoff;
  if (phdr.p_offset > phoff || phoff - phdr.p_offset >= phdr.p_filesz) return;
  file->phdr_vaddr = phoff - phdr.p_offset + phdr.p_vaddr;
  file->has_phdr = true;
}

bool take_segment(const Elf64_Phdr& phdr, unsigned index, uint64_t file_size, ElfFile* file,
                  LoadError* error) {
  if (!check_segment(phdr, index, file_size, error)) return false;
  if (phdr.p_memsz == 0) return true;
  file->segments.push_back({phdr.p_vaddr, phdr.p_memsz, phdr.p_offset, phdr.p_filesz, prot_of(phdr.p_flags)});
  bool power_of_two = (phdr.p_align & (phdr.p_align - 1)) == 0;
  if (power_of_two && phdr.p_align > file->align) file->align = phdr.p_align;
  note_phdr_address(phdr, file);
  return true;
}

bool sort_segments(ElfFile* file, LoadError* error) {
  auto& segments = file->segments;
  if (segments.empty()) return fail(error, ENOEXEC, "has no loadable segment (PT_LOAD); it is not a program");
  std::stable_sort(segments.begin(), segments.end(),
                   [](const Segment& a, const Segment& b) { return a.vaddr < b.vaddr; });
  for (size_t i = 1; i < segments.size(); i++) {
    if (segments[i].vaddr - segments[i - 1].vaddr >= segments[i - 1].memsz) continue;
    return fail(error, ENOEXEC, "two segments overlap at 0x%" PRIx64 "; the file is damaged",
                segments[i].vaddr);
  }
  return true;
}

/// Appends what one segment needs, cut off at `limit`: the page where the next segment begins.
void plan_segment(const Segment& segment, uint64_t bias, uint64_t limit, LoadPlan* plan) {
  uint64_t vaddr = segment.vaddr + bias;
  uint64_t file_end = vaddr + segment.filesz;
  uint64_t bss_start = page_down(vaddr);
  if (segment.filesz > 0) {
    Mapping mapping;
    mapping.start = bss_start;
    mapping.end = std::min(page_up(file_end), limit);
    mapping.prot = segment.prot;
    mapping.from_file = true;
    mapping.offset = page_down(segment.offset);
    if (segment.memsz > segment.filesz && (segment.prot & PROT_WRITE)) {
      mapping.zero_start = std::min(file_end, mapping.end);
      mapping.zero_end = mapping.end;
    }
    if (mapping.start < mapping.end) plan->mappings.push_back(mapping);
    bss_start = page_up(file_end);
  }
  uint64_t bss_end = std::min(page_up(vaddr + segment.memsz), limit);
  if (bss_start >= bss_end) return;
  Mapping bss;
  bss.start = bss_start;
  bss.end = bss_end;
  bss.prot = PROT_READ | PROT_WRITE | (segment.prot & PROT_EXEC);
  plan->mappings.push_back(bss);
}

bool check_place(const ElfFile& file, uint64_t start, Window window, LoadError* error) {
  uint64_t size = file.high() - file.low();
  if (start >= window.start && start <= window.end && size <= window.end - start) return true;
  if (file.header.position_independent) {
    return fail(error, ENOMEM,
                "needs 0x%" PRIx64 " bytes of address space aligned to 0x%" PRIx64
                "; a payload has 0x%" PRIx64,
                size, file.align, window.end - window.start);
  }
  return fail(error, ENOMEM,
              "is linked at 0x%" PRIx64 "..0x%" PRIx64 ", outside 0x%" PRIx64 "..0x%" PRIx64
              " where payloads live; relink it as PIE or with -Wl,-Ttext-segment=0x%" PRIx64,
              start, start + size, window.start, window.end, window.start);
}

}  // namespace

bool parse_elf_header(std::span<const uint8_t> bytes, ElfHeader* header, LoadError* error) {
  if (bytes.size() < SELFMAG || memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) {
    return fail(error, ENOEXEC, "is neither an ELF program nor a script that starts with #!");
  }
  Elf64_Ehdr ehdr{};
  memcpy(&ehdr, bytes.data(), std::min(bytes.size(), sizeof(ehdr)));
  if (bytes.size() > EI_CLASS && ehdr.e_ident[EI_CLASS] == ELFCLASS32) return check_identity(ehdr, error);
  if (bytes.size() < sizeof(ehdr)) {
    return fail(error, ENOEXEC, "is truncated: it ends inside the ELF header (%zu of %zu bytes)",
                bytes.size(), sizeof(ehdr));
  }
  if (!check_identity(ehdr, error) || !check_type(ehdr, error)) return false;
  if (ehdr.e_phnum == 0) return fail(error, ENOEXEC, "has no program headers; link it into a program first");
  if (ehdr.e_phentsize != sizeof(Elf64_Phdr)) {
    return fail(error, ENOEXEC, "has program headers of %u bytes instead of %zu; the file is damaged",
                ehdr.e_phentsize, sizeof(Elf64_Phdr));
  }
  if (ehdr.e_phnum * sizeof(Elf64_Phdr) > kMaxTableBytes) {
    return fail(error, ENOEXEC, "has %u program headers, more than Linux accepts; the file is damaged",
                ehdr.e_phnum);
  }
  if (ehdr.e_phoff > kMaxFileOffset - kMaxTableBytes) {
    return fail(error, ENOEXEC, "has program headers at an impossible file offset; the file is damaged");
  }
  header->position_independent = ehdr.e_type == ET_DYN;
  header->entry = ehdr.e_entry;
  header->phoff = ehdr.e_phoff;
  header->phnum = ehdr.e_phnum;
  return true;
}

bool parse_program_headers(const ElfHeader& header, std::span<const uint8_t> table, uint64_t file_size,
                           ElfFile* file, LoadError* error) {
  if (table.size() < header.phnum * sizeof(Elf64_Phdr)) {
    return fail(error, ENOEXEC, "is truncated: it ends inside the program headers");
  }
  if (file_size > kMaxFileOffset) return fail(error, ENOEXEC, "has an impossible size");
  *file = ElfFile{};
  file->header = header;
  for (unsigned i = 0; i < header.phnum; i++) {
    Elf64_Phdr phdr;
    memcpy(&phdr, table.data() + i * sizeof(phdr), sizeof(phdr));
    if (phdr.p_type == PT_LOAD && !take_segment(phdr, i, file_size, file, error)) return false;
    if (phdr.p_type == PT_INTERP && !take_interpreter(phdr, file, error)) return false;
    if (phdr.p_type == PT_GNU_STACK) file->executable_stack = (phdr.p_flags & PF_X) != 0;
  }
  return sort_segments(file, error);
}

bool parse_interpreter_path(const ElfFile& file, std::span<const uint8_t> bytes, std::string* path,
                            LoadError* error) {
  if (bytes.size() < file.interpreter_size) {
    return fail(error, EIO, "is truncated: it ends inside the interpreter path");  // as Linux's elf_read()
  }
  if (bytes.empty() || bytes.back() != '\0') {
    return fail(error, ENOEXEC, "the interpreter path in it has no end; the file is damaged");
  }
  const void* end = memchr(bytes.data(), '\0', bytes.size());
  path->assign(bytes.data(), static_cast<const uint8_t*>(end));
  if (path->empty()) return fail(error, ENOEXEC, "the interpreter path in it is empty; the file is damaged");
  return true;
}

uint64_t choose_bias(const ElfFile& file, uint64_t floor) {
  if (!file.header.position_independent) return 0;
  uint64_t low = file.low();
  uint64_t base = floor + ((low - floor) & (file.align - 1));
  return base - low;
}

bool plan_load(const ElfFile& file, uint64_t bias, Window window, LoadPlan* plan, LoadError* error) {
  *plan = LoadPlan{};
  plan->bias = bias;
  plan->start = file.low() + bias;
  if (!check_place(file, plan->start, window, error)) return false;
  plan->end = plan->start + (file.high() - file.low());
  plan->entry = file.header.entry + bias;
  if (plan->entry >= window.end) {
    return fail(error, ENOEXEC, "its entry point 0x%" PRIx64 " is in no segment; the file is damaged",
                plan->entry);
  }
  plan->phdr = file.has_phdr ? file.phdr_vaddr + bias : 0;
  plan->brk = file.segments.back().vaddr + file.segments.back().memsz + bias;
  for (size_t i = 0; i < file.segments.size(); i++) {
    bool last = i + 1 == file.segments.size();
    uint64_t limit = last ? plan->end : page_down(file.segments[i + 1].vaddr + bias);
    plan_segment(file.segments[i], bias, limit, plan);
  }
  return true;
}

}  // namespace km
