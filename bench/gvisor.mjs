// SPDX-License-Identifier: Apache-2.0
// node gvisor.mjs PROGRAM ARGS...: the program under runsc (ptrace, the host's network and files), until SIGTERM.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const RUNSC = ["-platform", "ptrace", "-network", "host", "-ignore-cgroups"];
const bundle = mkdtempSync(join(tmpdir(), "kontain-gvisor-"));
const id = `kontain-bench-${process.pid}`;

const config = {
  ociVersion: "1.0.0",
  process: {
    user: { uid: 0, gid: 0 },
    args: process.argv.slice(2),
    env: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
    cwd: process.cwd(),
    capabilities: Object.fromEntries(
      ["bounding", "effective", "permitted"].map((set) => [set, ["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN"]]),
    ),
  },
  root: { path: "/", readonly: true },
  mounts: [
    { destination: "/proc", type: "proc", source: "proc" },
    { destination: "/dev", type: "tmpfs", source: "tmpfs" },
    { destination: tmpdir(), type: "bind", source: tmpdir(), options: ["rbind", "rw"] },
  ],
  linux: { namespaces: [{ type: "pid" }, { type: "mount" }] },
};
writeFileSync(join(bundle, "config.json"), JSON.stringify(config));

const child = spawn("runsc", [...RUNSC, "run", "--bundle", bundle, id], { stdio: "inherit" });
process.on("SIGTERM", () =>
  execFileSync("runsc", ["-ignore-cgroups", "kill", id, "KILL"], { stdio: "ignore" }),
);
child.on("error", (error) => {
  console.error(`runsc: ${error.message}`);
  process.exitCode = 127;
});
child.on("close", (code) => {
  rmSync(bundle, { recursive: true, force: true });
  process.exitCode = code ?? 1;
});
