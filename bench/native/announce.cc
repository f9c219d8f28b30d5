// SPDX-License-Identifier: Apache-2.0
// What the management plane costs a monitor nobody asks: prints the median nanoseconds, over fresh processes, of
// announcing the socket and of taking its name back.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "native/base/private_fd.h"
#include "native/manage/manage.h"

namespace {

int64_t now() {
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000 + ts.tv_nsec;
}

/// What km has done by then and is not part of the price (native/machine/start.cc): its own file is a private descriptor.
void open_own_file() {
  const int self = open("/proc/self/exe", O_PATH | O_CLOEXEC);
  if (self < 0 || km::make_private_fd(self) < 0) _exit(1);
}

/// The first announcement of a process, as km makes it: nothing of it was executed there before.
int64_t once(bool withdraw) {
  int ends[2];
  if (pipe(ends) != 0) exit(1);
  const pid_t child = fork();
  if (child == 0) {
    open_own_file();
    int64_t start = now();
    km::manage_announce();
    if (withdraw) start = now();
    if (withdraw) km::manage_withdraw();
    const int64_t took = now() - start;
    if (!withdraw) km::manage_withdraw();
    _exit(write(ends[1], &took, sizeof took) == sizeof took ? 0 : 1);
  }
  int64_t took = -1;
  close(ends[1]);
  const bool heard = child > 0 && read(ends[0], &took, sizeof took) == sizeof took;
  close(ends[0]);
  waitpid(child, nullptr, 0);
  if (!heard) exit(1);
  return took;
}

}  // namespace

int main(int argc, char** argv) {
  const bool withdraw = argc > 1 && strcmp(argv[1], "withdraw") == 0;
  constexpr int kTimes = 301;
  std::vector<int64_t> times;
  for (int i = 0; i < kTimes; i++) times.push_back(once(withdraw));
  std::nth_element(times.begin(), times.begin() + kTimes / 2, times.end());
  printf("%ld\n", static_cast<long>(times[kTimes / 2]));
  return 0;
}
