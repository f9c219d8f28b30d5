// SPDX-License-Identifier: Apache-2.0
// Guest addresses of a KVM machine that are not the payload's window.
#pragma once

#include <cstdint>

#include "native/driver/driver.h"

namespace km::kvm {

constexpr uint64_t kPage = 0x1000;
constexpr uint64_t kLarge = 0x200000;
constexpr uint64_t kGiant = 0x40000000;

constexpr uint64_t kWindowStart = kLarge;
constexpr uint64_t kWindowTop = 0x7fffe00000;  // 512 GiB - 2 MiB; shorter when guest-physical bits demand

// Guest virtual. The private area (payload may read it) keeps the original's addresses.
constexpr uint64_t kPrivateBase = 0x8000000000;
constexpr uint64_t kTrampoline = kPrivateBase + 0x8000;
constexpr uint64_t kSigreturn = kTrampoline + 0x40;
constexpr uint64_t kVendorProbe = kTrampoline + 0x80;
constexpr uint64_t kCells = kPrivateBase + 0xa000;
constexpr uint64_t kCellStride = 64;
constexpr uint64_t kCellPages = (kMaxVcpus * kCellStride + kPage - 1) / kPage;
constexpr uint64_t kPrivateMaps = kPrivateBase + 0x20000;  // vvar and vdso go here
constexpr uint64_t kSupervisorBase = kPrivateBase + kLarge;
constexpr uint64_t kDescriptors = kSupervisorBase;         // GDT, then IDT, one page
constexpr unsigned kGdtEntries = 16;                       // as many as Linux has, user code and all
constexpr uint64_t kIdtOffset = 0x800;
constexpr uint64_t kGates = kSupervisorBase + kPage;
constexpr uint64_t kTaskArea = kSupervisorBase + 2 * kPage;

// vCPU pages come in groups of 14 followed by the two pages of the I/O bitmap, so that every TSS reaches the bitmap
// with its 16-bit offset while all vCPUs share the same two physical pages.
constexpr unsigned kGroup = 14;
constexpr uint64_t kTssOffset = kPage - 104;     // TSS at the end of the vCPU's page, stacks below it
constexpr uint64_t kIst1Top = kTssOffset & ~15ull;
constexpr uint64_t kIst2Top = 0x400;
constexpr uint64_t kFrameOffset = kIst1Top - 7 * 8;  // vector, error, rip, cs, rflags, rsp, ss

constexpr uint64_t task_page(unsigned vcpu) {
  return kTaskArea + (uint64_t{vcpu / kGroup} * (kGroup + 2) + vcpu % kGroup) * kPage;
}
constexpr uint64_t bitmap_offset(unsigned vcpu) {
  return (kGroup - vcpu % kGroup) * kPage - kTssOffset;
}
static_assert(bitmap_offset(0) < 0x10000);
static_assert(task_page(kMaxVcpus) + 2 * kPage < kSupervisorBase + kLarge);

// Ports open to CPL 3 around the hypercall range, so that a near miss is seen as such on every host.
constexpr unsigned kOpenPortsBelow = 0x100, kOpenPortsAbove = 0x600;
constexpr uint64_t kOpenBytes = (kHypercallCount + kOpenPortsAbove) / 8;

// Linux's selectors, so that a payload and its signal frames see what they expect.
constexpr uint16_t kKernelCs = 0x10, kUserSs = 0x2b, kUserCs = 0x33, kTaskSelector = 0x40;

}  // namespace km::kvm
