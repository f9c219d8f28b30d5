// SPDX-License-Identifier: Apache-2.0
/** Full path of `command` on PATH, or undefined. */
export function which(command: string): string | undefined;
