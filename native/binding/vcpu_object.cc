// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <string.h>

#include "native/binding/objects.h"
#include "native/binding/values.h"

namespace km::binding {
namespace {

/// A run() in flight. Made and deleted on the event loop; the run thread fills in how it ended.
struct Run {
  Run(Napi::Env env, Napi::Object self)
      : promise(Napi::Promise::Deferred::New(env)), object(Napi::Persistent(self)) {}
  Napi::Promise::Deferred promise;
  Napi::ObjectReference object;  ///< no collection while the guest runs
  std::shared_ptr<VcpuCore> core;
  Exit exit;
  bool stopped = false;
};

void retain(AddonData& data, napi_env env) {
  if (data.pending++ == 0) napi_ref_threadsafe_function(env, data.completions);
}

void release(AddonData& data, napi_env env) {
  if (--data.pending == 0) napi_unref_threadsafe_function(env, data.completions);
}

}  // namespace

Napi::Function VcpuObject::define(Napi::Env env) {
  return DefineClass(
      env, "Vcpu",
      {InstanceAccessor<&VcpuObject::registers, &VcpuObject::set_registers>("registers"),
       InstanceAccessor<&VcpuObject::bases, &VcpuObject::set_bases>("bases"),
       InstanceAccessor<&VcpuObject::xstate, &VcpuObject::set_xstate>("xstate"),
       InstanceAccessor<&VcpuObject::cell_address>("cellAddress"),
       InstanceAccessor<&VcpuObject::running>("running"), InstanceMethod<&VcpuObject::run>("run"),
       InstanceMethod<&VcpuObject::kick>("kick"),
       InstanceMethod<&VcpuObject::set_hardware_breakpoint>("setHardwareBreakpoint"),
       InstanceMethod<&VcpuObject::dispose>("dispose")});
}

Napi::Value VcpuObject::wrap(Napi::Env env, std::shared_ptr<VcpuCore> core) {
  auto external = Napi::External<std::shared_ptr<VcpuCore>>::New(env, &core);
  return env.GetInstanceData<AddonData>()->vcpu.New({external});
}

VcpuObject::VcpuObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<VcpuObject>(info) {
  if (!info[0].IsExternal()) {
    throw_argument(info.Env(), "a Vcpu comes from Machine.createVcpu()");
    return;
  }
  core_ = *info[0].As<Napi::External<std::shared_ptr<VcpuCore>>>().Data();
  data_ = info.Env().GetInstanceData<AddonData>();
  data_->vcpus.insert(core_.get());
}

VcpuObject::~VcpuObject() {
  if (core_ == nullptr) return;
  data_->vcpus.erase(core_.get());
  core_->stop();
}

/// The vCPU between runs, with registers that are exact; nullptr with an exception pending.
Vcpu* VcpuObject::usable(Napi::Env env, const char* what) {
  Failure failure;
  if (core_->running()) failure = {EBUSY, what, "ERR_KM_BUSY"};
  else if (core_->vcpu() == nullptr) failure = {ESHUTDOWN, what, "ERR_KM_DESTROYED"};
  if (failure) {
    throw_failure(env, failure, core_->machine().device());
    return nullptr;
  }
  core_->vcpu()->settle();
  return core_->vcpu();
}

Napi::Value VcpuObject::registers(const Napi::CallbackInfo& info) {
  Vcpu* vcpu = usable(info.Env(), "registers");
  if (vcpu == nullptr) return info.Env().Undefined();
  return registers_object(info.Env(), vcpu->regs());
}

void VcpuObject::set_registers(const Napi::CallbackInfo& info, const Napi::Value& value) {
  Vcpu* vcpu = usable(info.Env(), "registers");
  if (vcpu != nullptr) read_registers(info.Env(), value, &vcpu->regs());
}

Napi::Value VcpuObject::bases(const Napi::CallbackInfo& info) {
  Vcpu* vcpu = usable(info.Env(), "bases");
  if (vcpu == nullptr) return info.Env().Undefined();
  const SegmentBases bases = vcpu->bases();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("fs", bigint(info.Env(), bases.fs));
  object.Set("gs", bigint(info.Env(), bases.gs));
  return object;
}

void VcpuObject::set_bases(const Napi::CallbackInfo& info, const Napi::Value& value) {
  Napi::Env env = info.Env();
  Vcpu* vcpu = usable(env, "bases");
  if (vcpu == nullptr) return;
  if (!value.IsObject()) return throw_argument(env, "bases must be {fs, gs}");
  SegmentBases bases;
  Napi::Object object = value.As<Napi::Object>();
  if (!read_u64(env, object.Get("fs"), "fs", &bases.fs) || !read_u64(env, object.Get("gs"), "gs", &bases.gs)) return;
  // A base that is not canonical cannot be loaded (SDM vol. 2, WRFSBASE).
  for (uint64_t base : {bases.fs, bases.gs}) {
    if (static_cast<uint64_t>(static_cast<int64_t>(base << 16) >> 16) != base) {
      return throw_argument(env, "a segment base must be a canonical address");
    }
  }
  vcpu->set_bases(bases);
}

Napi::Value VcpuObject::xstate(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Vcpu* vcpu = usable(env, "xstate");
  if (vcpu == nullptr) return env.Undefined();
  const size_t size = core_->machine().machine()->xstate_size();
  Napi::Uint8Array image = Napi::Uint8Array::New(env, size);
  if (int rc = vcpu->get_xstate(image.Data()); rc != 0) {
    throw_failure(env, {-rc, "KVM_GET_XSAVE"}, core_->machine().device());
    return env.Undefined();
  }
  return image;
}

void VcpuObject::set_xstate(const Napi::CallbackInfo& info, const Napi::Value& value) {
  Napi::Env env = info.Env();
  Vcpu* vcpu = usable(env, "xstate");
  if (vcpu == nullptr) return;
  const size_t size = core_->machine().machine()->xstate_size();
  bool bytes = value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array;
  if (!bytes || value.As<Napi::Uint8Array>().ByteLength() != size) {
    return throw_argument(env, "xstate must be a Uint8Array of " + std::to_string(size) + " bytes (xstateSize)");
  }
  if (int rc = vcpu->set_xstate(value.As<Napi::Uint8Array>().Data()); rc != 0) {
    throw_failure(env, {-rc, "KVM_SET_XSAVE"}, core_->machine().device());
  }
}

Napi::Value VcpuObject::cell_address(const Napi::CallbackInfo& info) {
  Vcpu* vcpu = usable(info.Env(), "cellAddress");
  return vcpu == nullptr ? info.Env().Undefined() : Napi::Value(bigint(info.Env(), vcpu->cell_address()));
}

Napi::Value VcpuObject::running(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), core_->running());
}

