// SPDX-License-Identifier: Apache-2.0
// mmap, brk and the main stack.
#include <linux/magic.h>

#include <algorithm>

#include "native/machine/address_space.h"
#include "native/machine/address_space_host.h"

namespace km {

using host::align_up;
using host::kHuge;
using host::kPage;

namespace {

constexpr int kMapType = 0x0f;           // MAP_TYPE of the kernel: MAP_SHARED, MAP_PRIVATE, MAP_SHARED_VALIDATE, ...
constexpr int kMapAbove4G = 0x80;
constexpr int kHugeShift = 26, kHugeMask = 0x3f;  // MAP_HUGE_SHIFT, MAP_HUGE_MASK
constexpr uint64_t kStackGap = 1ULL << 20;        // Linux's stack_guard_gap
constexpr uint64_t kStackUnlimited = 64ULL << 20, kStackMost = 1ULL << 30, kStackLeast = 128ULL << 10;
constexpr uint64_t kNotKnown = UINT64_MAX;
// Most that is prefaulted in one go, and in a process.
constexpr uint64_t kPrefaultMost = 1ULL << 20, kPrefaultFile = 128ULL << 10, kPrefaultMainStack = 64ULL << 10,
                   kPrefaultStack = 32ULL << 10, kPrefaultBudget = 256ULL << 20;

/// What fstat says about a file to be mapped.
struct FileFacts {
  uint64_t size = kNotKnown;  ///< of a regular file
  uint64_t huge_page = 0;     ///< of a hugetlbfs file
};

int64_t file_facts(int fd, FileFacts* facts) {
  struct stat st;
  if (int64_t r = host::call(SYS_fstat, uint64_t(int64_t{fd}), host::word(&st)); r < 0) return r;
  if (!S_ISREG(st.st_mode)) return 0;
  facts->size = uint64_t(st.st_size);
  if (st.st_blksize <= int64_t(kPage)) return 0;
  struct statfs fs;
  if (host::call(SYS_fstatfs, uint64_t(int64_t{fd}), host::word(&fs)) == 0 && fs.f_type == HUGETLBFS_MAGIC)
    facts->huge_page = uint64_t(fs.f_bsize);
  return 0;
}

/// Page size an anonymous MAP_HUGETLB mapping asks for; 0 when the flag is absent.
uint64_t huge_page_of(int flags) {
  if (!(flags & MAP_HUGETLB)) return 0;
  const int shift = (flags >> kHugeShift) & kHugeMask;
  return shift == 0 ? kHuge : 1ULL << shift;
}

bool knows_populate() {
  static const bool known = host::madvise(0, 0, MADV_POPULATE_WRITE) == 0;  // Linux 5.14
  return known;
}

}  // namespace

// Asks for huge pages when the VMA at `addr` holds a whole 2 MiB block. Always for the whole VMA: host VMAs with
// different advice do not merge, and mremap refuses to cross them.
void AddressSpace::advise_huge(uint64_t addr) {
  auto it = find(addr);
  if (it == tree_.end()) return;
  const Vma& vma = it->second;
  if (vma.backed() || !(vma.prot & PROT_WRITE) || (vma.marks & (kNoHuge | kGuard))) return;
  if (align_up(it->first, kHuge) + kHuge <= vma.end) host::madvise(it->first, vma.end - it->first, MADV_HUGEPAGE);
}

// Has the host provide pages the payload will soon write. Under shadow paging a first touch costs 24 us a page when the
// host has none yet, and 4 us when it has (the device maps present neighbours along with the faulting page). Bounded,
// so that memory which is only reserved stays free; whole 2 MiB blocks come as huge pages anyway.
//
// A private page copied early no longer follows the file. So of files only program segments are prefaulted, which
// loaders mark with MAP_DENYWRITE (`program`).
void AddressSpace::prefault(uint64_t lo, uint64_t hi, bool program) {
  auto it = find(lo);
  if (it == tree_.end() || !knows_populate()) return;
  const Vma& vma = it->second;
  hi = std::min(hi, vma.end);
  if (vma.shared || !(vma.prot & PROT_WRITE) || (vma.marks & (kLazy | kGuard))) return;
  if (vma.kind == VmaKind::kFile && !program) return;
  if (align_up(lo, kHuge) + kHuge <= hi && !(vma.marks & kNoHuge)) return;
  uint64_t most = vma.kind == VmaKind::kFile ? kPrefaultFile : kPrefaultMost;
  if (vma.marks & kNoHuge) {  // a stack: it is used from its top
    most = vma.kind == VmaKind::kStack ? kPrefaultMainStack : kPrefaultStack;
    lo = std::max(lo, hi - std::min(hi, most));
  }
  const uint64_t bytes = std::min(hi - lo, most);
  if (prefaulted_ + bytes > kPrefaultBudget) return;
  prefaulted_ += bytes;
  host::madvise(lo, bytes, MADV_POPULATE_WRITE);
}

int64_t AddressSpace::map_at(const Request& q) {
  const uint64_t len = q.end - q.start;
  const bool fresh = is_free(q.start, q.end);
  if (!fresh) {
    if (int r = hide(q.start, q.end); r < 0) {
      show(q.start, q.end);
      return r;
    }
  }
  // Huge pages must be asked for before the first page comes in.
  const bool populate_later = (q.flags & MAP_POPULATE) && q.vma.kind == VmaKind::kAnon && !q.vma.shared &&
                              (q.prot & PROT_WRITE) && len >= kHuge && knows_populate();
  const int flags = (populate_later ? q.flags & ~MAP_POPULATE : q.flags) | MAP_FIXED;
  if (int64_t r = host::mmap(q.start, len, host::prot_of(q.vma.prot), flags, q.fd, q.offset); r < 0) {
    if (!fresh) restore(q.start, q.end);
    return r;
  }
  if (!fresh) erase_range(q.start, q.end);
  Vma vma = q.vma;
  vma.end = std::min(q.end, std::max(q.file_end, q.start));
  if (vma.end > q.start) insert(q.start, vma);
  if (vma.end < q.end) {
    const uint64_t behind = vma.end;
    vma.end = q.end;
    vma.marks |= kLazy;
    insert(behind, vma);
  }
  advise_huge(q.start);
  if (populate_later)
    host::madvise(q.start, len, MADV_POPULATE_WRITE);
  else if (!(q.flags & MAP_NORESERVE) || q.vma.kind == VmaKind::kStack)
    prefault(q.start, q.end, q.flags & MAP_DENYWRITE);
  const int r = show(q.start, q.end);
  if (r < 0 && fresh) {
    unmap(q.start, q.end);
    return r;
  }
  return int64_t(q.start);
}

int64_t AddressSpace::mmap(uint64_t addr, uint64_t len, int prot, int flags, int fd, uint64_t offset) {
  if (offset % kPage != 0) return -EINVAL;
  const bool anon = flags & MAP_ANONYMOUS;
  const int type = flags & kMapType;
  const bool shared = type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
  FileFacts file;
  if (!anon) {
    if (int64_t r = file_facts(fd, &file); r < 0) return r;
  }
  const uint64_t huge_page = anon ? huge_page_of(flags) : file.huge_page;
  if (len == 0) return -EINVAL;
  len = align_up(len, huge_page ? huge_page : kPage);
  if (len == 0 || len > window_.end - window_.start) return -ENOMEM;
  if (!anon && (offset + len < offset || offset + len > uint64_t(INT64_MAX))) return -EOVERFLOW;

  std::lock_guard<std::mutex> guard(lock_);
  if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
    if (addr % (huge_page ? huge_page : kPage) != 0) return -EINVAL;
    if (!inside(addr, len)) return -ENOMEM;
    if (is_special(addr, addr + len)) return -EPERM;
    if ((flags & MAP_FIXED_NOREPLACE) && !is_free(addr, addr + len)) return -EEXIST;
  } else {
    Alignment align;  // so that huge pages fit in, of anonymous memory and of the page cache alike
    if (huge_page != 0)
      align = {huge_page, 0, true};
    else if (len >= kHuge && !(anon && shared))
      align = {kHuge, anon ? 0 : offset % kHuge, false};
    addr = choose(huge_page ? align_up(addr, huge_page) : addr, len, align, flags & MAP_32BIT);
    if (addr == 0) return -ENOMEM;
  }
  if (type != MAP_PRIVATE && !shared && type != MAP_DROPPABLE) return -EINVAL;
  Request q;
  q.start = addr;
  q.end = addr + len;
  q.prot = prot;
  q.flags = flags & ~(MAP_32BIT | MAP_FIXED_NOREPLACE | kMapAbove4G);
  if (anon && !shared) q.flags &= ~MAP_GROWSDOWN;  // plain memory to us; elsewhere the host refuses it
  q.fd = fd;
  q.offset = offset;
  q.file_end = kNotKnown;
  if (file.size != kNotKnown && huge_page == 0)
    q.file_end = file.size > offset ? addr + std::min(len, align_up(file.size - offset, kPage)) : addr;
  q.vma.prot = uint32_t(prot & (PROT_READ | PROT_WRITE | PROT_EXEC));
  q.vma.shared = shared;
  q.vma.kind = anon && huge_page == 0 ? VmaKind::kAnon : VmaKind::kFile;  // huge pages can run out: SIGBUS
  if (flags & MAP_STACK) q.vma.marks |= kNoHuge;
  if (q.vma.backed() || type == MAP_DROPPABLE) q.vma.mapping = ++next_mapping_;
  return map_at(q);
}

