// SPDX-License-Identifier: Apache-2.0
// Makes ELF files in memory, right or wrong ones.
#pragma once

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

/// An ELF file of a header, program headers and zeros up to `size`. Change the fields, then bytes().
struct ElfBuilder {
  Elf64_Ehdr ehdr{};
  std::vector<Elf64_Phdr> phdrs;
  size_t size = 0x3000;
  std::string interpreter;  ///< put at file offset 0x800 with a PT_INTERP, NUL included

  explicit ElfBuilder(uint16_t type = ET_EXEC) {
    memcpy(ehdr.e_ident, ELFMAG, SELFMAG);
    ehdr.e_ident[EI_CLASS] = ELFCLASS64;
    ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
    ehdr.e_ident[EI_VERSION] = EV_CURRENT;
    ehdr.e_type = type;
    ehdr.e_machine = EM_X86_64;
    ehdr.e_version = EV_CURRENT;
    ehdr.e_phoff = sizeof(ehdr);
    ehdr.e_ehsize = sizeof(ehdr);
    ehdr.e_phentsize = sizeof(Elf64_Phdr);
  }

  Elf64_Phdr& load(uint64_t vaddr, uint64_t offset, uint64_t filesz, uint64_t memsz, uint32_t flags = PF_R) {
    Elf64_Phdr phdr{};
    phdr.p_type = PT_LOAD;
    phdr.p_vaddr = phdr.p_paddr = vaddr;
    phdr.p_offset = offset;
    phdr.p_filesz = filesz;
    phdr.p_memsz = memsz;
    phdr.p_flags = flags;
    phdr.p_align = 4096;
    phdrs.push_back(phdr);
    return phdrs.back();
  }

  /// A program of text, data and bss; its file has 0x3000 bytes.
  static ElfBuilder program(uint16_t type = ET_EXEC, uint64_t base = 0x400000) {
    ElfBuilder elf(type);
    elf.load(base, 0, 0x1800, 0x1800, PF_R | PF_X);
    elf.load(base + 0x2000, 0x2000, 0x234, 0x5000, PF_R | PF_W);
    elf.ehdr.e_entry = base + 0x1000;
    return elf;
  }

  std::vector<uint8_t> bytes() const {
    std::vector<Elf64_Phdr> table = phdrs;
    constexpr uint64_t kInterpreterAt = 0x800;
    if (!interpreter.empty()) {
      Elf64_Phdr phdr{};
      phdr.p_type = PT_INTERP;
      phdr.p_offset = kInterpreterAt;
      phdr.p_filesz = phdr.p_memsz = interpreter.size();
      table.push_back(phdr);
    }
    Elf64_Ehdr header = ehdr;
    if (header.e_phnum == 0) header.e_phnum = static_cast<uint16_t>(table.size());
    size_t table_end = sizeof(header) + table.size() * sizeof(Elf64_Phdr);
    std::vector<uint8_t> file(std::max(size, table_end));
    memcpy(file.data(), &header, sizeof(header));
    if (!table.empty()) memcpy(file.data() + sizeof(header), table.data(), table.size() * sizeof(Elf64_Phdr));
    if (!interpreter.empty() && kInterpreterAt + interpreter.size() <= file.size()) {
      memcpy(file.data() + kInterpreterAt, interpreter.data(), interpreter.size());
    }
    file.resize(size);
    return file;
  }
};