Napi::Value VcpuObject::run(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto* run = new Run(env, info.This().As<Napi::Object>());
  run->core = core_;
  Napi::Promise promise = run->promise.Promise();
  napi_threadsafe_function completions = data_->completions;
  Failure failure = core_->start([run, completions](const Exit* exit) {
    run->stopped = exit == nullptr;
    if (exit != nullptr) run->exit = *exit;
    napi_call_threadsafe_function(completions, run, napi_tsfn_nonblocking);
  });
  if (failure) {
    run->promise.Reject(driver_error(env, failure, core_->machine().device()).Value());
    delete run;
    return promise;
  }
  retain(*data_, env);
  return promise;
}

void VcpuObject::complete(napi_env raw, napi_value, void*, void* data) {
  Run* run = static_cast<Run*>(data);
  if (raw == nullptr) {
    // The environment is going: its handles with it.
    run->object.SuppressDestruct();
    delete run;
    return;
  }
  Napi::Env env(raw);
  Napi::HandleScope scope(env);
  release(*env.GetInstanceData<AddonData>(), raw);
  Vcpu* vcpu = run->core->vcpu();
  if (run->stopped || vcpu == nullptr) {
    const Failure destroyed{ESHUTDOWN, "run", "ERR_KM_DESTROYED"};
    run->promise.Reject(driver_error(env, destroyed, run->core->machine().device()).Value());
  } else {
    run->promise.Resolve(exit_object(env, run->exit, vcpu->regs()));
  }
  delete run;
}

Napi::Value VcpuObject::kick(const Napi::CallbackInfo& info) {
  core_->kick();
  return info.Env().Undefined();
}

Napi::Value VcpuObject::set_hardware_breakpoint(const Napi::CallbackInfo& info) {
  // No driver has an operation for debug registers: PVM never fires them (docs/architecture.md).
  throw_failure(info.Env(), {EOPNOTSUPP, "setHardwareBreakpoint", "ERR_KM_UNSUPPORTED"}, core_->machine().device());
  return info.Env().Undefined();
}

Napi::Value VcpuObject::dispose(const Napi::CallbackInfo& info) {
  core_->stop();
  return info.Env().Undefined();
}

}  // namespace km::binding
