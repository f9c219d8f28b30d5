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

/** A program of PostgreSQL's against the server; returns its standard output. */
export async function client(where: Where, program: string, ...args: string[]): Promise<string> {
  const place = ["-h", "127.0.0.1", "-p", String(where.port), "-U", "bench"];
  const command = join(where.root, POSTGRESQL, program);
  const { stdout } = await execa(command, [...place, ...args], { env: where.env, timeout: 300_000 });
  return stdout;
}

/** pgbench's tables, made anew. The server listens before it is ready. */
export async function initialize(where: Where): Promise<void> {
  await patiently(() => client(where, "pg_isready", "-q"));
  await client(where, "pgbench", "-i", "-q", "postgres");
}

/** pgbench(1) from a native client; throws when a transaction failed or the balances disagree. */
export async function pgbench(where: Where): Promise<void> {
  await initialize(where);
  const count = ["-c", String(CLIENTS), "-t", String(TRANSACTIONS)];
  const report = await client(where, "pgbench", "-n", ...count, "postgres");
  const all = CLIENTS * TRANSACTIONS;
  if (!report.includes(`actually processed: ${all}/${all}`)) throw new Error(report);
  const sums = await client(
    where,
    "psql",
    ...["-At", "-c"],
    `select sum(abalance) = (select sum(bbalance) from pgbench_branches),
            sum(abalance) = (select sum(tbalance) from pgbench_tellers),
            sum(abalance) = (select sum(delta) from pgbench_history),
            (select count(*) from pgbench_history) from pgbench_accounts`,
    "postgres",
  );
  if (sums !== `t|t|t|${all}`) throw new Error(`the books do not balance: ${sums}`);
}
