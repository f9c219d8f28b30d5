// SPDX-License-Identifier: Apache-2.0
// A process or worker that launches a machine with a limit, says its pid, and waits to be killed: PROGRAM plain|files.
// Over dist/, which starts quicker than TypeScript.
import { isMainThread, parentPort } from "node:worker_threads";
import { launch } from "../../dist/monitor/index.js";

const [program, how] = process.argv.slice(2);
const machine = await launch(program, [], {
  stdio: "ignore",
  timeout: 600_000,
  ...(how === "files" ? { files: {} } : {}),
});
if (isMainThread) console.log(machine.pid);
parentPort?.postMessage(machine.pid);
setInterval(() => {}, 1000);
