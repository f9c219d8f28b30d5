// SPDX-License-Identifier: Apache-2.0
#include <errno.h>

#include "native/binding/objects.h"
#include "native/binding/values.h"

namespace km::binding {

Napi::Function MachineObject::define(Napi::Env env) {
  return DefineClass(
      env, "Machine",
      {InstanceAccessor<&MachineObject::kind>("kind"), InstanceAccessor<&MachineObject::window>("window"),
       InstanceAccessor<&MachineObject::xcr0>("xcr0"), InstanceAccessor<&MachineObject::xstate_size>("xstateSize"),
       InstanceAccessor<&MachineObject::destroyed>("destroyed"),
       InstanceMethod<&MachineObject::map_memory>("mapMemory"),
       InstanceMethod<&MachineObject::protect>("protect"), InstanceMethod<&MachineObject::unmap>("unmap"),
       InstanceMethod<&MachineObject::create_vcpu>("createVcpu"),
       InstanceMethod<&MachineObject::set_breakpoint>("setBreakpoint"),
       InstanceMethod<&MachineObject::clear_breakpoint>("clearBreakpoint"),
       InstanceMethod<&MachineObject::destroy>("destroy")});
}

Napi::Value MachineObject::wrap(Napi::Env env, std::shared_ptr<MachineCore> core) {
  auto external = Napi::External<std::shared_ptr<MachineCore>>::New(env, &core);
  return env.GetInstanceData<AddonData>()->machine.New({external});
}

MachineObject::MachineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<MachineObject>(info) {
  if (!info[0].IsExternal()) {
    throw_argument(info.Env(), "a Machine comes from Driver.createMachine()");
    return;
  }
  core_ = *info[0].As<Napi::External<std::shared_ptr<MachineCore>>>().Data();
}

Machine* MachineObject::usable(Napi::Env env, const char* what) {
  if (core_->machine() == nullptr) throw_failure(env, {ESHUTDOWN, what, "ERR_KM_DESTROYED"}, core_->device());
  return core_->machine();
}

Napi::Value MachineObject::done(Napi::Env env, const Failure& failure) {
  if (failure) throw_failure(env, failure, core_->device());
  return env.Undefined();
}

Napi::Value MachineObject::kind(const Napi::CallbackInfo& info) {
  Machine* machine = usable(info.Env(), "kind");
  if (machine == nullptr) return info.Env().Undefined();
  return Napi::String::New(info.Env(), machine->kind());
}

Napi::Value MachineObject::window(const Napi::CallbackInfo& info) {
  Machine* machine = usable(info.Env(), "window");
  if (machine == nullptr) return info.Env().Undefined();
  const Window window = machine->window();
  Napi::Object object = Napi::Object::New(info.Env());
  object.Set("start", bigint(info.Env(), window.start));
  object.Set("end", bigint(info.Env(), window.end));
  return object;
}

Napi::Value MachineObject::xcr0(const Napi::CallbackInfo& info) {
  Machine* machine = usable(info.Env(), "xcr0");
  if (machine == nullptr) return info.Env().Undefined();
  return bigint(info.Env(), machine->xcr0());
}

Napi::Value MachineObject::xstate_size(const Napi::CallbackInfo& info) {
  Machine* machine = usable(info.Env(), "xstateSize");
  if (machine == nullptr) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), static_cast<double>(machine->xstate_size()));
}

Napi::Value MachineObject::destroyed(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), core_->machine() == nullptr);
}

Napi::Value MachineObject::map_memory(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  uint64_t size = 0, address = 0;
  uint32_t access = kRead | kWrite;
  if (!info[0].IsObject()) {
    throw_argument(env, "mapMemory({size, address?, access?}): an object is needed");
    return env.Undefined();
  }
  Napi::Object options = info[0].As<Napi::Object>();
  if (!read_u64(env, options.Get("size"), "size", &size)) return env.Undefined();
  Napi::Value where = options.Get("address"), rights = options.Get("access");
  if (!where.IsUndefined() && !read_u64(env, where, "address", &address)) return env.Undefined();
  if (!rights.IsUndefined() && !read_access(env, rights, &access)) return env.Undefined();
  std::shared_ptr<Region> region;
  if (Failure failure = core_->map(address, size, access, &region)) return done(env, failure);
  // The view owns the alias through the region: it outlives machine, unmap and wrapper.
  auto* keeper = new std::shared_ptr<Region>(region);
  Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
      env, region->alias(), region->size(), [](Napi::Env, void*, std::shared_ptr<Region>* kept) { delete kept; },
      keeper);
  Napi::Object memory = Napi::Object::New(env);
  memory.Set("address", bigint(env, region->address()));
  memory.Set("size", Napi::Number::New(env, static_cast<double>(region->size())));
  memory.Set("buffer", buffer);
  return memory;
}

Napi::Value MachineObject::protect(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  uint64_t address = 0, size = 0;
  uint32_t access = 0;
  if (!read_u64(env, info[0], "address", &address) || !read_u64(env, info[1], "size", &size) ||
      !read_access(env, info[2], &access)) {
    return env.Undefined();
  }
  return done(env, core_->protect(address, size, access));
}

Napi::Value MachineObject::unmap(const Napi::CallbackInfo& info) {
  uint64_t address = 0;
  if (!read_u64(info.Env(), info[0], "address", &address)) return info.Env().Undefined();
  return done(info.Env(), core_->unmap(address));
}

Napi::Value MachineObject::create_vcpu(const Napi::CallbackInfo& info) {
  std::shared_ptr<VcpuCore> vcpu;
  if (Failure failure = core_->create_vcpu(&vcpu)) return done(info.Env(), failure);
  return VcpuObject::wrap(info.Env(), std::move(vcpu));
}

Napi::Value MachineObject::set_breakpoint(const Napi::CallbackInfo& info) {
  uint64_t address = 0;
  if (!read_u64(info.Env(), info[0], "address", &address)) return info.Env().Undefined();
  return done(info.Env(), core_->set_breakpoint(address));
}

Napi::Value MachineObject::clear_breakpoint(const Napi::CallbackInfo& info) {
  uint64_t address = 0;
  if (!read_u64(info.Env(), info[0], "address", &address)) return info.Env().Undefined();
  return done(info.Env(), core_->clear_breakpoint(address));
}

Napi::Value MachineObject::destroy(const Napi::CallbackInfo& info) {
  core_->destroy();
  return info.Env().Undefined();
}

}  // namespace km::binding
