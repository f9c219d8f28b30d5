// SPDX-License-Identifier: Apache-2.0

/** Something the lab needs is not to be had here: its suites are skipped with this reason, not failed. */
export class Unavailable extends Error {
  override name = "Unavailable";
}

/** The guest itself went wrong: did not boot, hung, or died under a command. The console tells more. */
export class GuestError extends Error {
  override name = "GuestError";
  constructor(
    message: string,
    readonly consolePath: string,
  ) {
    super(`${message}; console: ${consolePath}`);
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
