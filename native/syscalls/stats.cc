// SPDX-License-Identifier: Apache-2.0
#include "native/syscalls/stats.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cinttypes>

#include "native/base/log.h"
#include "native/syscalls/observe.h"
#include "native/syscalls/spec.h"

namespace km {
namespace {

struct Counter {
  std::atomic<uint64_t> calls{0}, errors{0}, nanoseconds{0};
};

constexpr size_t kUnknown = kCallCount;

std::atomic<bool> counting{false};
Counter counters[kCallCount + 1];

uint64_t now() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<uint64_t>(ts.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(ts.tv_nsec);
}

struct Row {
  const char* name;
  SyscallCount count;
};

struct Rows {
  std::array<Row, kCallCount + 1> rows;
  size_t size = 0;
};

}  // namespace

uint64_t count_start() { return counting.load(std::memory_order_relaxed) ? now() : 0; }

void count_call(uint64_t nr, int64_t result, uint64_t start) {
  Counter& counter = counters[nr < kCallCount && kCalls[nr].name != nullptr ? nr : kUnknown];
  counter.calls.fetch_add(1, std::memory_order_relaxed);
  if (result < 0 && result >= -4095) counter.errors.fetch_add(1, std::memory_order_relaxed);
  counter.nanoseconds.fetch_add(now() - start, std::memory_order_relaxed);
}

void count_syscalls() {
  counting = true;
  detail::watching = true;
}

void reset_syscall_counts() {
  for (Counter& counter : counters) {
    counter.calls = 0;
    counter.errors = 0;
    counter.nanoseconds = 0;
  }
}

void for_each_count(void (*fn)(uint64_t, const char*, const SyscallCount&, void*), void* arg) {
  for (size_t nr = 0; nr <= kCallCount; nr++) {
    const SyscallCount count{counters[nr].calls, counters[nr].errors, counters[nr].nanoseconds};
    if (count.calls != 0) fn(nr, nr == kUnknown ? "unknown" : kCalls[nr].name, count, arg);
  }
}

void print_syscall_counts() {
  if (!counting) return;
  static Rows table;  // 20 KiB: not on the stack of a thread that is about to exit
  table.size = 0;
  for_each_count(
      [](uint64_t, const char* name, const SyscallCount& count, void* arg) {
        Rows* rows = static_cast<Rows*>(arg);
        rows->rows[rows->size++] = {name, count};
      },
      &table);
  auto end = table.rows.begin() + static_cast<ptrdiff_t>(table.size);
  std::sort(table.rows.begin(), end,
            [](const Row& a, const Row& b) { return a.count.nanoseconds > b.count.nanoseconds; });
  log_line("stats", 0, "%10s %10s %14s %12s  %s", "calls", "errors", "total us", "us/call", "system call");
  for (auto row = table.rows.begin(); row != end; ++row) {
    const double total = static_cast<double>(row->count.nanoseconds) / 1e3;
    log_line("stats", 0, "%10" PRIu64 " %10" PRIu64 " %14.1f %12.3f  %s", row->count.calls, row->count.errors,
            total, total / static_cast<double>(row->count.calls), row->name);
  }
}

}  // namespace km
