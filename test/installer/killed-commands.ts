// SPDX-License-Identifier: Apache-2.0
// Not a test: the process that kill.test.ts kills while it runs commands. Arguments: folder of the host, ["back"].
import { join } from "node:path";
import { apply, removeState, undo } from "../../src/installer/apply/apply.js";
import { Journal } from "../../src/installer/apply/journal.js";
import type { RunStep } from "../../src/installer/plan/steps.js";

const [host = "", direction] = process.argv.slice(2);
const list = join(host, "etc/list");
const lib = join(host, "lib");
const slow = (script: string) => ["sh", "-c", `sleep 0.05; ${script}; sleep 0.05`, "test", list, lib];

function step(changes: Partial<RunStep> & Pick<RunStep, "argv" | "touches">): RunStep {
  const rest = { undo: null, merge: null, stays: null, optional: false, seconds: 60 };
  return { kind: "run", name: "group", title: "a command", ...rest, ...changes };
}

const steps = [
  step({ argv: slow('echo kkm >>"$1"'), touches: [{ path: list, ours: false }] }),
  step({
    argv: slow('echo built >"$2/kkm"; sleep 0.05; ls "$2" | grep -v index >"$2/index"'),
    touches: [
      { path: join(lib, "kkm"), ours: true },
      { path: join(lib, "index"), ours: false },
    ],
  }),
  step({ argv: slow('touch "$2/loaded"'), undo: slow('rm -f "$2/loaded"'), touches: [] }),
];

process.stdout.write("begin\n");
const journal = await Journal.open(join(host, "kontain"), { create: direction !== "back" });
if (journal && direction === "back") {
  await undo(journal, 0);
  await removeState(journal);
} else if (journal) {
  await apply(journal, steps);
}
await journal?.close();
process.stdout.write("end\n");
