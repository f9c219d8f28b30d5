// SPDX-License-Identifier: Apache-2.0
// The ELF parser and planner on files made in memory: what a good file gives, and one line for each bad one.
#include <errno.h>
#include <sys/mman.h>

#include "native/loader/elf_file.h"
#include "test/native/check.h"
#include "test/native/elf_builder.h"
#include "test/native/plan_bytes.h"

using namespace km;

namespace {

constexpr Window kWindow{0x200000, 0x7fffe00000};

bool plan_bytes(const std::vector<uint8_t>& bytes, ElfFile* file, LoadPlan* plan, LoadError* error) {
  return ::plan_bytes(bytes, kWindow, file, plan, error);
}

struct BadFile {
  const char* what;
  int error;
  const char* message;  ///< must be part of the line
  void (*spoil)(ElfBuilder& elf);
};

const BadFile kBadFiles[] = {
    {"no ELF magic", ENOEXEC, "neither an ELF", [](ElfBuilder& e) { e.ehdr.e_ident[1] = 'X'; }},
    {"empty", ENOEXEC, "neither an ELF", [](ElfBuilder& e) { e.size = 0; }},
    {"three bytes", ENOEXEC, "neither an ELF", [](ElfBuilder& e) { e.size = 3; }},
    {"magic only", ENOEXEC, "truncated", [](ElfBuilder& e) { e.size = 4; }},
    {"cut in the header", ENOEXEC, "truncated", [](ElfBuilder& e) { e.size = 63; }},
    {"32-bit", ENOEXEC, "32-bit", [](ElfBuilder& e) { e.ehdr.e_ident[EI_CLASS] = ELFCLASS32; }},
    {"class 9", ENOEXEC, "class 9", [](ElfBuilder& e) { e.ehdr.e_ident[EI_CLASS] = 9; }},
    {"big-endian", ENOEXEC, "little-endian", [](ElfBuilder& e) { e.ehdr.e_ident[EI_DATA] = ELFDATA2MSB; }},
    {"Arm", ENOEXEC, "64-bit Arm", [](ElfBuilder& e) { e.ehdr.e_machine = EM_AARCH64; }},
    {"unknown machine", ENOEXEC, "number 4242", [](ElfBuilder& e) { e.ehdr.e_machine = 4242; }},
    {"object file", ENOEXEC, "object file", [](ElfBuilder& e) { e.ehdr.e_type = ET_REL; }},
    {"core file", ENOEXEC, "core dump", [](ElfBuilder& e) { e.ehdr.e_type = ET_CORE; }},
    {"type 0", ENOEXEC, "type 0", [](ElfBuilder& e) { e.ehdr.e_type = ET_NONE; }},
    {"no program headers", ENOEXEC, "no program headers", [](ElfBuilder& e) { e.phdrs.clear(); }},
    {"odd e_phentsize", ENOEXEC, "32 bytes", [](ElfBuilder& e) { e.ehdr.e_phentsize = 32; }},
    {"65535 program headers", ENOEXEC, "65535 program headers",
     [](ElfBuilder& e) { e.ehdr.e_phnum = 0xffff; }},
    {"1170 program headers in a small file", ENOEXEC, "truncated",
     [](ElfBuilder& e) { e.ehdr.e_phnum = 1170; }},
    {"headers behind the end", ENOEXEC, "truncated", [](ElfBuilder& e) { e.ehdr.e_phoff = 1 << 20; }},
    {"headers at 2^64 - 8", ENOEXEC, "impossible", [](ElfBuilder& e) { e.ehdr.e_phoff = -8ull; }},
    {"cut in the program headers", ENOEXEC, "truncated", [](ElfBuilder& e) { e.size = 64 + 56 + 55; }},
    {"no PT_LOAD", ENOEXEC, "no loadable segment",
     [](ElfBuilder& e) { e.phdrs[0].p_type = e.phdrs[1].p_type = PT_NOTE; }},
    {"only empty segments", ENOEXEC, "no loadable segment",
     [](ElfBuilder& e) {
       for (auto& p : e.phdrs) p.p_filesz = p.p_memsz = 0;
     }},
    {"filesz > memsz", ENOEXEC, "larger in the file", [](ElfBuilder& e) { e.phdrs[1].p_memsz = 0x233; }},
    {"memsz 2^64 - 1", ENOEXEC, "address space", [](ElfBuilder& e) { e.phdrs[1].p_memsz = UINT64_MAX; }},
    {"memsz 2^47", ENOEXEC, "address space", [](ElfBuilder& e) { e.phdrs[1].p_memsz = 1ull << 47; }},
    {"address wraps", ENOEXEC, "address space", [](ElfBuilder& e) { e.phdrs[1].p_vaddr = -0x1000ull; }},
    {"1 TiB of bss", ENOMEM, "outside", [](ElfBuilder& e) { e.phdrs[1].p_memsz = 1ull << 40; }},
    {"offset overflow", ENOEXEC, "impossible", [](ElfBuilder& e) { e.phdrs[1].p_offset = -0x1000ull; }},
    {"offset negative as off_t", ENOEXEC, "impossible",
     [](ElfBuilder& e) { e.phdrs[1].p_offset = 1ull << 63; }},
    {"segment behind the end", ENOEXEC, "truncated", [](ElfBuilder& e) { e.phdrs[1].p_offset = 0x3000; }},
    {"segment longer than the file", ENOEXEC, "truncated",
     [](ElfBuilder& e) { e.phdrs[1].p_filesz = 0x1001; }},
    {"misaligned", ENOEXEC, "modulo the page", [](ElfBuilder& e) { e.phdrs[1].p_offset += 8; }},
    {"same address twice", ENOEXEC, "overlap at 0x400000",
     [](ElfBuilder& e) { e.phdrs[1].p_vaddr = 0x400000; }},
    {"overlap by a byte", ENOEXEC, "overlap at 0x402000", [](ElfBuilder& e) { e.phdrs[0].p_memsz = 0x2001; }},
    {"overlap, wrong order", ENOEXEC, "overlap",
     [](ElfBuilder& e) {
       std::swap(e.phdrs[0], e.phdrs[1]);
       e.phdrs[1].p_memsz = 0x2001;
     }},
    {"linked at 0", ENOMEM, "outside",
     [](ElfBuilder& e) {
       e.phdrs[0].p_vaddr = 0;
       e.phdrs[1].p_vaddr = 0x2000;
     }},
    {"linked at 64 KiB", ENOMEM, "0x10000..",
     [](ElfBuilder& e) {
       e.phdrs[0].p_vaddr = 0x10000;
       e.phdrs[1].p_vaddr = 0x12000;
     }},
    {"linked above the window", ENOMEM, "outside",
     [](ElfBuilder& e) {
       e.phdrs[0].p_vaddr = 0x8000000000;
       e.phdrs[1].p_vaddr = 0x8000002000;
     }},
    {"entry far away", ENOEXEC, "entry point", [](ElfBuilder& e) { e.ehdr.e_entry = 0xffffffff80000000; }},
    {"PIE with an alignment of 2^46", ENOMEM, "aligned",
     [](ElfBuilder& e) {
       e = ElfBuilder::program(ET_DYN, 0);
       e.phdrs[0].p_align = 1ull << 46;
     }},
    {"PIE with an alignment of 2^63", ENOMEM, "aligned",
     [](ElfBuilder& e) {
       e = ElfBuilder::program(ET_DYN, 0);
       e.phdrs[0].p_align = 1ull << 63;
     }},
    {"interpreter path without NUL", ENOEXEC, "no end", [](ElfBuilder& e) { e.interpreter = "/lib/ld.so"; }},
    {"interpreter path of one byte", ENOEXEC, "empty",
     [](ElfBuilder& e) { e.interpreter = std::string(1, '\0'); }},
    {"interpreter path of two NULs", ENOEXEC, "empty",
     [](ElfBuilder& e) { e.interpreter = std::string(2, '\0'); }},
    {"interpreter path of 4097 bytes", ENOEXEC, "too long",
     [](ElfBuilder& e) { e.interpreter = std::string(4096, '/') + std::string(1, '\0'); }},
    {"interpreter path behind the end", EIO, "truncated",
     [](ElfBuilder& e) {
       e.phdrs.push_back({PT_INTERP, 0, 1 << 20, 0, 0, 20, 20, 1});
     }},
    {"interpreter offset overflow", EINVAL, "impossible",
     [](ElfBuilder& e) {
       e.phdrs.push_back({PT_INTERP, 0, UINT64_MAX, 0, 0, 20, 20, 1});
     }},
};

void test_bad_files() {
  for (const BadFile& bad : kBadFiles) {
    ElfBuilder elf = ElfBuilder::program();
    bad.spoil(elf);
    ElfFile file;
    LoadPlan plan;
    LoadError error;
    CHECK_SEEN(!plan_bytes(elf.bytes(), &file, &plan, &error), bad.what);
    std::string seen = std::string(bad.what) + ": " + std::to_string(error.error) + " " + error.message;
    CHECK_SEEN(error.error == bad.error, seen);
    CHECK_SEEN(error.message.find(bad.message) != std::string::npos, seen);
    CHECK_SEEN(error.message.find('\n') == std::string::npos, seen);
  }
}

/// Plans a file that must be accepted.
LoadPlan good_plan(const ElfBuilder& elf) {
  ElfFile file;
  LoadPlan plan;
  LoadError error;
  CHECK_SEEN(plan_bytes(elf.bytes(), &file, &plan, &error), error.message);
  return plan;
}

bool same(const Mapping& mapping, uint64_t start, uint64_t end, uint32_t prot, int64_t offset) {
  bool from_file = offset >= 0;
  return mapping.start == start && mapping.end == end && mapping.prot == prot &&
         mapping.from_file == from_file && (!from_file || mapping.offset == static_cast<uint64_t>(offset));
}

constexpr int64_t kAnonymous = -1;
constexpr uint32_t kRW = PROT_READ | PROT_WRITE, kRX = PROT_READ | PROT_EXEC;

void test_program() {
  LoadPlan plan = good_plan(ElfBuilder::program());
  CHECK(plan.bias == 0 && plan.start == 0x400000 && plan.end == 0x407000);
  CHECK(plan.entry == 0x401000 && plan.phdr == 0x400040 && plan.brk == 0x407000);
  if (!CHECK(plan.mappings.size() == 3)) return;
  CHECK(same(plan.mappings[0], 0x400000, 0x402000, kRX, 0));
  CHECK(same(plan.mappings[1], 0x402000, 0x403000, kRW, 0x2000));
  CHECK(same(plan.mappings[2], 0x403000, 0x407000, kRW, kAnonymous));
  CHECK(plan.mappings[0].zero_start == plan.mappings[0].zero_end);
  CHECK(plan.mappings[1].zero_start == 0x402234 && plan.mappings[1].zero_end == 0x403000);
}

void test_position_independent() {
  LoadPlan plan = good_plan(ElfBuilder::program(ET_DYN, 0));
  CHECK(plan.bias == 0x200000 && plan.start == 0x200000 && plan.entry == 0x201000 && plan.phdr == 0x200040);
  // Prelinked far up or odd: still at the start of the window, the bias wraps.
  CHECK(good_plan(ElfBuilder::program(ET_DYN, 0x7f0000000000)).start == 0x200000);
  CHECK(good_plan(ElfBuilder::program(ET_DYN, 0x1000)).start == 0x200000);
  ElfBuilder aligned = ElfBuilder::program(ET_DYN, 0);
  aligned.phdrs[1].p_align = 16 << 20;
  CHECK(good_plan(aligned).start == 16 << 20);
  aligned.phdrs[1].p_align = 12345;  // no power of two: Linux does not look at it
  CHECK(good_plan(aligned).start == 0x200000);
  ElfBuilder offset = ElfBuilder::program(ET_DYN, 0x3000);
  offset.phdrs[0].p_align = 2 << 20;
  CHECK(good_plan(offset).start == 0x203000);
}

void test_shared_pages() {
  // As linkers without separate-code lay out: the end of text and the start of data come from one page of the
  // file.
  ElfBuilder elf(ET_EXEC);
  elf.load(0x400000, 0, 0x1100, 0x1100, PF_R | PF_X);
  elf.load(0x401100, 0x1100, 0x100, 0x2000, PF_R | PF_W);
  elf.load(0x404800, 0x2800, 0x10, 0x10, PF_R);
  LoadPlan plan = good_plan(elf);
  if (!CHECK(plan.mappings.size() == 4)) return;
  CHECK(same(plan.mappings[0], 0x400000, 0x401000, kRX, 0));
  CHECK(same(plan.mappings[1], 0x401000, 0x402000, kRW, 0x1000));
  CHECK(same(plan.mappings[2], 0x402000, 0x404000, kRW, kAnonymous));
  CHECK(same(plan.mappings[3], 0x404000, 0x405000, PROT_READ, 0x2000));
  CHECK(plan.mappings[1].zero_start == 0x401200 && plan.mappings[1].zero_end == 0x402000);
  // bss and the next segment in one page: the later mapping hides the zeros, nothing outside is written.
  elf.phdrs[2].p_vaddr = 0x401900;
  elf.phdrs[2].p_offset = 0x1900;
  elf.phdrs[1].p_memsz = 0x800;
  plan = good_plan(elf);
  if (!CHECK(plan.mappings.size() == 2)) return;
  CHECK(same(plan.mappings[1], 0x401000, 0x402000, PROT_READ, 0x1000));
}

void test_odd_but_good() {
  ElfBuilder unsorted = ElfBuilder::program();
  std::swap(unsorted.phdrs[0], unsorted.phdrs[1]);
  CHECK(good_plan(unsorted).mappings.size() == 3);
  // Bytes of the last page behind the end of the file read as zero.
  ElfBuilder tail = ElfBuilder::program();
  tail.phdrs[1].p_filesz = 0x1000;
  tail.size = 0x2001;
  CHECK(good_plan(tail).mappings.size() == 3);
  // bss only: its file offset means nothing.
  ElfBuilder bss = ElfBuilder::program();
  bss.phdrs[1].p_filesz = 0;
  bss.phdrs[1].p_offset = 0x123456789;
  LoadPlan plan = good_plan(bss);
  if (CHECK(plan.mappings.size() == 2)) CHECK(same(plan.mappings[1], 0x402000, 0x407000, kRW, kAnonymous));
  // Read-only segment with bss: its file page stays as it is, the pages behind are writable (Linux).
  ElfBuilder read_only = ElfBuilder::program();
  read_only.phdrs[1].p_flags = PF_R;
  plan = good_plan(read_only);
  if (!CHECK(plan.mappings.size() == 3)) return;
  CHECK(plan.mappings[1].prot == PROT_READ && plan.mappings[1].zero_start == plan.mappings[1].zero_end);
  CHECK(plan.mappings[2].prot == kRW);
  // Headers in no segment: AT_PHDR 0.
  ElfBuilder hidden = ElfBuilder::program();
  hidden.phdrs[0].p_offset = 0x1000;
  hidden.phdrs[0].p_filesz = 0x1000;
  CHECK(good_plan(hidden).phdr == 0);
}

void test_stack_flag() {
  for (uint32_t flags : {0u, uint32_t{PF_R | PF_W}, uint32_t{PF_R | PF_W | PF_X}}) {
    ElfBuilder elf = ElfBuilder::program();
    if (flags != 0) elf.phdrs.push_back({PT_GNU_STACK, flags, 0, 0, 0, 0, 0, 16});
    ElfFile file;
    LoadPlan plan;
    LoadError error;
    CHECK(plan_bytes(elf.bytes(), &file, &plan, &error));
    CHECK(file.executable_stack == ((flags & PF_X) != 0));
  }
}

void test_whole_window() {
  ElfBuilder elf(ET_EXEC);
  elf.load(kWindow.start, 0, 0x1000, kWindow.end - kWindow.start);
  LoadPlan plan = good_plan(elf);
  CHECK(plan.end == kWindow.end && plan.brk == kWindow.end);
  elf.phdrs[0].p_memsz++;
  ElfFile file;
  LoadError error;
  CHECK(!plan_bytes(elf.bytes(), &file, &plan, &error) && error.error == ENOMEM);
}

}  // namespace

int main() {
  test_bad_files();
  test_program();
  test_position_independent();
  test_shared_pages();
  test_odd_but_good();
  test_stack_flag();
  test_whole_window();
  return check::finish("loader_elf");
}
