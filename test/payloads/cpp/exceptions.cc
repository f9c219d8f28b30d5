// SPDX-License-Identifier: Apache-2.0
// Unwinding through many frames and threads, thread_local objects with destructors, iostreams, a concurrent map.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <future>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

std::atomic<int> live_objects{0};
std::atomic<int> tls_destroyed{0};

struct Guard {
  Guard() { live_objects++; }
  ~Guard() { live_objects--; }
};

struct PerThread {
  std::string name;
  int calls = 0;
  ~PerThread() {
    if (calls > 0) tls_destroyed++;
  }
};
thread_local PerThread per_thread;

class Custom : public std::runtime_error {
 public:
  explicit Custom(int depth) : std::runtime_error("custom at depth " + std::to_string(depth)), depth_(depth) {}
  int depth() const { return depth_; }

 private:
  int depth_;
};

int descend(int depth, int limit) {
  Guard guard;
  if (depth == limit) throw Custom(depth);
  return descend(depth + 1, limit) + 1;
}

int thrown_and_caught(int rounds) {
  int caught = 0;
  for (int i = 0; i < rounds; i++) {
    try {
      descend(0, i % 50);
    } catch (const Custom& e) {
      if (e.depth() == i % 50) caught++;
    }
  }
  return caught;
}

void single_thread() {
  std::cout << "caught " << thrown_and_caught(500) << " live " << live_objects << "\n";
  try {
    try {
      descend(0, 10);
    } catch (const std::exception&) {
      std::throw_with_nested(std::logic_error("outer"));
    }
  } catch (const std::exception& outer) {
    std::cout << "outer: " << outer.what();
    try {
      std::rethrow_if_nested(outer);
    } catch (const std::exception& inner) {
      std::cout << ", inner: " << inner.what() << "\n";
    }
  }
  try {
    std::vector<int>(3).at(7);
  } catch (const std::out_of_range&) {
    std::cout << "out_of_range\n";
  }
  try {
    (void)new char[static_cast<size_t>(1) << 62];
  } catch (const std::bad_alloc&) {
    std::cout << "bad_alloc\n";
  }
}

void threads(int count) {
  std::vector<std::thread> workers;
  std::mutex lock;
  std::map<int, int> results;
  for (int i = 0; i < count; i++) {
    workers.emplace_back([i, &lock, &results] {
      per_thread.name = "worker " + std::to_string(i);
      per_thread.calls = thrown_and_caught(100 + i);
      std::lock_guard<std::mutex> guard(lock);
      results[i] = per_thread.calls;
    });
  }
  for (auto& worker : workers) worker.join();
  int sum = 0;
  for (const auto& [index, calls] : results) sum += calls - index;
  std::cout << "threads " << count << " sum " << sum << " tls destroyed " << tls_destroyed << " live "
            << live_objects << "\n";
}

void futures() {
  auto failing = std::async(std::launch::async, [] { return descend(0, 25); });
  try {
    failing.get();
  } catch (const Custom& e) {
    std::cout << "future: " << e.what() << "\n";
  }
  std::promise<std::string> promise;
  std::thread setter([&] { promise.set_value("from a promise"); });
  std::cout << promise.get_future().get() << "\n";
  setter.join();
}

}  // namespace

int main() {
  per_thread.name = "main";
  single_thread();
  threads(16);
  futures();
  std::cout << "main's own is " << per_thread.name << ", calls " << per_thread.calls << std::endl;
  return live_objects;
}
