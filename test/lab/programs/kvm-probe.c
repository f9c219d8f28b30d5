// SPDX-License-Identifier: Apache-2.0
//
// Says whether a KVM device works, by running a guest on it: eight bytes of real-mode code that write a letter to a
// port and halt. Exit status 0 when both exits came as they should.

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

static void fail(const char* what) {
  fprintf(stderr, "kvm-probe: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int checked_ioctl(int fd, unsigned long request, void* argument, const char* name) {
  int result = ioctl(fd, request, argument);
  if (result < 0) fail(name);
  return result;
}

static int expect_exit(int vcpu, const struct kvm_run* run, unsigned reason) {
  checked_ioctl(vcpu, KVM_RUN, NULL, "KVM_RUN");
  if (run->exit_reason == reason) return 1;
  fprintf(stderr, "kvm-probe: exit reason %u instead of %u\n", run->exit_reason, reason);
  return 0;
}

int main(int argc, char** argv) {
  static const unsigned char code[] = {0xba, 0xf8, 0x03, 0xb0, 'K', 0xee, 0xf4};  // mov dx,3f8; mov al,'K'; out; hlt
  const char* path = argc > 1 ? argv[1] : "/dev/kvm";
  int kvm = open(path, O_RDWR | O_CLOEXEC);
  if (kvm < 0) fail(path);
  int version = checked_ioctl(kvm, KVM_GET_API_VERSION, NULL, "KVM_GET_API_VERSION");
  int vm = checked_ioctl(kvm, KVM_CREATE_VM, NULL, "KVM_CREATE_VM");
  unsigned char* memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("mmap");
  memcpy(memory, code, sizeof code);
  struct kvm_userspace_memory_region slot = {
      .guest_phys_addr = 0x1000, .memory_size = 4096, .userspace_addr = (unsigned long)memory};
  checked_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot, "KVM_SET_USER_MEMORY_REGION");
  int vcpu = checked_ioctl(vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU");
  int size = checked_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE");
  struct kvm_run* run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
  if (run == MAP_FAILED) fail("mmap of the vCPU");
  struct kvm_sregs sregs;
  checked_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  checked_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
  struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
  checked_ioctl(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
  if (!expect_exit(vcpu, run, KVM_EXIT_IO)) return 1;
  const char* letter = (const char*)run + run->io.data_offset;
  if (run->io.port != 0x3f8 || run->io.size != 1 || *letter != 'K') {
    fprintf(stderr, "kvm-probe: port 0x%x, %u bytes, 0x%x\n", run->io.port, run->io.size, (unsigned char)*letter);
    return 1;
  }
  if (!expect_exit(vcpu, run, KVM_EXIT_HLT)) return 1;
  printf("%s: API %d, a guest ran, wrote a letter to a port and halted\n", path, version);
  return 0;
}
