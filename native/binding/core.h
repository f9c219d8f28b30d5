// SPDX-License-Identifier: Apache-2.0
// Machines and vCPUs as the addon's objects hold them: no JavaScript in here.
//
// Ownership: a vCPU keeps its machine, a machine its driver. JavaScript objects may go in any order, at any time and
// on any thread's garbage collection; destroy() ends a machine at once, whatever still refers to it.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "native/binding/region.h"
#include "native/driver/driver.h"

namespace km::binding {

/// What went wrong, for the typed error. `code`: "ERR_KM_..." or empty for the name of `error`.
struct Failure {
  int error = 0;
  const char* what = "";
  const char* code = "";
  explicit operator bool() const { return error != 0; }
};

struct DriverCore {
  std::unique_ptr<Driver> driver;
};

/// Exit::detail of a #BP that a breakpoint of ours raised.
constexpr uint32_t kOwnBreakpoint = 1;

class VcpuCore;

class MachineCore : public std::enable_shared_from_this<MachineCore> {
 public:
  MachineCore(std::shared_ptr<DriverCore> driver, std::unique_ptr<Machine> machine);
  ~MachineCore();

  /// nullptr after destroy().
  Machine* machine() const { return machine_.get(); }
  const char* device() const { return driver_->driver->path(); }

  Failure map(uint64_t address, uint64_t size, uint32_t access, std::shared_ptr<Region>* region);
  Failure protect(uint64_t address, uint64_t size, uint32_t access);
  Failure unmap(uint64_t address);
  Failure create_vcpu(std::shared_ptr<VcpuCore>* vcpu);

  /// Stops every vCPU, frees the machine and unmaps its memory from the guest's side. Idempotent.
  void destroy();

  Failure set_breakpoint(uint64_t address);
  Failure clear_breakpoint(uint64_t address);

  // For VcpuCore: called on run threads.
  bool has_breakpoints() const { return breakpoint_count_ != 0; }
  bool has_breakpoint(uint64_t address);
  /// Puts the original byte (lift) or int3 back. False when there is none at `address`.
  bool lift_breakpoint(uint64_t address);
  void plant_breakpoint(uint64_t address);

  void forget(VcpuCore* vcpu);

 private:
  std::shared_ptr<Region> region_of(uint64_t address, uint64_t size);
  void count_breakpoints() { breakpoint_count_ = breakpoints_.size(); }

  std::shared_ptr<DriverCore> driver_;
  std::unique_ptr<Machine> machine_;
  std::mutex lock_;  // regions_, breakpoints_: run threads look at them
  std::map<uint64_t, std::shared_ptr<Region>> regions_;
  struct Breakpoint {
    uint8_t* byte;
    uint8_t original;
  };
  std::map<uint64_t, Breakpoint> breakpoints_;
  std::atomic<size_t> breakpoint_count_{0};
  std::set<VcpuCore*> vcpus_;  // owner thread only
};

/// A vCPU and the host thread that runs it: made by the first run(), all signals blocked but the kick.
class VcpuCore {
 public:
  VcpuCore(std::shared_ptr<MachineCore> machine, std::unique_ptr<Vcpu> vcpu);
  ~VcpuCore();
  VcpuCore(const VcpuCore&) = delete;
  VcpuCore& operator=(const VcpuCore&) = delete;

  MachineCore& machine() { return *machine_; }
  /// For access between runs only; nullptr after stop().
  Vcpu* vcpu() { return vcpu_.get(); }
  bool running() const { return running_; }

  /// Runs until the guest leaves, then calls `done` on the run thread. `done` gets nullptr when stop() came first.
  Failure start(std::function<void(const Exit*)> done);

  /// Makes the current run, or the next one, end as interrupted.
  void kick();

  /// Ends a run in flight, joins the thread, frees the vCPU. Idempotent.
  void stop();

  /// Installs the kick signal; 0 or -errno.
  static int kick_signal();

 private:
  static void* thread_main(void* self);
  static void on_kick(int);
  void serve();
  Exit run_once();
  Exit step_over_breakpoint(uint64_t address);
  Exit enter();

  std::shared_ptr<MachineCore> machine_;
  std::unique_ptr<Vcpu> vcpu_;
  std::mutex lock_;
  std::condition_variable wake_;
  std::function<void(const Exit*)> done_;  // set: a run is wanted or in flight
  pthread_t thread_{};
  bool has_thread_ = false;
  std::atomic<bool> running_{false}, inside_{false}, kick_wanted_{false}, stopping_{false};
};

}  // namespace km::binding
