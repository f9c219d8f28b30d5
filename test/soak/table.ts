// SPDX-License-Identifier: Apache-2.0
// What is done over and over under km, and how often: briefly in the tests, for long by npm run soak.

export interface Soak {
  /** First argument of test/payloads/soak/soak.c. */
  readonly kind: string;
  readonly what: string;
  /** Steps in a test run. */
  readonly brief: number;
  readonly long: number;
}

export const SOAKS: readonly Soak[] = [
  { kind: "forks", what: "fork, exit, wait", brief: 100, long: 10_000 },
  { kind: "threads", what: "4 threads made and joined", brief: 100, long: 2_500 },
  { kind: "maps", what: "1 MiB mapped, half touched, split, unmapped", brief: 200, long: 4_096 },
  { kind: "signals", what: "10 queued signals, every second time blocked", brief: 100, long: 4_000 },
];

/**
 * Connections to one server at the same time. Go's runtime starts a thread when all it has are in system calls, and keeps
 * it: where those take long it goes on finding such moments (15 to 20 threads in eight rounds; no other clone was made).
 */
export const CONNECTIONS = { brief: 100, long: 1_000, slack: { vcpus: 8, threads: 8 } } as const;

/** How long each server of test/servers is loaded, in seconds. */
export const SERVED_S = 30;
