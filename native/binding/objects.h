// SPDX-License-Identifier: Apache-2.0
// The addon's JavaScript classes. One AddonData per environment (main thread, each worker): nothing is shared between
// them but the process's kick signal.
#pragma once

#include <napi.h>

#include <memory>
#include <set>

#include "native/binding/core.h"

namespace km::binding {

/// What belongs to one environment.
struct AddonData {
  Napi::FunctionReference driver, machine, vcpu;
  napi_threadsafe_function completions = nullptr;  ///< how run threads reach the event loop
  unsigned pending = 0;                            ///< runs in flight; they keep the event loop alive
  std::set<VcpuCore*> vcpus;                       ///< stopped before the environment goes
};

class DriverObject : public Napi::ObjectWrap<DriverObject> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit DriverObject(const Napi::CallbackInfo& info);
  static Napi::Value open(const Napi::CallbackInfo& info);

 private:
  Napi::Value path(const Napi::CallbackInfo& info);
  Napi::Value kind(const Napi::CallbackInfo& info);
  Napi::Value capabilities(const Napi::CallbackInfo& info);
  Napi::Value create_machine(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  bool usable(Napi::Env env);

  std::shared_ptr<DriverCore> core_;
  std::string path_;
};

class MachineObject : public Napi::ObjectWrap<MachineObject> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Value wrap(Napi::Env env, std::shared_ptr<MachineCore> core);
  explicit MachineObject(const Napi::CallbackInfo& info);

 private:
  Napi::Value kind(const Napi::CallbackInfo& info);
  Napi::Value window(const Napi::CallbackInfo& info);
  Napi::Value xcr0(const Napi::CallbackInfo& info);
  Napi::Value xstate_size(const Napi::CallbackInfo& info);
  Napi::Value destroyed(const Napi::CallbackInfo& info);
  Napi::Value map_memory(const Napi::CallbackInfo& info);
  Napi::Value protect(const Napi::CallbackInfo& info);
  Napi::Value unmap(const Napi::CallbackInfo& info);
  Napi::Value create_vcpu(const Napi::CallbackInfo& info);
  Napi::Value set_breakpoint(const Napi::CallbackInfo& info);
  Napi::Value clear_breakpoint(const Napi::CallbackInfo& info);
  Napi::Value destroy(const Napi::CallbackInfo& info);
  Napi::Value done(Napi::Env env, const Failure& failure);
  Machine* usable(Napi::Env env, const char* what);

  std::shared_ptr<MachineCore> core_;
};

class VcpuObject : public Napi::ObjectWrap<VcpuObject> {
 public:
  static Napi::Function define(Napi::Env env);
  static Napi::Value wrap(Napi::Env env, std::shared_ptr<VcpuCore> core);
  explicit VcpuObject(const Napi::CallbackInfo& info);
  ~VcpuObject() override;

  /// Runs on the event loop with what a run thread sent.
  static void complete(napi_env env, napi_value, void* context, void* data);

 private:
  Napi::Value registers(const Napi::CallbackInfo& info);
  void set_registers(const Napi::CallbackInfo& info, const Napi::Value& value);
  Napi::Value bases(const Napi::CallbackInfo& info);
  void set_bases(const Napi::CallbackInfo& info, const Napi::Value& value);
  Napi::Value xstate(const Napi::CallbackInfo& info);
  void set_xstate(const Napi::CallbackInfo& info, const Napi::Value& value);
  Napi::Value cell_address(const Napi::CallbackInfo& info);
  Napi::Value running(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value kick(const Napi::CallbackInfo& info);
  Napi::Value set_hardware_breakpoint(const Napi::CallbackInfo& info);
  Napi::Value dispose(const Napi::CallbackInfo& info);
  Vcpu* usable(Napi::Env env, const char* what);

  std::shared_ptr<VcpuCore> core_;
  AddonData* data_ = nullptr;
};

/// probeDrivers(): opens each device of the search order and runs a guest of a few instructions on it.
Napi::Value probe_drivers(const Napi::CallbackInfo& info);

}  // namespace km::binding
