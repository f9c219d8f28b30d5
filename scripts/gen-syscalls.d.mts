// SPDX-License-Identifier: Apache-2.0
/** One line of native/syscalls/table.def. */
export interface SyscallLine {
  nr: number;
  name: string;
  class: "implemented" | "forwarded" | "refused" | "absent";
  error: string;
  quiet: boolean;
  groups: string[];
  args: string;
  effect: string;
  note: string;
}
export function readTable(file?: string): SyscallLine[];
export function page(calls: SyscallLine[]): string;
