// SPDX-License-Identifier: Apache-2.0
// What can go wrong around a machine, apart from what the payload does in it.

export type MonitorErrorCode =
  /** No virtualization device, or no permission for it. */
  | "ERR_KM_NO_DEVICE"
  /** The program is not there, or not something Linux would execute. */
  | "ERR_KM_NOT_EXECUTABLE"
  /** A limit that cannot be enforced here, or makes no sense. */
  | "ERR_KM_LIMIT"
  /** km itself is not installed or built. */
  | "ERR_KM_NO_MONITOR"
  /** The Node addon is not built. */
  | "ERR_KM_NO_ADDON"
  /** The monitor ended without running the payload to its end. */
  | "ERR_KM_MONITOR_DIED"
  /** A machine did not answer, or answered with an error. */
  | "ERR_KM_NO_ANSWER";

/** Every error of this module; `code` tells which. */
export class MonitorError extends Error {
  override name = "MonitorError";
  constructor(
    readonly code: MonitorErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