// --- heap ------------------------------------------------------------------------------------------------------------

void AddressSpace::set_brk_start(uint64_t addr) {
  std::lock_guard<std::mutex> guard(lock_);
  brk_start_ = brk_ = align_up(addr, kPage);
}

int64_t AddressSpace::brk_grow(uint64_t from, uint64_t to, uint64_t wanted) {
  struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  host::call(SYS_prlimit64, 0, RLIMIT_DATA, 0, host::word(&limit));
  if (wanted - brk_start_ > limit.rlim_cur) return -ENOMEM;
  if (from == to) return 0;
  // Linux leaves at least a page free before the next mapping (and the whole gap before the stack).
  if (!inside(from, to - from + kPage) || !is_free(from, to + kPage) || is_special(from, to + kPage)) return -ENOMEM;
  if (to > mmap_top_ && from < guard_end_) return -ENOMEM;
  Request q;
  q.start = from;
  q.end = to;
  q.prot = PROT_READ | PROT_WRITE;
  q.flags = MAP_PRIVATE | MAP_ANONYMOUS;
  q.fd = -1;
  q.offset = 0;
  q.file_end = kNotKnown;
  q.vma.prot = PROT_READ | PROT_WRITE;
  q.vma.kind = VmaKind::kHeap;
  return map_at(q);
}

