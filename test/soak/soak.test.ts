// SPDX-License-Identifier: Apache-2.0
// The brief form of npm run soak: nothing grows with what has been done.
import test from "ava";
import { find } from "../helpers/commands.js";
import { EMULATED } from "../helpers/device.js";
import { buildPayloads } from "../helpers/payloads.js";
import { connections, growth, type Soaked, soak } from "./run.js";
import { CONNECTIONS, SOAKS } from "./table.js";

const LIMIT_S = 240;

await buildPayloads();

const looked = { processes: 1, descriptors: 9, vcpus: 1, threads: 2, residentMiB: 10 };

test("growth is found and told", (t) => {
  const grown = { processes: 1, descriptors: 10, vcpus: 1, threads: 1, residentMiB: 100 };
  const of = (end: Soaked["end"]) => growth({ early: looked, end, seconds: 1 });
  t.deepEqual(of(looked), []);
  t.deepEqual(of(grown), ["descriptors: 9, then 10", "resident MiB: 10.0, then 100.0"]);
});

/** On the lab's emulated processor even the brief form takes long. */
const run = EMULATED ? test.serial.skip : test.serial;

for (const { kind, what, brief } of SOAKS) {
  run(`${brief} times: ${what}`, async (t) => {
    t.timeout(LIMIT_S * 2000);
    const soaked = await soak(kind, brief, LIMIT_S);
    t.deepEqual(growth(soaked), []);
  });
}

const needsGo = find("go") ? run : test.serial.skip;
needsGo(`${CONNECTIONS.brief} connections at once`, async (t) => {
  t.timeout(LIMIT_S * 4000);
  const soaked = await connections(CONNECTIONS.brief, LIMIT_S);
  t.deepEqual(
    growth(soaked).filter((grown) => /^(processes|descriptors)/.test(grown)),
    [],
  );
});
