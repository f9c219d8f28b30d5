// SPDX-License-Identifier: Apache-2.0
// Every test that a driver is let off, and why. Nowhere else.

/** Folder of the tests under test/. */
export type Suite = "machine" | "programs";

export interface Skip {
  readonly driver: "kvm" | "kkm";
  readonly suite: Suite;
  /** Titles of the tests, without the device. */
  readonly tests: readonly string[];
  readonly reason: string;
}

export const SKIPPED: readonly Skip[] = [
  {
    driver: "kkm",
    suite: "programs",
    tests: ["vdso", "vdso (static)", "the clock needs no exit"],
    reason: "no vdso: the kernel's clock pages cannot be shown to another address space",
  },
];
