// SPDX-License-Identifier: Apache-2.0
// Between JavaScript values and the core's. A function that reads a value returns false with an exception pending.
#pragma once

#include <napi.h>

#include "native/binding/core.h"

namespace km::binding {

/// A DriverError: message, name, code, errno, syscall, device (index.d.ts).
Napi::Error driver_error(Napi::Env env, const Failure& failure, const char* device);
void throw_failure(Napi::Env env, const Failure& failure, const char* device);
/// TypeError with code ERR_KM_ARGUMENT.
void throw_argument(Napi::Env env, const std::string& what);

/// Unsigned 64-bit number from a bigint or a safe integer.
bool read_u64(Napi::Env env, Napi::Value value, const char* name, uint64_t* out);
/// "none", "r", "rw", "rx", "rwx".
bool read_access(Napi::Env env, Napi::Value value, uint32_t* out);

Napi::BigInt bigint(Napi::Env env, uint64_t value);

Napi::Object registers_object(Napi::Env env, const Regs& regs);
/// Changes the registers `object` names; unknown names are an error.
bool read_registers(Napi::Env env, Napi::Value object, Regs* regs);

/// The discriminated union `Exit` of index.d.ts.
Napi::Object exit_object(Napi::Env env, const Exit& exit, const Regs& regs);

}  // namespace km::binding
