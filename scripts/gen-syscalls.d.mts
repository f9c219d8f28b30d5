// SPDX-License-Identifier: Apache-2.0
/** One line of native/syscalls/table.def. */
export interface SyscallLine {
  nr: number;
  name: string;
  class: "implemented" | "forwarded" | "refused" | "absent";
  /** FORWARD and HANDLE: the call itself reaches the host. */
  onHost: boolean;
  error: string;
  quiet: boolean;
  groups: string[];
  args: string;
  effect: string;
  note: string;
}
export function readTable(file?: string): SyscallLine[];
export function page(calls: SyscallLine[]): string;
