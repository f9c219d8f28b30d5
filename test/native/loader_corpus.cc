// SPDX-License-Identifier: Apache-2.0
// Every file the fuzzer of the ELF loader has kept, once more, without the fuzzer.
#include "test/fuzz/elf_loader.cc"

#include <filesystem>

#include "test/native/check.h"

/// libFuzzer's own mutator, which the target's mutator falls back on.
extern "C" size_t LLVMFuzzerMutate(uint8_t*, size_t size, size_t) { return size; }

int main() {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("test/fuzz/corpus/elf_loader", error)) {
    FILE* file = fopen(entry.path().c_str(), "re");
    if (!CHECK(file != nullptr)) continue;
    uint8_t bytes[65536];
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    CHECK(LLVMFuzzerTestOneInput(bytes, size) == 0);  // a violated invariant aborts and names itself
  }
  return check::finish("loader_corpus");
}
