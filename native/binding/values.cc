// SPDX-License-Identifier: Apache-2.0
#include "native/binding/values.h"

#include <errno.h>
#include <string.h>

namespace km::binding {
namespace {

struct Register {
  const char* name;
  uint64_t Regs::*field;
};

constexpr Register kRegisters[] = {
    {"rax", &Regs::rax}, {"rbx", &Regs::rbx}, {"rcx", &Regs::rcx}, {"rdx", &Regs::rdx},
    {"rsi", &Regs::rsi}, {"rdi", &Regs::rdi}, {"rsp", &Regs::rsp}, {"rbp", &Regs::rbp},
    {"r8", &Regs::r8},   {"r9", &Regs::r9},   {"r10", &Regs::r10}, {"r11", &Regs::r11},
    {"r12", &Regs::r12}, {"r13", &Regs::r13}, {"r14", &Regs::r14}, {"r15", &Regs::r15},
    {"rip", &Regs::rip}, {"rflags", &Regs::rflags},
};

struct AccessName {
  const char* name;
  uint32_t access;
};

constexpr AccessName kAccessNames[] = {
    {"none", kHidden}, {"r", kRead}, {"rw", kRead | kWrite}, {"rx", kRead | kExec}, {"rwx", kRead | kWrite | kExec},
};

/// Sentences for codes that have no errno text of their own.
struct CodeText {
  const char* code;
  const char* text;
};
constexpr CodeText kCodeTexts[] = {
    {"ERR_KM_DESTROYED", "the machine is destroyed"},
    {"ERR_KM_BUSY", "the vCPU is running; await its run() first"},
    {"ERR_KM_ALIGNMENT", "address and size must be multiples of 4096, and size not 0"},
    {"ERR_KM_WINDOW", "the range does not lie in the machine's window"},
    {"ERR_KM_NOT_MAPPED", "no memory of this machine is mapped there"},
    {"ERR_KM_NO_VCPU", "the machine has no vCPU left to give"},
    {"ERR_KM_NO_BREAKPOINT", "there is no breakpoint at that address"},
    {"ERR_KM_UNSUPPORTED", "the driver does not offer this"},
    {"ERR_KM_CLOSED", "the driver is closed"},
};

const char* text_of(const Failure& failure) {
  for (const CodeText& entry : kCodeTexts) {
    if (strcmp(entry.code, failure.code) == 0) return entry.text;
  }
  const char* text = strerrordesc_np(failure.error);
  return text != nullptr ? text : "unknown error";
}

}  // namespace

Napi::Error driver_error(Napi::Env env, const Failure& failure, const char* device) {
  const char* name = strerrorname_np(failure.error);
  std::string code = failure.code[0] != '\0' ? failure.code : name != nullptr ? name : "ERR_KM_UNKNOWN";
  Napi::Error error =
      Napi::Error::New(env, code + ": " + text_of(failure) + ", " + failure.what + " '" + device + "'");
  error.Set("name", Napi::String::New(env, "DriverError"));
  error.Set("code", Napi::String::New(env, code));
  error.Set("errno", Napi::Number::New(env, -failure.error));  // negative, as Node's system errors have it
  error.Set("syscall", Napi::String::New(env, failure.what));
  error.Set("device", Napi::String::New(env, device));
  return error;
}

void throw_failure(Napi::Env env, const Failure& failure, const char* device) {
  driver_error(env, failure, device).ThrowAsJavaScriptException();
}

void throw_argument(Napi::Env env, const std::string& what) {
  Napi::TypeError error = Napi::TypeError::New(env, what);
  error.Set("code", Napi::String::New(env, "ERR_KM_ARGUMENT"));
  error.ThrowAsJavaScriptException();
}

bool read_u64(Napi::Env env, Napi::Value value, const char* name, uint64_t* out) {
  if (value.IsBigInt()) {
    bool lossless = false;
    *out = value.As<Napi::BigInt>().Uint64Value(&lossless);
    if (lossless) return true;
  } else if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    constexpr double kSafe = 9007199254740991;  // Number.MAX_SAFE_INTEGER
    if (number >= 0 && number <= kSafe && number == static_cast<double>(static_cast<uint64_t>(number))) {
      *out = static_cast<uint64_t>(number);
      return true;
    }
  }
  throw_argument(env, std::string(name) + " must be an unsigned 64-bit integer (bigint or safe number)");
  return false;
}

bool read_access(Napi::Env env, Napi::Value value, uint32_t* out) {
  const std::string text = value.IsString() ? value.As<Napi::String>().Utf8Value() : "";
  for (const AccessName& entry : kAccessNames) {
    if (text != entry.name) continue;
    *out = entry.access;
    return true;
  }
  throw_argument(env, "access must be one of \"none\", \"r\", \"rw\", \"rx\", \"rwx\"");
  return false;
}

Napi::BigInt bigint(Napi::Env env, uint64_t value) { return Napi::BigInt::New(env, value); }

Napi::Object registers_object(Napi::Env env, const Regs& regs) {
  Napi::Object object = Napi::Object::New(env);
  for (const Register& reg : kRegisters) object.Set(reg.name, bigint(env, regs.*reg.field));
  return object;
}

bool read_registers(Napi::Env env, Napi::Value value, Regs* regs) {
  if (!value.IsObject()) {
    throw_argument(env, "registers must be an object like {rip: 0x1000n}");
    return false;
  }
  Regs changed = *regs;
  Napi::Object object = value.As<Napi::Object>();
  Napi::Array names = object.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    const std::string name = names.Get(i).ToString().Utf8Value();
    uint64_t Regs::*field = nullptr;
    for (const Register& reg : kRegisters) {
      if (name == reg.name) field = reg.field;
    }
    if (field == nullptr) {
      throw_argument(env, "there is no register '" + name + "'");
      return false;
    }
    if (!read_u64(env, object.Get(name), name.c_str(), &(changed.*field))) return false;
  }
  *regs = changed;
  return true;
}

Napi::Object exit_object(Napi::Env env, const Exit& exit, const Regs& regs) {
  Napi::Object object = Napi::Object::New(env);
  auto kind = [&](const char* name) { object.Set("kind", Napi::String::New(env, name)); };
  auto number = [&](const char* name, double value) { object.Set(name, Napi::Number::New(env, value)); };
  switch (exit.kind) {
    case ExitKind::kSyscall: {
      kind("syscall");
      object.Set("number", bigint(env, regs.rax));
      const uint64_t args[6] = {regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9};
      Napi::Array list = Napi::Array::New(env, 6);
      for (uint32_t i = 0; i < 6; i++) list.Set(i, bigint(env, args[i]));
      object.Set("args", list);
      break;
    }
    case ExitKind::kIo:
      kind("io");
      number("port", exit.port);
      number("size", exit.size);
      number("count", exit.count);
      object.Set("direction", Napi::String::New(env, exit.is_in ? "in" : "out"));
      break;
    case ExitKind::kException:
      kind("exception");
      number("vector", exit.vector);
      number("errorCode", exit.error_code);
      object.Set("address", bigint(env, exit.address));
      object.Set("breakpoint", Napi::Boolean::New(env, exit.vector == 3 && exit.detail == kOwnBreakpoint));
      break;
    case ExitKind::kMemoryFault:
      kind("memoryFault");
      object.Set("address", bigint(env, exit.address));
      break;
    case ExitKind::kInterrupted:
      kind("interrupted");
      break;
    case ExitKind::kShutdown:
      kind("shutdown");
      break;
    case ExitKind::kFailed:
      kind("failed");
      number("detail", exit.detail);
      break;
  }
  return object;
}

}  // namespace km::binding
