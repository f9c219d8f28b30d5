// SPDX-License-Identifier: Apache-2.0
// Plans on hosts with DKMS. What DKMS makes of them is seen in the lab (install-dkms), with a real one.
import { readFile } from "node:fs/promises";
import test, { type ExecutionContext } from "ava";
import { sourceStamp } from "../../src/installer/detect/build.js";
import { KERNEL_HOOKS } from "../../src/installer/etc.js";
import type { HostFacts } from "../../src/installer/facts.js";
import { DKMS_SOURCE, DKMS_VERSION } from "../../src/installer/kkm-scripts.js";
import { type Plan, plan } from "../../src/installer/plan/plan.js";
import type { RunStep } from "../../src/installer/plan/steps.js";
import { bundleFile, host, PREFIX } from "./fixtures.js";

/** A machine without hardware virtualization, with DKMS and with headers for its kernel. */
function dkmsHost(kkm: Partial<HostFacts["kkm"]> = {}): HostFacts {
  const files = [
    bundleFile("bin/km"),
    bundleFile("kkm/main.c"),
    bundleFile("kkm/dkms.conf"),
    bundleFile("kkm/include/uapi/kkm.h"),
    bundleFile("kkm/60-kkm.rules"),
  ];
  return host({
    user: { uid: 0, name: "root", groups: [] },
    cpu: { ...host().cpu, virtualization: "none" },
    devices: [{ path: "/dev/kvm", state: "absent", evidence: "no such file" }],
    bundle: { version: "0.1.0", files, missing: [] },
    prefix: {
      ...host().prefix,
      targets: files.map(({ target }) => ({ target, state: "absent" as const })),
    },
    kkm: { ...host().kkm, dkms: "/usr/sbin/dkms", ...kkm },
  });
}

function planned(t: ExecutionContext, facts: HostFacts): Plan {
  const decided = plan(facts, { prefix: PREFIX });
  if (decided.kind === "refusal") return t.fail(decided.reason) as never;
  return decided;
}

const runs = ({ steps }: Plan) => steps.filter((step): step is RunStep => step.kind === "run");
const paths = ({ steps }: Plan) => steps.flatMap((step) => (step.kind === "run" ? [] : [step.path]));

test("the version is the one of dkms.conf", async (t) => {
  const conf = await readFile(new URL("../../kkm/dkms.conf", import.meta.url), "utf8");
  t.is(/^PACKAGE_VERSION="(.*)"$/m.exec(conf)?.[1], DKMS_VERSION);
});

test("sources go to /usr/src, folders before files and the stamp last; then they are registered and built", (t) => {
  const decided = planned(t, dkmsHost());
  t.deepEqual(
    paths(decided).filter((path) => path.startsWith("/usr/src")),
    [
      "",
      "/include",
      "/include/uapi",
      "/main.c",
      "/dkms.conf",
      "/include/uapi/kkm.h",
      "/60-kkm.rules",
      "/stamp",
    ].map((name) => DKMS_SOURCE + name),
  );
  t.deepEqual(
    runs(decided).map(({ name }) => name),
    ["group", "register", "build", "load"],
  );
  const own = [...KERNEL_HOOKS.debian, ...KERNEL_HOOKS.fedora, `${PREFIX}/kkm/rebuild.sh`];
  t.deepEqual(
    paths(decided).filter((path) => own.includes(path)),
    [],
    "nothing of our own way",
  );
  t.false(decided.notes.some((note) => /after a kernel upgrade/.test(note)));
});

test("what DKMS has already is not planned again", (t) => {
  const facts = dkmsHost({ registered: [DKMS_VERSION], group: [], loaded: true });
  facts.kkm.sources = sourceStamp(facts.bundle.files);
  for (const build of facts.build) build.module = "current";
  const names = runs(planned(t, facts)).map(({ name }) => name);
  t.deepEqual(names, ["load"], "the device did not work, so it is loaded");
  facts.build[0] = { ...(facts.build[0] as HostFacts["build"][0]), module: "absent" };
  t.deepEqual(
    runs(planned(t, facts)).map(({ name }) => name),
    ["build", "load"],
  );
});

test("other sources of the same version leave DKMS before they are replaced, and come back with them", (t) => {
  const facts = dkmsHost({ registered: [DKMS_VERSION], sources: "another" });
  const { steps } = planned(t, facts);
  const out = steps.findIndex((step) => step.kind === "run" && / out of DKMS/.test(step.title));
  const first = steps.findIndex((step) => step.kind === "file" && step.path.startsWith(DKMS_SOURCE));
  const again = steps.findIndex((step) => step.kind === "run" && /^register/.test(step.title));
  t.true(out >= 0 && out < first && first < again);
  const left = steps[out] as RunStep;
  t.deepEqual(left.undo?.slice(-2), [DKMS_VERSION, facts.kernel.release]);
});

test("a hook of an earlier installation stays the one way: nothing is built twice", (t) => {
  const facts = dkmsHost();
  facts.etc = { [KERNEL_HOOKS.debian[0]]: "#!/bin/sh\n" };
  const decided = planned(t, facts);
  t.false(runs(decided).some(({ name }) => name === "register"));
  t.true(paths(decided).includes(`${PREFIX}/kkm/rebuild.sh`));
});

test("a release is an argument of the scripts, never part of their text", (t) => {
  const facts = dkmsHost({ registered: ["1.0.0"], sources: "another" });
  const release = "6.1.0-$(touch /tmp/owned)";
  facts.build[0] = { ...(facts.build[0] as HostFacts["build"][0]), release };
  for (const step of runs(planned(t, facts))) {
    for (const argv of [step.argv, step.undo ?? []]) {
      if (argv[1] === "-c") t.false(argv[2]?.includes("owned"), step.title);
    }
  }
});
