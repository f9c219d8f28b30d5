// SPDX-License-Identifier: Apache-2.0
// Linux's rt_sigframe for x86-64 (arch/x86/include/uapi/asm/{sigcontext,ucontext}.h), byte for byte.
#include <string.h>

#include "native/machine/process.h"
#include "native/machine/signals.h"

namespace km {
namespace {

struct SigContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t err, trapno, oldmask, cr2;
  uint64_t fpstate;
  uint64_t reserved[8];  // the first one keeps the hypercall cell: a handler may make calls of its own
};
struct UContext {
  uint64_t flags, link;
  uint64_t stack_sp;
  uint32_t stack_flags, pad;
  uint64_t stack_size;
  SigContext context;
  uint64_t sigmask;
};
struct Frame {
  uint64_t return_address;
  UContext uc;
  siginfo_t info;
};
static_assert(sizeof(SigContext) == 256 && sizeof(UContext) == 304 && sizeof(Frame) == 440);

/// Software-owned bytes of the legacy XSAVE area (struct _fpx_sw_bytes at offset 464).
struct SoftwareBytes {
  uint32_t magic1, extended_size;
  uint64_t xfeatures;
  uint32_t xstate_size, padding[7];
};
static_assert(sizeof(SoftwareBytes) == 48);
constexpr size_t kSoftwareOffset = 464;
constexpr size_t kHeaderOffset = 512;
constexpr size_t kMaxXstate = 16384;  // every component Intel and AMD have defined
constexpr uint32_t kMagic1 = 0x46505853, kMagic2 = 0x46505845;

constexpr uint64_t kUcFlags = 1 | 2 | 4;  // FP_XSTATE, SIGCONTEXT_SS, STRICT_RESTORE_SS
constexpr uint64_t kSaOnStack = 0x08000000, kSaRestorer = 0x04000000;
constexpr uint32_t kSsOnStack = 1, kSsDisable = 2, kSsAutodisarm = 1u << 31;
constexpr uint64_t kHandlerClears = 0x400 | 0x100 | 0x10000;  // DF TF RF
constexpr uint64_t kHiddenFlags = 0x3000;                     // IOPL is the machine's affair
constexpr uint64_t kFixFlags = 0x50dd5;                       // what sigreturn may set: CF PF AF ZF SF TF DF OF RF AC

bool on_altstack(const GuestThread& t, uint64_t sp) {
  if (t.altstack.flags & kSsAutodisarm) return false;
  return sp > t.altstack.sp && sp - t.altstack.sp <= t.altstack.size;
}

void save_context(GuestThread& t, const Delivery& d, Frame* f) {
  const Regs& r = t.vcpu->regs();
  UContext& uc = f->uc;
  uc.flags = kUcFlags;
  uc.stack_sp = t.altstack.sp;
  uc.stack_flags = t.altstack.flags;
  uc.stack_size = t.altstack.size;
  uc.context = {r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi,
                r.rbp, r.rbx, r.rdx, r.rax, r.rcx, r.rsp, r.rip, r.rflags & ~kHiddenFlags,
                0x33,  0,     0,     0x2b,  d.error, d.trapno, d.old_mask, d.cr2, 0, {*t.vcpu->cell()}};
  uc.sigmask = d.old_mask;
  f->info = *d.info;
}

/// Where the XSAVE image goes below `top`.
uint64_t xstate_below(const GuestThread& t, uint64_t top) {
  return (top - t.process->machine->xstate_size() - sizeof kMagic2) & ~63ull;
}

/// Writes the XSAVE image with Linux's software bytes to `at`.
bool push_xstate(GuestThread& t, uint64_t at) {
  size_t size = t.process->machine->xstate_size();
  uint8_t image[kMaxXstate + sizeof kMagic2];
  if (size > kMaxXstate || t.vcpu->get_xstate(image) != 0) return false;
  SoftwareBytes sw{};
  sw.magic1 = kMagic1;
  sw.extended_size = static_cast<uint32_t>(size + sizeof kMagic2);
  sw.xfeatures = t.process->machine->xcr0();
  sw.xstate_size = static_cast<uint32_t>(size);
  memcpy(image + kSoftwareOffset, &sw, sizeof sw);
  memcpy(image + size, &kMagic2, sizeof kMagic2);
  return copy_to_guest(at, image, size + sizeof kMagic2) == 0;
}

void clear_xstate(GuestThread& t) {
  uint8_t image[kMaxXstate] = {};
  const uint16_t fcw = 0x37f;
  const uint32_t mxcsr = 0x1f80;
  memcpy(image, &fcw, sizeof fcw);
  memcpy(image + 24, &mxcsr, sizeof mxcsr);
  t.vcpu->set_xstate(image);
}

bool pop_xstate(GuestThread& t, uint64_t at) {
  size_t size = t.process->machine->xstate_size();
  if (at == 0) {
    clear_xstate(t);
    return true;
  }
  uint8_t image[kMaxXstate + sizeof kMagic2] = {};
  const size_t full = size + sizeof kMagic2;
  if (copy_from_guest(image, at, kHeaderOffset) != 0) return false;
  SoftwareBytes sw;
  memcpy(&sw, image + kSoftwareOffset, sizeof sw);
  uint32_t magic2 = 0;
  bool extended = sw.magic1 == kMagic1 && sw.xstate_size == size && sw.extended_size == full &&
                  copy_from_guest(image, at, full) == 0;
  if (extended) memcpy(&magic2, image + size, sizeof magic2);
  uint64_t features = 3;  // FXSAVE image only: x87 and SSE, everything else initial
  if (extended && magic2 == kMagic2) {
    memcpy(&features, image + kHeaderOffset, sizeof features);
    features &= sw.xfeatures & t.process->machine->xcr0();
  } else {
    memset(image + kHeaderOffset, 0, full - kHeaderOffset);
  }
  memset(image + kHeaderOffset, 0, 64);
  memcpy(image + kHeaderOffset, &features, sizeof features);
  memset(image + kSoftwareOffset, 0, sizeof sw);
  return t.vcpu->set_xstate(image) == 0;
}

}  // namespace

