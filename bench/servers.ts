// SPDX-License-Identifier: Apache-2.0
// Throughput of the servers of test/servers, natively, under km and under runsc: what native clients get on loopback.
import { fileURLToPath } from "node:url";
import { buildPayloads } from "../test/helpers/payloads.js";
import { RATES } from "../test/servers/rates.js";
import { running, unpacked } from "../test/servers/running.js";
import { SERVERS, type Server } from "../test/servers/table.js";
import type { Case } from "./table.js";

const GVISOR = fileURLToPath(new URL("gvisor.mjs", import.meta.url));
function caseOf(server: Server, how: string, wrap: readonly string[], seconds: number): Case {
  const native = `${server.name}: native`;
  return {
    what: `${server.name}: ${how}`,
    unit: "1/s",
    ...(wrap.length > 0 ? { base: native } : {}),
    measure: async () => {
      const files = await unpacked(server);
      if (typeof files === "string") throw new Error(files);
      return await running(server, files, wrap, async (where, child) => {
        const rate = await RATES[server.protocol](where, seconds);
        child.kill("SIGTERM");
        await child;
        return rate;
      });
    },
  };
}

/** @param seconds of load for each figure */
export async function serverCases(km: string, seconds: number): Promise<Case[]> {
  await buildPayloads();
  return SERVERS.flatMap((server) => [
    caseOf(server, "native", [], seconds),
    caseOf(server, "km", [km, "--"], seconds),
    caseOf(server, "runsc (ptrace)", [process.execPath, GVISOR], seconds),
  ]);
}
