// SPDX-License-Identifier: Apache-2.0
// Runs jobs side by side as far as this host's processors and memory go.

import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

export interface Job<T> {
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly run: () => Promise<T>;
}

interface Budget {
  cpus: number;
  memoryMiB: number;
}

function availableMemoryMiB(): number {
  const kib = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"))?.[1];
  return Number(kib ?? 0) / 1024;
}

/** One guest CPU per processor, and three quarters of the memory that is free now. */
function hostBudget(): Budget {
  return { cpus: availableParallelism(), memoryMiB: availableMemoryMiB() * 0.75 };
}

/**
 * Runs all jobs, each as soon as its share is free, in their order; a job larger than the host runs alone.
 * @param most at most so many at once, whatever the host has
 */
export async function runJobs<T>(jobs: readonly Job<T>[], most = Number.POSITIVE_INFINITY): Promise<T[]> {
  const free = hostBudget();
  const results: Promise<T>[] = [];
  let running = 0;
  let wake = () => {};
  const start = async (job: Job<T>): Promise<T> => {
    running++;
    free.cpus -= job.cpus;
    free.memoryMiB -= job.memoryMiB;
    try {
      return await job.run();
    } finally {
      running--;
      free.cpus += job.cpus;
      free.memoryMiB += job.memoryMiB;
      wake();
    }
  };
  const fits = (job: Job<T>) =>
    running === 0 || (running < most && job.cpus <= free.cpus && job.memoryMiB <= free.memoryMiB);
  for (const job of jobs) {
    while (!fits(job)) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    results.push(start(job));
  }
  return Promise.all(results);
}
