// SPDX-License-Identifier: Apache-2.0
// Every test of this folder that a driver is let off, and why. Nowhere else.

export interface Skip {
  driver: "kvm" | "kkm";
  /** Title given to onEachDriver(). */
  test: string;
  reason: string;
}

export const SKIPPED: Skip[] = [];
