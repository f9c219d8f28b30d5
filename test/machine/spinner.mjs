// SPDX-License-Identifier: Apache-2.0
// A process or worker with spinning vCPUs. As a process: DEVICE exit|idle|spin. Plain JavaScript: workers need no loader.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, workerData } from "node:worker_threads";

const root = fileURLToPath(new URL("../..", import.meta.url));
const addon = [process.env.KONTAIN_BUILD_DIR, join(root, "build")]
  .filter(Boolean)
  .map((dir) => join(dir, "Release/kontain_native.node"))
  .find((path) => existsSync(path));
const native = createRequire(import.meta.url)(addon);

const device = isMainThread ? process.argv[2] : workerData.device;
const mode = isMainThread ? process.argv[3] : "spin";
const machine = native.openDriver(device).createMachine();
const code = machine.mapMemory({ size: 4096, access: "rx" });
new Uint8Array(code.buffer).set([0xeb, 0xfe]);
for (let i = 0; i < (workerData?.vcpus ?? 1); i++) {
  const vcpu = machine.createVcpu();
  vcpu.registers = { rip: code.address };
  if (mode === "idle") continue;
  vcpu.run().catch(() => {});
}
setTimeout(() => {
  if (mode === "exit") process.exit(7);
  if (mode === "spin" && isMainThread) console.log("spinning");
  parentPort?.postMessage("spinning");
}, 20);
