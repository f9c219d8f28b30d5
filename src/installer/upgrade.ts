// SPDX-License-Identifier: Apache-2.0
// Upgrades an installation from a package in a file, such as `npm pack` makes. The file is read, checked and unpacked
// beside everything else; from there on it is an installation like any other, through the same journal.
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import semver from "semver";
import { errorCode } from "../base/files.js";
import { readJournal } from "./apply/journal.js";
import { ArchiveError, inflate, readTar } from "./archive.js";
import { isContent, readBundle } from "./bundle.js";
import { detect, realDoors } from "./detect/detect.js";
import type { HostFacts } from "./facts.js";
import { ending, type InstallOptions, install, problemOf, stopped } from "./install.js";
import { type Problem, problem } from "./reasons.js";
import type { Outcome } from "./ui/events.js";

export interface UpgradeOptions extends Omit<InstallOptions, "version"> {
  /** The package. */
  file: string;
  /** What its SHA-256 has to be, in hex; without it FILE.sha256 is looked at, where there is one. */
  sha256?: string;
}

/** The largest file that is read, in bytes. */
const MOST = 256 << 20;

class Stopped extends Error {
  constructor(readonly problem: Problem) {
    super(problem.evidence);
  }
}

const stop = (id: "upgrade-file" | "upgrade-checksum" | "upgrade-older", evidence: string) =>
  new Stopped(problem(id, evidence));

async function readWhole(file: string): Promise<Buffer> {
  try {
    const { size } = await stat(file);
    if (size > MOST) throw stop("upgrade-file", `${file}: larger than ${MOST >> 20} MiB`);
    return await readFile(file);
  } catch (error) {
    if (errorCode(error)) throw stop("upgrade-file", `${file}: ${(error as Error).message}`);
    throw error;
  }
}

/** The sum beside the file, as sha256sum(1) writes it. */
async function sumBeside(file: string): Promise<string | undefined> {
  const said = await readFile(`${file}.sha256`, "utf8").catch(() => undefined);
  if (said === undefined) return undefined;
  const sum = /^\\?([0-9a-f]{64})(?:\s|$)/i.exec(said)?.[1];
  if (!sum) throw stop("upgrade-checksum", `${file}.sha256: holds no SHA-256`);
  return sum;
}

async function checkSum(file: string, content: Buffer, given: string | undefined): Promise<void> {
  const wanted = (given ?? (await sumBeside(file)))?.toLowerCase();
  const sum = createHash("sha256").update(content).digest("hex");
  if (wanted !== undefined && sum !== wanted) {
    throw stop("upgrade-checksum", `${file}: its SHA-256 is ${sum}, not ${wanted}`);
  }
}

/** What the system says to names that no folder can hold side by side. */
const NAME_ERRORS = ["EEXIST", "ENOTDIR", "EISDIR", "ENAMETOOLONG"];

/** Puts the files of a package that go onto a host into `folder`. */
async function unpack(files: Map<string, Uint8Array>, folder: string): Promise<void> {
  for (const [path, content] of files) {
    if (path !== "package.json" && !isContent(path)) continue;
    const target = join(folder, path);
    try {
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, content, { mode: 0o700, flag: "wx" });
    } catch (error) {
      if (!NAME_ERRORS.includes(errorCode(error) ?? "")) throw error;
      throw new ArchiveError(
        `${JSON.stringify(path.slice(0, 100))} in it cannot be unpacked beside the others`,
      );
    }
  }
}

function checkPackage(file: string, manifest: Uint8Array | undefined, installed: string): void {
  let read: { name?: unknown; version?: unknown } | null = null;
  try {
    read = JSON.parse(Buffer.from(manifest ?? []).toString("utf8"));
  } catch {
    // told below
  }
  const version = typeof read?.version === "string" ? semver.valid(read.version) : null;
  if (read?.name !== "kontain-install" || !version) {
    throw stop("upgrade-file", `${file}: it is no package of kontain-install`);
  }
  if (semver.valid(installed) && semver.lt(version, installed)) {
    throw stop("upgrade-older", `${file}: it is ${version}, and ${installed} is installed`);
  }
}

/** Reads the package into `folder`. */
async function stage(
  options: UpgradeOptions,
  installed: string,
  folder: string,
): Promise<HostFacts["bundle"]> {
  const { file } = options;
  const content = await readWhole(file);
  await checkSum(file, content, options.sha256);
  try {
    const files = readTar(await inflate(content));
    checkPackage(file, files.get("package.json"), installed);
    await unpack(files, folder);
  } catch (error) {
    if (error instanceof ArchiveError) throw stop("upgrade-file", `${file}: ${error.message}`);
    throw error;
  }
  const bundle = await readBundle(folder);
  if (bundle.missing.length > 0) {
    throw stop("upgrade-file", `${file}: it lacks ${bundle.missing.join(", ")}`);
  }
  return bundle;
}

/** The package, unpacked in a folder that the caller removes. */
async function staged(options: UpgradeOptions, folder: string, installed: string) {
  try {
    return await stage(options, installed, folder);
  } catch (error) {
    if (error instanceof Stopped) return error.problem;
    const found = problemOf(error);
    return { ...found, evidence: `${folder}: ${found.evidence}` };
  }
}

/** Installs what was unpacked, on the device that the installation has. */
function installStaged(
  options: UpgradeOptions,
  bundle: HostFacts["bundle"],
  installedDevice: string,
): Promise<Outcome> {
  const { wishes } = options;
  const own = options.doors?.detect;
  return install({
    ...options,
    wishes: { ...wishes, device: wishes.device ?? installedDevice },
    version: bundle.version,
    doors: {
      ...options.doors,
      detect: async (asked, found) =>
        own
          ? { ...(await own(asked, found)), bundle }
          : detect(asked, found, { ...(await realDoors()), bundle }),
    },
  });
}

/** The installation in a prefix, the problem with its journal, or undefined where there is none. */
async function installedIn(prefix: string) {
  try {
    const last = (await readJournal(prefix))?.findLast((record) => record.type === "verified");
    return last?.type === "verified" ? last : undefined;
  } catch (error) {
    return problemOf(error);
  }
}

/** Upgrades. Everything it has to say goes to the reporter; the outcome is also returned. */
export async function upgrade(options: UpgradeOptions): Promise<Outcome> {
  const { report } = options;
  const { prefix } = options.wishes;
  const stop = (found: Problem) => stopped({ report, prefix }, "upgraded", found);
  const installed = await installedIn(prefix);
  if (!installed) {
    const none = `nothing is installed in ${prefix}`;
    return ending(report, prefix)("nothing-installed", none, "npx kontain-install installs it");
  }
  if ("id" in installed) return stop(installed);
  let folder: string;
  try {
    folder = await mkdtemp(join(tmpdir(), "kontain-upgrade-"));
  } catch (error) {
    return stop(problemOf(error));
  }
  try {
    const bundle = await staged(options, folder, installed.version);
    if ("id" in bundle) return await stop(bundle);
    return await installStaged(options, bundle, installed.device);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
