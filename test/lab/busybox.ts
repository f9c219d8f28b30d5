// SPDX-License-Identifier: Apache-2.0

import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { closure, unpack } from "./apt.js";
import { buildOnce, cachePath } from "./cache.js";
import { Unavailable } from "./errors.js";

/** The busybox of the lab's initramfs, static, from Debian's package. */
export async function busybox(): Promise<string> {
  const directory = cachePath("busybox");
  await buildOnce(directory, async (partial) => {
    await unpack("bookworm", await closure("bookworm", ["busybox-static"], () => false), partial);
  });
  for (const place of ["bin/busybox", "usr/bin/busybox"]) {
    if (existsSync(join(directory, place))) return join(directory, place);
  }
  throw new Unavailable(`busybox-static has no busybox: ${(await readdir(directory)).join(" ")}`);
}
