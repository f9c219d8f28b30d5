// SPDX-License-Identifier: Apache-2.0
// Which programs this machine has.
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Full path of a command of PATH, or of a path that can be executed; undefined when it is not here. */
export function find(command: string): string | undefined {
  const folders = command.includes("/") ? [""] : (process.env.PATH ?? "").split(delimiter);
  for (const folder of folders) {
    const path = join(folder, command);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not in this one
    }
  }
  return undefined;
}
