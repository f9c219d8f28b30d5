// SPDX-License-Identifier: Apache-2.0
// The brief form of npm run soak: nothing grows with what has been done.
import test from "ava";
import { find } from "../helpers/commands.js";
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

for (const { kind, what, brief } of SOAKS) {
  test.serial(`${brief} times: ${what}`, async (t) => {
    t.timeout(LIMIT_S * 2000);
    const soaked = await soak(kind, brief, LIMIT_S);
    t.deepEqual(growth(soaked), []);
  });
}

const needsGo = find("go") ? test.serial : test.serial.skip;
needsGo(`${CONNECTIONS.brief} connections at once`, async (t) => {
  t.timeout(LIMIT_S * 4000);
  const soaked = await connections(CONNECTIONS.brief, LIMIT_S);
  t.deepEqual(
    growth(soaked).filter((grown) => /^(processes|descriptors)/.test(grown)),
    [],
  );
});
