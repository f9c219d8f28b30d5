// SPDX-License-Identifier: Apache-2.0
// What a launch needs to be there: the monitor, a device, the program, and the host's own tools.
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { MonitorError } from "./errors.js";

/** In the order they are tried, as km does (native/driver/driver.h, kDeviceSearchOrder). */
const DEVICES = ["/dev/kontain", "/dev/kvm", "/dev/kkm"];
/** Where util-linux and a shell are, whatever PATH the payload is to have. */
export const TOOL_PATH = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/** Where this package is: sources and compiled files are both two folders below it. */
export const ROOT = join(dirname(fileURLToPath(import.meta.url)), "../..");
/** Where native things are built: KONTAIN_BUILD_DIR, then this package's own. */
export const BUILDS = [process.env.KONTAIN_BUILD_DIR, join(ROOT, "build")].filter(
  (path) => path !== undefined,
);

function may(path: string, rights: number): boolean {
  try {
    accessSync(path, rights);
    return true;
  } catch {
    return false;
  }
}

/** Path of km. @throws MonitorError ERR_KM_NO_MONITOR */
export function findMonitor(wanted?: string): string {
  const usual = [
    process.env.KONTAIN_KM,
    ...BUILDS.map((build) => join(build, "bin/km")),
    "/opt/kontain/bin/km",
  ];
  const found = (wanted ? [wanted] : usual).find((path) => path && existsSync(path));
  if (found) return resolve(found);
  const why = wanted ? `there is no ${wanted}` : "km is neither built nor installed; run kontain-install";
  throw new MonitorError("ERR_KM_NO_MONITOR", `no monitor: ${why}`);
}

/** Path of a device this user may open. @throws MonitorError ERR_KM_NO_DEVICE */
export function findDevice(wanted?: string): string {
  const present = (wanted ? [wanted] : DEVICES).filter((path) => existsSync(path));
  const devices = present.filter((path) => statSync(path).isCharacterDevice());
  const usable = devices.find((path) => may(path, constants.R_OK | constants.W_OK));
  if (usable) return usable;
  let why = `${wanted ?? DEVICES.join(", ")} is not there`;
  if (devices.length > 0) why = `no permission for ${devices[0]}`;
  else if (present.length > 0) why = `${present[0]} is no device`;
  throw new MonitorError("ERR_KM_NO_DEVICE", `${why}; \`kontain doctor\` says what to do`);
}

/** The file execvp(3) would run. @throws MonitorError ERR_KM_NOT_EXECUTABLE */
export function findProgram(program: string, path: string): string {
  const candidates = program.includes("/")
    ? [program]
    : path.split(delimiter).map((directory) => join(directory, program));
  const found = candidates.find((file) => may(file, constants.X_OK) && statSync(file).isFile());
  if (found) return resolve(found);
  throw new MonitorError("ERR_KM_NOT_EXECUTABLE", `'${program}' is not an executable file`);
}

/** Path of a program of the host's own that limits need. @throws MonitorError ERR_KM_LIMIT */
export function findTool(name: string): string {
  const found = TOOL_PATH.map((directory) => join(directory, name)).find((file) => may(file, constants.X_OK));
  if (found) return found;
  throw new MonitorError("ERR_KM_LIMIT", `limits need ${name}, which is not in ${TOOL_PATH.join(", ")}`);
}
