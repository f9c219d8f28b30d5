// SPDX-License-Identifier: Apache-2.0
// Every check, in the order in which they are shown: from the processor up.
import type { Check } from "./check.js";
import { check as cpuArchitecture } from "./checks/cpu-architecture.js";
import { check as cpuCount } from "./checks/cpu-count.js";
import { check as cpuFeatures } from "./checks/cpu-features.js";
import { check as cpuMemory } from "./checks/cpu-memory.js";
import { check as cpuVirtualization } from "./checks/cpu-virtualization.js";
import { check as deviceAccess } from "./checks/device-access.js";
import { check as deviceAny } from "./checks/device-any.js";
import { check as deviceGroup } from "./checks/device-group.js";
import { check as deviceKkm } from "./checks/device-kkm.js";
import { check as deviceKvm } from "./checks/device-kvm.js";
import { check as engineApparmor } from "./checks/engine-apparmor.js";
import { check as engineContainerdConfig } from "./checks/engine-containerd-config.js";
import { check as engineContainerdImports } from "./checks/engine-containerd-imports.js";
import { check as engineDocker } from "./checks/engine-docker.js";
import { check as engineDockerConfig } from "./checks/engine-docker-config.js";
import { check as engineDockerRunning } from "./checks/engine-docker-running.js";
import { check as engineDockerRuntime } from "./checks/engine-docker-runtime.js";
import { check as enginePodman } from "./checks/engine-podman.js";
import { check as engineSelinux } from "./checks/engine-selinux.js";
import { check as kernelCgroup } from "./checks/kernel-cgroup.js";
import { check as kernelCompiler } from "./checks/kernel-compiler.js";
import { check as kernelHeaders } from "./checks/kernel-headers.js";
import { check as kernelHugePages } from "./checks/kernel-huge-pages.js";
import { check as kernelLockdown } from "./checks/kernel-lockdown.js";
import { check as kernelLog } from "./checks/kernel-log.js";
import { check as kernelMapCount } from "./checks/kernel-map-count.js";
import { check as kernelModules } from "./checks/kernel-modules.js";
import { check as kernelModulesDisabled } from "./checks/kernel-modules-disabled.js";
import { check as kernelNextBoot } from "./checks/kernel-next-boot.js";
import { check as kernelOvercommit } from "./checks/kernel-overcommit.js";
import { check as kernelSeccomp } from "./checks/kernel-seccomp.js";
import { check as kernelSignature } from "./checks/kernel-signature.js";
import { check as kernelTools } from "./checks/kernel-tools.js";
import { check as kernelVersion } from "./checks/kernel-version.js";
import { check as machineContainer } from "./checks/machine-container.js";
import { check as machineKnown } from "./checks/machine-known.js";
import { check as machineNested } from "./checks/machine-nested.js";
import { check as machineWsl } from "./checks/machine-wsl.js";
import { check as moduleBoot } from "./checks/module-boot.js";
import { check as moduleCurrent } from "./checks/module-current.js";
import { check as moduleGroup } from "./checks/module-group.js";
import { check as moduleHook } from "./checks/module-hook.js";
import { check as moduleKvm } from "./checks/module-kvm.js";
import { check as moduleLoaded } from "./checks/module-loaded.js";
import { check as moduleRule } from "./checks/module-rule.js";
import { check as monitorDisk } from "./checks/monitor-disk.js";
import { check as monitorHello } from "./checks/monitor-hello.js";
import { check as monitorInstalled } from "./checks/monitor-installed.js";
import { check as monitorIntact } from "./checks/monitor-intact.js";
import { check as monitorPath } from "./checks/monitor-path.js";
import { check as monitorVersion } from "./checks/monitor-version.js";
import { check as nodeDevice } from "./checks/node-device.js";
import { check as nodeDevicePlugins } from "./checks/node-device-plugins.js";
import { check as nodeKubelet } from "./checks/node-kubelet.js";
import { check as nodeRuntime } from "./checks/node-runtime.js";

export const CHECKS: readonly Check[] = [
  cpuArchitecture,
  cpuVirtualization,
  cpuCount,
  cpuFeatures,
  cpuMemory,
  machineKnown,
  machineNested,
  machineContainer,
  machineWsl,
  kernelVersion,
  kernelNextBoot,
  kernelModules,
  kernelModulesDisabled,
  kernelSignature,
  kernelLockdown,
  kernelHeaders,
  kernelCompiler,
  kernelTools,
  kernelCgroup,
  kernelLog,
  kernelOvercommit,
  kernelMapCount,
  kernelHugePages,
  kernelSeccomp,
  moduleLoaded,
  moduleCurrent,
  moduleBoot,
  moduleRule,
  moduleGroup,
  moduleHook,
  moduleKvm,
  deviceKvm,
  deviceKkm,
  deviceAny,
  deviceAccess,
  deviceGroup,
  monitorInstalled,
  monitorHello,
  monitorIntact,
  monitorVersion,
  monitorPath,
  monitorDisk,
  engineDocker,
  engineDockerConfig,
  engineDockerRunning,
  engineDockerRuntime,
  enginePodman,
  engineContainerdConfig,
  engineContainerdImports,
  engineSelinux,
  engineApparmor,
  nodeKubelet,
  nodeDevicePlugins,
  nodeRuntime,
  nodeDevice,
];
