// SPDX-License-Identifier: Apache-2.0
// Looks at the host and changes nothing (the payload runs, and leaves nothing behind).
import { join } from "node:path";
import { exists, type Host, realHost } from "../../base/host.js";
import { HELLO, MONITOR, readBundle } from "../bundle.js";
import { ETC_FILES, ETC_FOLDERS } from "../etc.js";
import { type BundleFile, DEVICE_SEARCH, type DeviceFacts, type HostFacts, type Wishes } from "../facts.js";
import { detectBuild, missingTools, sourceStamp } from "./build.js";
import { lookAtDevice, type Prover, payloadProver } from "./device.js";
import { detectEngines } from "./engines.js";
import { type GuestProof, probeGuests } from "./guest-probe.js";
import { installedKernels, newestKernel, parseKernel } from "./kernel.js";
import { detectKkm } from "./kkm.js";
import { detectMachine } from "./machine.js";
import { detectPrefix } from "./prefix.js";
import { detectSecurity } from "./security.js";
import {
  detectContainer,
  detectDistro,
  detectPackages,
  parseCgroup,
  parseCpu,
  parseMemory,
  wslOf,
} from "./system.js";

/** What a test puts in the place of the real machine. */
export interface DetectDoors {
  host: Host;
  prover: Prover;
  bundle: HostFacts["bundle"];
  prefix: (path: string, files: BundleFile[]) => Promise<HostFacts["prefix"]>;
}

/** Told of facts as they are found. */
export type OnFacts = (found: Partial<HostFacts>) => void;

/** This machine and this package. */
export async function realDoors(): Promise<DetectDoors> {
  const bundle = await readBundle();
  const built = (target: string) => bundle.files.find((file) => file.target === target)?.source;
  const [monitor, hello] = [built(MONITOR), built(HELLO)];
  let guests: Promise<GuestProof[] | undefined> | undefined;
  const prover: Prover = {
    guest: async (path) => {
      guests ??= probeGuests();
      return (await guests)?.find((proof) => proof.path === path);
    },
    payload: payloadProver(monitor && hello ? { monitor, hello } : undefined),
  };
  return { host: await realHost(), prover, bundle, prefix: detectPrefix };
}

async function detectDevices(host: Host, wishes: Wishes, prover: Prover): Promise<DeviceFacts[]> {
  const devices = [];
  for (const path of wishes.device ? [wishes.device] : DEVICE_SEARCH) {
    const facts = await lookAtDevice(host, path, prover);
    devices.push(facts);
    if (facts.state === "works" && !wishes.everyDevice) break;
  }
  return devices;
}

async function detectCompiler(host: Host): Promise<string | null> {
  const said = await host.run("cc", "--version");
  return said?.status === 0 ? (said.stdout.split("\n")[0] ?? null) : null;
}

async function detectKernels(host: Host): Promise<HostFacts["kernel"]> {
  const installed = await installedKernels(host);
  return { ...parseKernel(host.release), installed, newest: newestKernel(host.release, installed) };
}

async function readEtc(host: Host, prefix: string): Promise<HostFacts["etc"]> {
  const made = ["kkm/rebuild.sh", "kkm/stamp"].map((name) => join(prefix, name));
  const entries = await Promise.all(
    [...ETC_FILES, ...made].map(async (path) => [path, (await host.readFile(path)) ?? null] as const),
  );
  return Object.fromEntries(entries);
}

async function foldersThere(host: Host, kernels: HostFacts["kernel"], prefix: string): Promise<string[]> {
  const updates = [kernels.release, kernels.newest].map((release) => `/lib/modules/${release}/updates`);
  const asked = [...new Set([...ETC_FOLDERS, ...updates, join(prefix, "kkm/built")])];
  const there = await Promise.all(asked.map((path) => exists(host, path)));
  return asked.filter((_, index) => there[index]);
}

async function detectMachineFacts(host: Host, wishes: Wishes) {
  const cpu = parseCpu((await host.readFile("/proc/cpuinfo")) ?? "");
  const wsl = wslOf(host.release, (await host.readFile("/proc/version")) ?? "");
  return { cpu, wsl, machine: await detectMachine(host, cpu, wsl, wishes.offline ?? false) };
}

/** Everything plan() needs to know about this host; `found` hears of each part as it comes. */
export async function detect(
  wishes: Wishes,
  found: OnFacts = () => {},
  given?: DetectDoors,
): Promise<HostFacts> {
  const { host, prover, bundle, prefix } = given ?? (await realDoors());
  const told = async <Part extends Partial<HostFacts>>(work: Promise<Part>): Promise<Part> => {
    const part = await work;
    found(part);
    return part;
  };
  const only = <Key extends keyof HostFacts>(key: Key, work: Promise<HostFacts[Key]>) =>
    told(work.then((value) => ({ [key]: value }) as Pick<HostFacts, Key>));
  const kernels = detectKernels(host);
  const parts = await Promise.all([
    only("distro", detectDistro(host)),
    only("kernel", kernels),
    told(detectMachineFacts(host, wishes)),
    only("container", detectContainer(host)),
    only("security", detectSecurity(host)),
    only(
      "build",
      kernels.then(({ release, newest }) =>
        detectBuild(host, [release, newest], wishes.prefix, sourceStamp(bundle.files)),
      ),
    ),
    only("missingTools", missingTools(host)),
    only("kkm", detectKkm(host)),
    only("engines", detectEngines(host)),
    only("packages", detectPackages(host)),
    only("devices", detectDevices(host, wishes, prover)),
    only("prefix", prefix(wishes.prefix, bundle.files)),
    only("compiler", detectCompiler(host)),
    only("etc", readEtc(host, wishes.prefix)),
    only(
      "folders",
      kernels.then((known) => foldersThere(host, known, wishes.prefix)),
    ),
    only(
      "cgroup",
      host.readFile("/proc/mounts").then((text) => parseCgroup(text ?? "")),
    ),
    only(
      "memory",
      host.readFile("/proc/meminfo").then((text) => parseMemory(text ?? "")),
    ),
  ]);
  const base = { platform: host.platform, arch: host.arch, user: host.user, bundle };
  return Object.assign(base, ...parts) as HostFacts;
}