bool push_signal_frame(GuestThread& t, const Delivery& d) {
  Regs& r = t.vcpu->regs();
  Frame frame{};
  save_context(t, d, &frame);
  uint64_t sp = r.rsp - 128;
  bool entering = (d.action->flags & kSaOnStack) && t.altstack.size != 0 && !(t.altstack.flags & kSsDisable) &&
                  !on_altstack(t, r.rsp);
  if (entering) sp = t.altstack.sp + t.altstack.size;
  const uint64_t xstate = xstate_below(t, sp);
  uint64_t at = ((xstate - sizeof frame) & ~15ull) - 8;
  if (entering && (at < t.altstack.sp || at > sp)) return false;  // would run off the alternate stack
  if (!push_xstate(t, xstate)) return false;
  frame.uc.context.fpstate = xstate;
  frame.return_address = (d.action->flags & kSaRestorer) ? d.action->restorer : t.process->machine->sigreturn_address();
  if (copy_to_guest(at, &frame, sizeof frame) != 0) return false;
  if (t.altstack.flags & kSsAutodisarm) t.altstack = AltStack{0, 0, kSsDisable};
  clear_xstate(t);
  r.rdi = static_cast<uint64_t>(d.signo);
  r.rsi = at + offsetof(Frame, info);
  r.rdx = at + offsetof(Frame, uc);
  r.rax = 0;
  r.rip = d.action->handler;
  r.rsp = at;
  r.rflags &= ~kHandlerClears;
  return true;
}

bool pop_signal_frame(GuestThread& t, uint64_t at) {
  UContext uc;
  if (copy_from_guest(&uc, at + offsetof(Frame, uc), sizeof uc) != 0) return false;
  if (!pop_xstate(t, uc.context.fpstate)) return false;
  const SigContext& c = uc.context;
  Regs& r = t.vcpu->regs();
  uint64_t flags = (r.rflags & ~kFixFlags) | (c.eflags & kFixFlags);
  r = Regs{c.rax, c.rbx, c.rcx, c.rdx, c.rsi, c.rdi, c.rsp, c.rbp, c.r8,
           c.r9,  c.r10, c.r11, c.r12, c.r13, c.r14, c.r15, c.rip, flags};
  *t.vcpu->cell() = c.reserved[0];  // checked where it is used
  t.sigmask = uc.sigmask & ~((1ull << (SIGKILL - 1)) | (1ull << (SIGSTOP - 1)));
  if (!on_altstack(t, r.rsp)) {
    // As restore_altstack(): what sigaltstack(2) would refuse changes nothing.
    uint32_t mode = uc.stack_flags & ~kSsAutodisarm;
    if (mode == kSsDisable) t.altstack = AltStack{0, 0, uc.stack_flags};
    else if (mode <= kSsOnStack && uc.stack_size >= kSmallestAltStack)
      t.altstack = AltStack{uc.stack_sp, uc.stack_size, uc.stack_flags};
  }
  return true;
}

}  // namespace km
