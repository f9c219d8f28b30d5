// SPDX-License-Identifier: Apache-2.0
// km node hello.mjs
import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";

const worker = new Worker("require('node:worker_threads').parentPort.postMessage(6 * 7)", { eval: true });
worker.on("message", (answer) => {
  const hash = createHash("sha256").update("hello").digest("hex").slice(0, 8);
  console.log(`Hello from Node ${process.version}; a worker says ${answer}; sha256 of hello begins ${hash}`);
});
