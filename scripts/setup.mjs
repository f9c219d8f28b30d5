#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Gets the distribution packages that building and testing need: `setup.mjs build test`. Says which. Installs them
// when root on a system with apt; otherwise prints the one line to run and exits 1. KONTAIN_NO_APT=1 keeps it from
// installing anything.
import { spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { aptLine, missing, NEEDS, which } from "./packages.mjs";

function apt(args) {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const done = spawnSync("apt-get", ["-q", "-o", "DPkg::Lock::Timeout=300", ...args], {
    env,
    encoding: "utf8",
  });
  return { ok: done.status === 0, output: `${done.stdout ?? ""}${done.stderr ?? ""}${done.error ?? ""}` };
}

/** Makes what `purposes` need present. Returns true when it is; prints what it did or what a person has to do. */
export function setup(purposes, { quiet = false } = {}) {
  let needs = missing(...purposes);
  if (needs.length === 0) {
    if (!quiet) console.log(`setup: everything for ${purposes.join(" and ")} is here`);
    return true;
  }
  for (const need of needs) console.error(`setup: missing ${need.command ?? need.file}: ${need.why}`);
  if (process.getuid() !== 0 || !which("apt-get") || process.env.KONTAIN_NO_APT === "1") {
    console.error(
      `setup: run this, then try again:  ${process.getuid() === 0 ? "" : "sudo "}${aptLine(needs)}`,
    );
    return false;
  }
  console.error(`setup: ${aptLine(needs)}`);
  const names = [...new Set(needs.map((need) => need.apt))];
  let done = apt(["install", "-y", "--no-install-recommends", ...names]);
  if (!done.ok) {
    // A fresh machine has no package lists yet.
    apt(["update"]);
    done = apt(["install", "-y", "--no-install-recommends", ...names]);
  }
  needs = missing(...purposes);
  if (needs.length === 0) return true;
  console.error(done.output.trim().split("\n").slice(-8).join("\n"));
  console.error(
    `setup: apt-get did not bring ${needs.map((need) => need.apt).join(", ")}; the lines above say why`,
  );
  return false;
}

if (import.meta.url === pathToFileURL(realpathSync(process.argv[1])).href) {
  const purposes = process.argv.slice(2);
  const unknown = purposes.find((purpose) => !Object.hasOwn(NEEDS, purpose));
  if (unknown !== undefined) {
    console.error(`setup: no purpose is called ${unknown}; there are ${Object.keys(NEEDS).join(", ")}`);
    process.exit(2);
  }
  process.exit(setup(purposes.length > 0 ? purposes : ["build", "test"]) ? 0 : 1);
}
