// SPDX-License-Identifier: Apache-2.0
// Node's door: index.d.ts says what it offers.
#include <set>

#include "native/binding/objects.h"
#include "native/binding/values.h"

namespace km::binding {
namespace {

/// Before the environment (main thread or worker) goes: no guest may run on, and no thread may call into it.
void stop_all(void* argument) {
  auto* data = static_cast<AddonData*>(argument);
  for (VcpuCore* vcpu : std::set<VcpuCore*>(data->vcpus)) vcpu->stop();
}

bool create_completions(Napi::Env env, AddonData* data) {
  Napi::String name = Napi::String::New(env, "kontain vCPU");
  napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr,
                                                       &VcpuObject::complete, &data->completions);
  if (status != napi_ok) return false;
  return napi_unref_threadsafe_function(env, data->completions) == napi_ok;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData;
  env.SetInstanceData(data);
  data->driver = Napi::Persistent(DriverObject::define(env));
  data->machine = Napi::Persistent(MachineObject::define(env));
  data->vcpu = Napi::Persistent(VcpuObject::define(env));
  if (!create_completions(env, data)) {
    Napi::Error::New(env, "kontain: cannot create a thread-safe function").ThrowAsJavaScriptException();
    return exports;
  }
  // Registered after the thread-safe function's own hook, so it runs before it (hooks run last in, first out).
  napi_add_env_cleanup_hook(env, &stop_all, data);
  exports.Set("probeDrivers", Napi::Function::New<&probe_drivers>(env, "probeDrivers"));
  exports.Set("openDriver", Napi::Function::New<&DriverObject::open>(env, "openDriver"));
  exports.Set("Driver", data->driver.Value());
  exports.Set("Machine", data->machine.Value());
  exports.Set("Vcpu", data->vcpu.Value());
  return exports;
}

}  // namespace

NODE_API_MODULE(kontain_native, init)

}  // namespace km::binding
