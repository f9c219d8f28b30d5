// SPDX-License-Identifier: Apache-2.0
// Programs whose segments are damaged: Linux finds out when the caller's memory is gone and ends it. km looks before, so
// that the caller gets an errno and goes on. The damage that both find early is compared in features.test.ts (corrupt).
import test from "ava";
import { DEVICE_OPTIONS } from "../helpers/device.js";
import { KM } from "../helpers/paths.js";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { here } from "../helpers/place.js";

/** What km leaves as Linux has it: it runs into what is not there. */
const RUNS = /^(an entry that is not there: killed by SEGV|half a file: |done$)/;

for (const folder of ["machine", "machine-static"]) {
  test.serial(`${folder}: damaged segments end nobody under km`, async (t) => {
    t.timeout(900_000);
    await buildPayloads();
    const program = [payload(`${folder}/corrupt`), "segments"];
    const outcomes = await here.inScratch(async (cwd) => [
      await here.run({ command: program, cwd, seconds: 120 }),
      await here.run({ command: [KM, ...DEVICE_OPTIONS, ...program], cwd, seconds: 120 }),
    ]);
    const [native = [], km = []] = outcomes.map(({ stdout }) => stdout.toString().trim().split("\n"));
    for (const outcome of outcomes) t.is(outcome.status, 0, outcome.stderr);
    t.is(native.length, 13);
    for (const line of native) t.regex(line, /: (killed by \w+|status \d+|ENOEXEC|ran)$|^done$/);
    t.true(native.filter((line) => /: killed by SEGV$/.test(line)).length >= 8, native.join("; "));
    t.deepEqual(
      km.filter((line) => !RUNS.test(line)),
      native.filter((line) => !RUNS.test(line)).map((line) => line.replace(/: [^:]*$/, ": ENOEXEC")),
    );
    t.true(km.includes("an entry that is not there: killed by SEGV"));
  });
}
