// SPDX-License-Identifier: Apache-2.0
// The Node API over km: machines to launch, machines that run, and raw machines for tests and proofs.
export { MonitorError, type MonitorErrorCode } from "./errors.js";
export type { Ending, EndReason, MachineEvent } from "./events.js";
export type { FileAccess } from "./jail.js";
export { type LaunchOptions, launch } from "./launch.js";
export type { LaunchedMachine } from "./machine.js";
export * from "./native.js";
export { type CallCounter, counters, type MachineStatus, machineStatus, stream } from "./protocol.js";
export {
  listMachines,
  type RunningMachine,
  type SilentMachine,
  socketsOf,
  stop,
  surveyMachines,
} from "./registry.js";
export { type Usage, usage } from "./watch.js";
