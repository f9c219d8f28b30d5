// SPDX-License-Identifier: Apache-2.0
// What other test suites use of the lab.

export { GuestError, Unavailable } from "./errors.js";
export type { Guest, GuestOptions, RunOptions, RunResult } from "./guest.js";
export { openGuest, runInGuest } from "./guest.js";
export { kernels } from "./kernels.js";
