// SPDX-License-Identifier: Apache-2.0
// The Node API over km: machines to launch, machines that run, and raw machines for tests and proofs.
export { MonitorError, type MonitorErrorCode } from "./errors.js";
export type { FileAccess } from "./jail.js";
export {
  type Ending,
  type EndReason,
  LaunchedMachine,
  type LaunchOptions,
  launch,
  type MachineEvent,
} from "./launch.js";
export * from "./native.js";
export {
  type CallCounter,
  counters,
  listMachines,
  type MachineStatus,
  type RunningMachine,
  socketsOf,
  stop,
  stream,
} from "./registry.js";
export { type Usage, usage } from "./watch.js";
