// SPDX-License-Identifier: Apache-2.0
// What every virtualization device must offer the monitor: a machine whose code runs at CPL 3 only.
//
// The monitor never sees CPL 0. A driver hands over *user* state: after an exit `regs()` is what the payload's
// registers are, and what is stored there is what the payload continues with. How the payload left (page-table
// walk, IDT gate and `out` on /dev/kvm; a companion task on /dev/kkm) stays behind this interface.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace km {

/// General registers of a vCPU at CPL 3, in the order of `struct kvm_regs` (checked in kvm_vcpu.cc) and allowed to
/// alias it: drivers hand out the device's own copy.
struct [[gnu::may_alias]] Regs {
  uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp;
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rip, rflags;
};

/// Guest access rights of a page. Values are those of PROT_* (mman.h).
enum Access : uint32_t { kHidden = 0, kRead = 1, kWrite = 2, kExec = 4 };

enum class ExitKind : uint8_t {
  kSyscall,      ///< `syscall` instruction: number in rax, rip behind it, rcx/r11 clobbered as on hardware
  kIo,           ///< `in`/`out`: port, size, is_in, count. Call settle() before touching rip or other registers
  kException,    ///< vector, error_code, address (CR2 for #PF). rip at (faults) or behind (traps) the instruction
  kMemoryFault,  ///< the host refused the page behind a present guest mapping; address = page if known, else 0
  kInterrupted,  ///< kick() or a host signal; regs exact
  kShutdown,     ///< triple fault, or the driver's helper died: the machine is gone
  kFailed,       ///< the device could not run the guest; detail = KVM suberror or errno
};

struct Exit {
  ExitKind kind = ExitKind::kFailed;
  uint8_t vector = 0;
  uint8_t size = 0;      ///< bytes per I/O access
  bool is_in = false;
  uint16_t port = 0;
  uint32_t count = 0;    ///< > 1 for string I/O
  uint32_t error_code = 0;
  uint32_t detail = 0;
  uint64_t address = 0;
};

/// Bases that travel with a thread besides Regs.
struct SegmentBases {
  uint64_t fs = 0, gs = 0;
};

class Vcpu {
 public:
  virtual ~Vcpu() = default;

  /// Payload registers. Valid after run() (kIo: after settle()); changes take effect at the next run().
  virtual Regs& regs() = 0;

  /// Enters the guest until it leaves. Blocks; returns kInterrupted after kick() or an unblocked host signal.
  virtual Exit run() = 0;

  /// Completes a kIo exit so that regs() is exact (rip behind the instruction). No-op after other exits.
  virtual void settle() = 0;

  /// Makes the current or next run() return kInterrupted without entering (async-signal-safe, own thread only).
  virtual void kick() = 0;
  virtual void unkick() = 0;

  virtual SegmentBases bases() = 0;
  virtual void set_bases(const SegmentBases&) = 0;

  /// FP/vector state in XSAVE standard format (SDM vol. 1, 13.4). Size is Machine::xstate_size().
  virtual int get_xstate(void* buffer) = 0;
  virtual int set_xstate(const void* buffer) = 0;

  /// Host fd behind the vCPU or -1; kept out of the payload's sight.
  virtual int fd() const = 0;

  /// User address whose first qword (readable by the payload at gs:0) names the hypercall argument block.
  virtual uint64_t cell_address() const = 0;
  /// Monitor's alias of that qword.
  virtual uint64_t* cell() = 0;
};

/// Where the payload may live: guest virtual == monitor virtual address in [start, end).
struct Window {
  uint64_t start = 0, end = 0;
};

class Machine {
 public:
  virtual ~Machine() = default;

  virtual Window window() const = 0;

  /// Makes [addr, addr+len) of the window visible to the payload with `access`; kHidden hides it.
  /// Page-aligned. Order with the host mapping of the same range (which must carry the same rights):
  /// reduce here first, then host mprotect/munmap (its MMU notifier flushes stale translations);
  /// grow the host mapping first, then here. May defer work to fill(). Returns 0 or -errno (ENOMEM).
  virtual int protect(uint64_t addr, uint64_t len, uint32_t access) = 0;

  /// A #PF came for an address the VMA tree allows: makes at least the 4 KiB page at `addr` present, at most
  /// [lo, hi) (the VMA's bounds). Returns 0 or -errno.
  virtual int fill(uint64_t addr, uint64_t lo, uint64_t hi, uint32_t access) = 0;

  /// Maps host memory outside the window (vvar/vdso): guest [gva, gva+len) -> monitor hva. Returns 0 or -errno.
  virtual int map_private(uint64_t gva, const void* hva, uint64_t len, uint32_t access) = 0;

  /// Creates a vCPU in the state of a fresh thread (registers zero, FP state initial, bases zero).
  /// `error` receives the errno when nullptr is returned (EAGAIN: none left).
  virtual std::unique_ptr<Vcpu> create_vcpu(int* error) = 0;

  /// Address of code in the machine that issues rt_sigreturn, for handlers without a restorer.
  virtual uint64_t sigreturn_address() const = 0;

  /// Bytes of an XSAVE image in standard format for the components of xcr0().
  virtual size_t xstate_size() const = 0;
  virtual uint64_t xcr0() const = 0;
  /// A process that the driver keeps, which is a child of this one on the host; -1: none.
  virtual pid_t helper() const { return -1; }
  virtual const char* kind() const = 0;  ///< "kvm" or "kkm": suffix of uname's release, tests, messages

  /// In the child after fork(): forget the parent's machine (descriptors are closed, nothing else touched).
  virtual void abandon() = 0;
};

struct Capabilities {
  int api_version = 0;
  unsigned max_vcpus = 0;
  unsigned max_slots = 0;
  unsigned guest_phys_bits = 0;
  bool is_kkm = false;
};

struct MachineOptions {
  unsigned phys_bits = 0;           ///< 0: what the device offers (32..62)
  bool kontain_vendor_id = false;   ///< CPUID vendor "Kontain"
};

/// Opened device. Errors name the failing call in `*what` (static string).
class Driver {
 public:
  virtual ~Driver() = default;
  virtual const Capabilities& capabilities() const = 0;
  virtual const char* path() const = 0;
  /// Private descriptor of the device.
  virtual int fd() const = 0;
  virtual std::unique_ptr<Machine> create_machine(const MachineOptions&, int* error, const char** what) = 0;
};

/// Opens exactly `path` (e.g. "/dev/kvm") and finds out what it is: KKM answers ioctl 0xAEFF with 0x6B6B6D.
/// Returns nullptr with errno in *error and the failing step in *what.
std::unique_ptr<Driver> open_driver(const char* path, int* error, const char** what);

/// The same over an open descriptor of the device, which it takes over. `path`: what to call it.
std::unique_ptr<Driver> adopt_driver(int fd, const char* path, int* error, const char** what);

/// Devices in the order they are tried without --virt-device: /dev/kontain, /dev/kvm, /dev/kkm.
extern const char* const kDeviceSearchOrder[3];

constexpr unsigned kMaxVcpus = 288;
constexpr uint16_t kHypercallPort = 0x8000;   ///< 0x8000 + n, 0 <= n < 512 (payload ABI of the original)
constexpr unsigned kHypercallCount = 512;

}  // namespace km
