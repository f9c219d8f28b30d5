// Runs untrusted Python snippets, each in a virtual machine of its own, and says what became of them.
// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { launch } from "../../dist/monitor/index.js"; // installed: "kontain-install/monitor"

const snippets = {
  "a good one": "print(sum(range(10)))",
  "an endless loop": "while True: pass",
  "a memory hog": "x = []\nwhile True: x.append(bytearray(1 << 20))",
  "a thief": "print(open('/etc/shadow').read())",
};

for (const [name, code] of Object.entries(snippets)) {
  const machine = await launch("/usr/bin/python3", ["-I", "-c", code], {
    env: { LANG: "C.UTF-8" },
    timeout: 5_000, // milliseconds
    memoryLimit: 128 << 20, // bytes
    files: { read: ["/usr", "/lib", "/lib64", "/etc/ld.so.cache"].filter((path) => existsSync(path)) },
    network: false,
  });
  let output = "";
  machine.stdout.on("data", (chunk) => (output += chunk));
  machine.stderr.on("data", (chunk) => (output += chunk));
  const { reason, status, durationMs } = await machine.wait();
  const verdicts = { exited: status === 0 ? "fine" : "failed", timeout: "too slow", memory: "too big" };
  console.log(
    `${name}: ${verdicts[reason] ?? reason} (${reason}, status ${status}, ${Math.round(durationMs)} ms)`,
  );
  console.log(`    ${output.trim().split("\n").at(-1) || "(no output)"}`);
  await machine[Symbol.asyncDispose](); // "await using" where the language has it
}
