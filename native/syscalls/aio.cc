// SPDX-License-Identifier: Apache-2.0
// Linux AIO (io_setup(2) and its relatives).
//
// The kernel reads each iocb and follows the address in it, so it is given the monitor's checked copy. Two things of
// the payload would show the copy: the completion's `obj` (the iocb's address) and the ring, which the kernel maps
// into the process and libaio peeks at. So a request's `data` is replaced by the monitor's record of it and put back
// when the event is fetched, and the context the payload sees is an empty page of its own: no ring magic in it, which
// makes libaio ask the kernel.
#include <errno.h>
#include <linux/aio_abi.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <mutex>

#include "native/base/private_fd.h"
#include "native/syscalls/internal.h"

namespace km {
namespace {

/// A request in flight.
struct Record {
  iocb copy;            ///< its address is the request's identity for io_cancel
  uint64_t guest_iocb;
  uint64_t guest_data;
};

struct Context {
  aio_context_t host = 0;
  pid_t owner = 0;      ///< contexts do not survive fork
  std::mutex lock;
  std::list<Record> records;
};

struct Contexts {
  std::mutex lock;
  std::map<uint64_t, std::shared_ptr<Context>> by_handle;
};

Contexts& contexts() {
  static Contexts table;
  return table;
}

std::shared_ptr<Context> find(uint64_t handle) {
  std::lock_guard<std::mutex> guard(contexts().lock);
  auto found = contexts().by_handle.find(handle);
  return found == contexts().by_handle.end() || found->second->owner != getpid() ? nullptr : found->second;
}

void drop(Context& context, const Record* record) {
  std::lock_guard<std::mutex> guard(context.lock);
  context.records.remove_if([&](const Record& r) { return &r == record; });
}

/// Checks what one iocb names. PREADV/PWRITEV: `iov` receives the list and the iocb points to it.
int check(iocb* request, GuestIov* iov) {
  if (is_private_fd(static_cast<int>(request->aio_fildes))) return -EBADF;
  if ((request->aio_flags & IOCB_FLAG_RESFD) && is_private_fd(static_cast<int>(request->aio_resfd))) return -EBADF;
  switch (request->aio_lio_opcode) {
    case IOCB_CMD_PREAD: case IOCB_CMD_PWRITE:
      request->aio_buf = safe_range(request->aio_buf, request->aio_nbytes);
      return 0;
    case IOCB_CMD_PREADV: case IOCB_CMD_PWRITEV:
      request->aio_buf = iov->load(request->aio_buf, request->aio_nbytes);
      return 0;
    case IOCB_CMD_FSYNC: case IOCB_CMD_FDSYNC: case IOCB_CMD_NOOP: case 5 /* IOCB_CMD_POLL */:
      return 0;
    default:
      return -EINVAL;
  }
}

int64_t submit_one(Context& context, uint64_t guest_iocb) {
  Record record{};
  GuestIov iov;
  if (int error = copy_from_guest(&record.copy, guest_iocb, sizeof(iocb)); error != 0) return error;
  record.guest_iocb = guest_iocb;
  record.guest_data = record.copy.aio_data;
  if (int error = check(&record.copy, &iov); error != 0) return error;
  const uint32_t key = 0;  // the kernel writes its constant key into the iocb
  if (int error = copy_to_guest(guest_iocb + offsetof(iocb, aio_key), &key, sizeof(key)); error != 0) return error;
  Record* kept = nullptr;
  {
    std::lock_guard<std::mutex> guard(context.lock);
    kept = &context.records.emplace_back(record);
  }
  kept->copy.aio_data = word(kept);
  iocb* pointer = &kept->copy;
  int64_t result = host_syscall(SYS_io_submit, context.host, 1, word(&pointer));
  if (result != 1) drop(context, kept);
  return result;
}

/// Gives one completion back as the payload knows it.
void translate(Context& context, io_event* event) {
  const Record* record = reinterpret_cast<const Record*>(event->data);  // what submit_one() stored; the kernel kept it
  event->data = record->guest_data;
  event->obj = record->guest_iocb;
  drop(context, record);
}

}  // namespace

int64_t sys_io_setup(GuestThread&, const uint64_t args[6]) {
  uint64_t wanted = 0;
  if (copy_from_guest(&wanted, args[1], sizeof(wanted)) != 0) return -EFAULT;
  if (wanted != 0) return -EINVAL;
  auto context = std::make_shared<Context>();
  context->owner = getpid();
  int64_t result = host_syscall(SYS_io_setup, static_cast<uint32_t>(args[0]), word(&context->host));
  if (result < 0) return result;
  int64_t handle = process().memory->mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (handle >= 0 && copy_to_guest(args[1], &handle, sizeof(handle)) != 0) {
    process().memory->munmap(static_cast<uint64_t>(handle), 4096);
    handle = -EFAULT;
  }
  if (handle < 0) {
    host_syscall(SYS_io_destroy, context->host);
    return handle;
  }
  std::lock_guard<std::mutex> guard(contexts().lock);
  contexts().by_handle[static_cast<uint64_t>(handle)] = std::move(context);
  return 0;
}

int64_t sys_io_destroy(GuestThread&, const uint64_t args[6]) {
  std::shared_ptr<Context> context = find(args[0]);
  if (context == nullptr) return -EINVAL;
  {
    std::lock_guard<std::mutex> guard(contexts().lock);
    if (contexts().by_handle.erase(args[0]) == 0) return -EINVAL;
  }
  process().memory->munmap(args[0], 4096);
  return host_syscall(SYS_io_destroy, context->host);  // waits for requests in flight; their records die with `context`
}

int64_t sys_io_submit(GuestThread&, const uint64_t args[6]) {
  std::shared_ptr<Context> context = find(args[0]);
  const int64_t count = static_cast<int64_t>(args[1]);
  if (context == nullptr || count < 0) return -EINVAL;
  int64_t done = 0;
  for (; done < count; done++) {
    uint64_t guest_iocb = 0;
    int64_t result = copy_from_guest(&guest_iocb, args[2] + 8 * static_cast<uint64_t>(done), sizeof(guest_iocb));
    if (result == 0) result = submit_one(*context, guest_iocb);
    if (result != 1) return done != 0 ? done : result;
  }
  return done;
}

int64_t sys_io_cancel(GuestThread&, const uint64_t args[6]) {
  std::shared_ptr<Context> context = find(args[0]);
  if (context == nullptr) return -EINVAL;
  iocb* request = nullptr;
  {
    std::lock_guard<std::mutex> guard(context->lock);
    for (Record& record : context->records)
      if (record.guest_iocb == args[1]) request = &record.copy;
  }
  if (request == nullptr) return -EINVAL;
  io_event unused;  // kernels since 4.18 deliver the completion through the ring and leave this alone
  return host_syscall(SYS_io_cancel, context->host, word(request), word(&unused));
}

int64_t sys_io_getevents(GuestThread& thread, const uint64_t args[6]) {
  std::shared_ptr<Context> context = find(args[0]);
  const int64_t least = static_cast<int64_t>(args[1]), wanted = static_cast<int64_t>(args[2]);
  if (context == nullptr || least < 0 || wanted < least) return -EINVAL;
  constexpr int64_t kBatch = 4096;  // returning fewer than asked for is allowed once `least` are there
  const int64_t most = std::max(least, std::min(wanted, kBatch));
  if (most > (1 << 20)) return -ENOMEM;
  GuestArray<io_event, 16> events;
  if (int error = events.reserve(static_cast<size_t>(most)); error != 0) return error;
  int64_t count = forward(thread, SYS_io_getevents, context->host, args[1], static_cast<uint64_t>(most),
                          word(events.data()), args[4]);
  for (int64_t i = 0; i < count; i++) translate(*context, &events[static_cast<size_t>(i)]);
  if (count > 0 && copy_to_guest(args[3], events.data(), static_cast<size_t>(count) * sizeof(io_event)) != 0)
    return -EFAULT;
  return count;
}

int64_t sys_io_pgetevents(GuestThread& thread, const uint64_t args[6]) {
  uint64_t mask = 0;  // first word of {address of the mask, its size}
  if (args[5] != 0 && copy_from_guest(&mask, args[5], sizeof(mask)) != 0) return -EFAULT;
  if (mask != 0) {
    log_refused_once("io_pgetevents with a signal mask", 1);
    return -ENOSYS;
  }
  return sys_io_getevents(thread, args);
}

}  // namespace km