int64_t AddressSpace::brk(uint64_t addr) {
  std::lock_guard<std::mutex> guard(lock_);
  if (addr < brk_start_ || addr > window_.end) return int64_t(brk_);
  const uint64_t from = align_up(brk_, kPage), to = align_up(addr, kPage);
  const int64_t r = to < from ? unmap(to, from) : brk_grow(from, to, addr);
  if (r >= 0) brk_ = addr;
  return int64_t(brk_);
}

// --- stack -----------------------------------------------------------------------------------------------------------

int64_t AddressSpace::map_stack(uint64_t bytes, bool executable) {
  if (bytes == 0) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    host::call(SYS_prlimit64, 0, RLIMIT_STACK, 0, host::word(&limit));
    bytes = limit.rlim_cur == RLIM_INFINITY ? kStackUnlimited : std::min<uint64_t>(limit.rlim_cur, kStackMost);
  }
  bytes = align_up(std::max(bytes, kStackLeast), kPage);
  std::lock_guard<std::mutex> guard(lock_);
  const uint64_t top = window_.end;
  if (bytes + kStackGap > top - window_.start || !is_free(top - bytes - kStackGap, top)) return -ENOMEM;
  Request q;
  q.start = top - bytes;
  q.end = top;
  q.prot = PROT_READ | PROT_WRITE | (executable ? PROT_EXEC : 0);
  q.flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK;
  q.fd = -1;
  q.offset = 0;
  q.file_end = kNotKnown;
  q.vma.prot = uint32_t(q.prot);
  q.vma.kind = VmaKind::kStack;
  q.vma.marks = kNoHuge;
  const int64_t r = map_at(q);
  if (r < 0) return r;
  guard_end_ = q.start;
  mmap_top_ = q.start - kStackGap;
  return int64_t(top);
}

}  // namespace km
