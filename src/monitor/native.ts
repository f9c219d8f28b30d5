// SPDX-License-Identifier: Apache-2.0
// Finds and loads the Node addon (native/binding).
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type * as Native from "../../native/binding/index.js";

export type {
  Access,
  Capabilities,
  Driver,
  DriverError,
  DriverProbe,
  Exit,
  GuestMemory,
  Machine,
  RegisterName,
  Registers,
  Vcpu,
} from "../../native/binding/index.js";

/** Where this package is: sources and compiled files are both two folders below it. */
const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** Files of the addon, in the order they are tried. */
function candidates(): string[] {
  const build = process.env.KONTAIN_BUILD_DIR;
  return [
    ...(build ? [join(build, "Release/kontain_native.node")] : []),
    join(ROOT, "build/Release/kontain_native.node"),
    join(ROOT, "build/bin/kontain_native.node"),
  ];
}

let loaded: typeof Native | undefined;

/**
 * The addon. Loaded at the first call; throws an Error with code ERR_KM_NO_ADDON when it is not built.
 */
export function native(): typeof Native {
  if (loaded) return loaded;
  const file = candidates().find((path) => existsSync(path));
  if (!file) {
    const error = new Error("the native addon is not built: run `npm run build:native`");
    throw Object.assign(error, { code: "ERR_KM_NO_ADDON" });
  }
  loaded = createRequire(import.meta.url)(file) as typeof Native;
  return loaded;
}
