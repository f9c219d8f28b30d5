// SPDX-License-Identifier: Apache-2.0
// Servers under km, loaded for long by native clients: no request fails, nothing grows, SIGTERM ends them as natively.
import { setTimeout as sleep } from "node:timers/promises";
import { DEVICE_OPTIONS } from "../helpers/device.js";
import { KM } from "../helpers/paths.js";
import { RATES } from "../servers/rates.js";
import { running, unpacked } from "../servers/running.js";
import { CONNECTIONS, type Server } from "../servers/table.js";
import { held, type Slack, type Soaked, settled } from "./run.js";

export interface Served extends Soaked {
  /** Requests answered a second. */
  readonly rate: number;
}

/** Nothing tells when the last connection is closed on that side, too. */
const CLOSING_MS = 3000;

/** How many threads a server of one process has at a time is its runtime's affair, within bounds. */
export const slackOf = (server: Server): Slack =>
  server.processes === undefined ? { vcpus: CONNECTIONS, threads: 8 } : {};

type Child = Parameters<Parameters<typeof running>[3]>[1];

async function terminated(child: Child): Promise<number | string | undefined> {
  child.kill("SIGTERM");
  const done = await child;
  return done.timedOut ? "not by SIGTERM" : (done.signal ?? done.exitCode);
}

/**
 * @param seconds of load, after a third as much to warm up
 * @returns why the server cannot be had, in one line, or what it held after the warm-up and at the end
 */
export async function serve(server: Server, seconds: number): Promise<Served | string> {
  const files = await unpacked(server);
  if (typeof files === "string") return files;
  const begin = Date.now();
  const load = RATES[server.protocol];
  const native = await running(server, files, [], async (_where, child) => {
    await sleep(CLOSING_MS); // a server that is asked to stop while it starts may take the default for an answer
    return await terminated(child);
  });
  return await running(server, files, [KM, ...DEVICE_OPTIONS, "--"], async (where, child) => {
    const pid = child.pid as number;
    await load(where, Math.ceil(seconds / 3));
    await sleep(CLOSING_MS);
    const early = held(pid);
    const rate = await load(where, seconds);
    const end = await settled(pid, early, slackOf(server));
    const ended = await terminated(child);
    if (ended !== native) throw new Error(`SIGTERM ends it with ${ended}, natively with ${native}`);
    return { early, end, rate, seconds: (Date.now() - begin) / 1000 };
  });
}
