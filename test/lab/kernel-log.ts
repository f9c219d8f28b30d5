// SPDX-License-Identifier: Apache-2.0
// What must not be in a guest's kernel log after a suite.

const complaints: readonly RegExp[] = [
  /WARNING:/,
  /\bBUG:/,
  /kernel BUG at/,
  /\bOops\b/,
  /Kernel panic/,
  /general protection fault/,
  /Call Trace:/,
  /rcu: INFO:|detected stalls?\b/,
  /(soft|hard) lockup/i,
  /INFO: task .* blocked for more than/,
  /possible (recursive|circular) locking|inconsistent lock state|suspicious RCU usage/,
  /KASAN:|UBSAN:|KCSAN:|KFENCE:/,
  /refcount_t:|list_(add|del) corruption|slab corruption|Bad page/i,
  /unchecked MSR access/,
  /segfault at .* error \d+ in (agent|busybox)/,
];

/** Lines that match above but say nothing about what runs in the guest. */
const harmless: readonly RegExp[] = [
  /command line: /i, // whatever its words
  /WARNING: See https:\/\/.*hw-vuln/, // advice on CPU mitigations, said at every boot
];

// What the kernel prints when it kills for want of memory; it has a call trace in it.
const oomReport = /^.* invoked oom-killer: [\s\S]*?oom-kill:constraint=.*$/gm;

/**
 * The lines of a kernel log that fail a suite.
 * @param outOfMemory reports of the OOM killer are what the suite is about
 */
export function kernelComplaints(log: string, outOfMemory = false): string[] {
  const text = outOfMemory ? log.replace(oomReport, "") : log;
  return text.split("\n").filter((line) => {
    return (
      complaints.some((pattern) => pattern.test(line)) && !harmless.some((pattern) => pattern.test(line))
    );
  });
}
