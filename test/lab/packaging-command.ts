// SPDX-License-Identifier: Apache-2.0
// `lab packaging`: kkm/ as it is installed. build.sh is run in every way it can fail before a module is loaded (after
// that: the kkm-load suites), and DKMS adds, builds, installs and removes the module, all for a real kernel's headers.

import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Bind, buildRoot, type ChrootResult, runInBuildRoot } from "./build-root.js";
import { cachePath } from "./cache.js";
import { kernelFiles } from "./kernel-files.js";
import { type Kernel, kernelById, kernels } from "./kernels.js";
import { projectRoot } from "./paths.js";

interface Place {
  readonly root: string;
  readonly binds: readonly Bind[];
  /** The kernel's release and its headers as seen in the root. */
  readonly uname: string;
  readonly headers: string;
}

interface Case {
  readonly what: string;
  /** A line for sh, run in the root where a fresh copy of kkm/ is. */
  readonly line: string;
  readonly status: number;
  /** Must be in the output. */
  readonly says: string;
}

// not /usr/src, which holds the headers here
const sourceTree = "/sources";
const sourceInRoot = `${sourceTree}/kkm-1.0.0`;

/** A build root with DKMS, with scratch directories where DKMS writes; `work` holds them and is the caller's. */
async function openPlace(kernel: Kernel, work: string): Promise<Place> {
  const files = await kernelFiles(kernel);
  const toolchain = await files.toolchain();
  const root = await buildRoot(kernel.release, files.compiler, { name: "dkms", packages: ["dkms"] });
  await cp(join(projectRoot, "kkm"), join(work, "source"), { recursive: true });
  for (const name of ["state", "modules", "destination"]) await mkdir(join(work, name));
  const headers = `/usr/src/linux-headers-${files.uname}`;
  await symlink(headers, join(work, "modules/build"));
  for (const name of ["modules.order", "modules.builtin"]) await writeFile(join(work, "modules", name), "");
  // DKMS writes to the kernel's modules: it gets a directory of its own
  const binds = toolchain.binds.filter(({ to }) => !to.startsWith("/usr/lib/modules/"));
  return {
    root,
    uname: files.uname,
    headers,
    binds: [
      ...binds,
      { from: join(work, "source"), to: sourceInRoot },
      { from: join(work, "state"), to: "/var/lib/dkms" },
      { from: join(work, "modules"), to: `/usr/lib/modules/${files.uname}` },
      { from: join(work, "destination"), to: "/destination" },
    ],
  };
}

/** The headers of a kernel of another release, whose compiler is therefore another; undefined when none is cached. */
async function foreignHeaders(kernel: Kernel): Promise<Bind | undefined> {
  for (const other of kernels) {
    if (other.release === kernel.release || "config" in other) continue;
    const files = await kernelFiles(other);
    if (files.compiler === (await kernelFiles(kernel)).compiler) continue;
    const { binds } = await files.toolchain();
    const sources = binds.find(({ to }) => to === "/usr/src");
    if (sources) return { from: join(sources.from, `linux-headers-${files.uname}`), to: "/foreign" };
  }
  return undefined;
}

function buildCases(place: Place): Case[] {
  const build = `sh build.sh --kernel ${place.uname} --headers ${place.headers}`;
  const bare = "mkdir -p /tmp/bare && ln -sf $(ls -d /usr/bin/* | grep -v '/make$') /tmp/bare";
  return [
    { what: "an argument it does not know", line: "sh build.sh --quick", status: 2, says: "--quick" },
    {
      what: "no headers",
      line: "sh build.sh --kernel 1.2.3-none",
      status: 10,
      says: "linux-headers-1.2.3-none",
    },
    { what: "no compiler", line: `CC=gcc-99 ${build}`, status: 11, says: "gcc-99" },
    {
      what: "headers of a kernel with another compiler",
      line: "sh build.sh --kernel other --headers /foreign",
      status: 11,
      says: "was built with gcc",
    },
    { what: "no make", line: `${bare}; PATH=/tmp/bare ${build}`, status: 12, says: "'make' is missing" },
    {
      what: "a source that does not compile",
      line: `sed -i '$a #error on purpose' main.c; ${build}`,
      status: 13,
      says: "on purpose",
    },
    { what: "everything in place", line: build, status: 0, says: "kkm: built" },
  ];
}

function dkmsCases(place: Place): Case[] {
  const kernel = `-k ${place.uname} --sourcetree ${sourceTree} --kernelsourcedir ${place.headers}`;
  const installed = `/usr/lib/modules/${place.uname}/updates/dkms`;
  const version = "kkm/1.0.0";
  return [
    { what: "dkms add", line: `dkms add ${version} --sourcetree ${sourceTree}`, status: 0, says: "" },
    { what: "dkms build", line: `dkms build ${version} ${kernel}`, status: 0, says: "" },
    { what: "dkms install", line: `dkms install ${version} ${kernel}`, status: 0, says: "" },
    {
      what: "dkms status",
      line: `dkms status ${version} | tr / ' ' | tr -d ,`,
      status: 0,
      says: "installed",
    },
    {
      what: "the installed module is this kernel's",
      line: `modinfo -F vermagic ${installed}/kkm.ko*; ls ${installed}`,
      status: 0,
      says: place.uname,
    },
    {
      what: "the installed copy of the source builds and installs",
      line: `make -C ${sourceInRoot} KDIR=${place.headers} all && make -C ${sourceInRoot} KDIR=${place.headers} DESTDIR=/destination install && find /destination -name 'kkm.ko*'`,
      status: 0,
      says: "kkm.ko",
    },
    {
      what: "dkms remove",
      line: `dkms remove ${version} --all --sourcetree ${sourceTree} && ! ls ${installed}`,
      status: 0,
      says: "",
    },
  ];
}

function verdict(wanted: Case, result: ChrootResult): string | undefined {
  if (result.exitCode !== wanted.status) return `status ${result.exitCode}, expected ${wanted.status}`;
  if (!result.output.includes(wanted.says)) return `does not say "${wanted.says}"`;
  return undefined;
}

/** @returns 0 when every case ended as it should, else 1 */
export async function packagingCommand(kernelId: string): Promise<number> {
  const kernel = kernelById(kernelId);
  await mkdir(cachePath("tmp"), { recursive: true });
  const work = await mkdtemp(cachePath("tmp", "packaging-"));
  let failed = 0;
  try {
    const place = await openPlace(kernel, work);
    const foreign = await foreignHeaders(kernel);
    const run = async (one: Case, line: string) => {
      const binds = [...place.binds, ...(foreign ? [foreign] : [])];
      const result = await runInBuildRoot(place.root, binds, ["sh", "-c", line]);
      const wrong = verdict(one, result);
      if (wrong) failed++;
      const last = result.output.trimEnd().split("\n").at(-1) ?? "";
      process.stdout.write(`${wrong ? "FAIL" : "pass"} ${one.what}: status ${result.exitCode}: ${last}\n`);
      if (wrong) process.stdout.write(`     ${wrong}\n${result.output}\n`);
    };
    for (const one of buildCases(place)) {
      const copy = `rm -rf /tmp/kkm && cp -r ${sourceInRoot} /tmp/kkm && cd /tmp/kkm && { ${one.line}; }`;
      await run(one, copy);
    }
    for (const one of dkmsCases(place)) await run(one, one.line);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  process.stdout.write(`${failed === 0 ? "all cases end as they should" : `${failed} failed`}\n`);
  return failed === 0 ? 0 : 1;
}
