// SPDX-License-Identifier: Apache-2.0
// PostgreSQL's own load generator: transactions over three tables and a history, whose sums must agree afterwards.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { POSTGRESQL, type Where } from "./table.js";

const CLIENTS = 4;
const TRANSACTIONS = 40;

const PATIENCE_MS = 120_000;

/** Repeats `step` until it does not throw; the last error when that takes too long. */
async function patiently(step: () => Promise<unknown>): Promise<void> {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      await step();
      return;
    } catch (error) {
      if (Date.now() > end) throw error;
      await sleep(200);
    }
  }
}

/** pgbench(1) from a native client; throws when a transaction failed or the balances disagree. */
export async function pgbench(where: Where): Promise<void> {
  const run = async (program: string, ...args: string[]) => {
    const place = ["-h", "127.0.0.1", "-p", String(where.port), "-U", "bench"];
    const command = join(where.root, POSTGRESQL, program);
    const { stdout } = await execa(command, [...place, ...args], { env: where.env, timeout: 300_000 });
    return stdout;
  };
  await patiently(() => run("pg_isready", "-q")); // it listens before it is ready
  await run("pgbench", "-i", "-q", "postgres"); // makes its tables anew
  const report = await run("pgbench", "-n", "-c", String(CLIENTS), "-t", String(TRANSACTIONS), "postgres");
  const all = CLIENTS * TRANSACTIONS;
  if (!report.includes(`actually processed: ${all}/${all}`)) throw new Error(report);
  const sums = await run(
    ...(["psql", "-At", "-c"] as const),
    `select sum(abalance) = (select sum(bbalance) from pgbench_branches),
            sum(abalance) = (select sum(tbalance) from pgbench_tellers),
            sum(abalance) = (select sum(delta) from pgbench_history),
            (select count(*) from pgbench_history) from pgbench_accounts`,
    "postgres",
  );
  if (sums !== `t|t|t|${all}`) throw new Error(`the books do not balance: ${sums}`);
}
