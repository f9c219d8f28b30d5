// SPDX-License-Identifier: Apache-2.0
// Finds and loads the Node addon (native/binding).
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type * as Native from "../../native/binding/index.js";
import { MonitorError } from "./errors.js";
import { BUILDS } from "./find.js";

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

/** Files of the addon, in the order they are tried. */
const candidates = () => BUILDS.map((build) => join(build, "Release/kontain_native.node"));

let loaded: typeof Native | undefined;

/**
 * The addon. Loaded at the first call.
 * @throws MonitorError ERR_KM_NO_ADDON when it is not built
 */
export function native(): typeof Native {
  if (loaded) return loaded;
  const file = candidates().find((path) => existsSync(path));
  if (!file)
    throw new MonitorError("ERR_KM_NO_ADDON", "the native addon is not built: run `npm run build:native`");
  loaded = createRequire(import.meta.url)(file) as typeof Native;
  return loaded;
}
