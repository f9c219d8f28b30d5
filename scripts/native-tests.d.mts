// SPDX-License-Identifier: Apache-2.0
export function compileTest(source: string, build?: string): string | undefined;
