// SPDX-License-Identifier: Apache-2.0
// The payload process: everything its threads share.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "native/driver/driver.h"
#include "native/machine/address_space.h"

namespace km {

struct GuestThread;
struct Options;  // native/km/options.h

class Process {
 public:
  std::unique_ptr<Driver> driver;
  std::unique_ptr<Machine> machine;
  std::unique_ptr<AddressSpace> memory;
  const Options* options = nullptr;

  std::string exe_path;                 ///< realpath of the payload, what /proc/self/exe must say
  std::vector<std::string> argv;        ///< as the payload sees it: /proc/self/cmdline
  std::vector<uint64_t> auxv;           ///< type/value pairs including AT_NULL: /proc/self/auxv
  uint64_t vdso_base = 0;
  MachineOptions machine_options;       ///< for the machine of a forked child
  int self_fd = -1;                     ///< the monitor's executable, for exec
  std::mutex threads_lock;              ///< held while threads are made and around fork
  std::atomic<int> live_threads{1};
  std::atomic<int> leader_status{-1};   ///< of the first thread, when it ended before others
  std::atomic<bool> ending = false;     ///< exit_process() is at work: a machine that no longer runs is no failure
  std::set<GuestThread*> threads;       ///< under threads_lock

  void forget(GuestThread* thread) {
    std::lock_guard<std::mutex> guard(threads_lock);
    threads.erase(thread);
  }
};

/// The one payload of this monitor.
Process& process();

}  // namespace km
