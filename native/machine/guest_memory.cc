// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include <algorithm>

#include "native/machine/guest_thread.h"
#include "native/machine/process.h"
#include "native/manage/manage.h"
#include "native/manage/resume.h"

extern "C" int64_t km_forward(volatile sig_atomic_t* captured, int64_t nr, const uint64_t args[6]);
extern "C" int km_copy(void* to, const void* from, size_t len);

namespace km {

int64_t forward_syscall(GuestThread& thread, int64_t nr, const uint64_t args[6]) {
  Resumable call(nr, args);
  int64_t result = km_forward(&thread.captured.signo, nr, args);
  while ((result == -EINTR || result == kRestartCall) && manage_called() && thread.captured.signo == 0) [[unlikely]] {
    // The payload knows nothing of this signal: no EINTR for it.
    thread.vcpu->unkick();  // before captured is looked at again: a signal of the payload's kicks once more
    manage_answer();
    const int64_t ended = call.await_socket(&thread.captured.signo);
    result = ended != 0 ? ended : km_forward(&thread.captured.signo, nr, call.again());
  }
  return result;
}

int64_t host_syscall(int64_t nr, uint64_t a0, uint64_t a1, uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5) {
  register uint64_t r10 asm("r10") = a3;
  register uint64_t r8 asm("r8") = a4;
  register uint64_t r9 asm("r9") = a5;
  int64_t result = nr;
  // The kernel clobbers rcx and r11 (x86-64 psABI, A.2.1); memory because most calls read or write it.
  asm volatile("syscall" : "+a"(result) : "D"(a0), "S"(a1), "d"(a2), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
  return result;
}

int copy_from_guest(void* to, uint64_t from, size_t len) {
  if (!process().memory->in_window(from, len)) return -EFAULT;
  // Inside the window there is payload memory or nothing; km_copy survives nothing.
  return km_copy(to, reinterpret_cast<const void*>(from), len);
}

int copy_to_guest(uint64_t to, const void* from, size_t len) {
  if (!process().memory->in_window(to, len)) return -EFAULT;
  return km_copy(reinterpret_cast<void*>(to), from, len);
}

int64_t copy_string_from_guest(char* to, uint64_t from, size_t size) {
  size_t done = 0;
  while (done < size) {
    // Up to the page's end at once: the next page may be missing although the string ends here.
    size_t chunk = std::min(size - done, 4096 - (from + done) % 4096);
    if (copy_from_guest(to + done, from + done, chunk) != 0) return -EFAULT;
    if (const void* end = memchr(to + done, 0, chunk)) return static_cast<const char*>(end) - to;
    done += chunk;
  }
  return -ENAMETOOLONG;
}

}  // namespace km
