// SPDX-License-Identifier: Apache-2.0
import { readFile } from "node:fs/promises";
import test, { type ExecutionContext } from "ava";
import type { DeviceFacts, HostFacts } from "../../src/installer/facts.js";
import { accessFix } from "../../src/installer/plan/access.js";
import { type Plan, plan, type Refusal } from "../../src/installer/plan/plan.js";
import { withReasons } from "../../src/installer/reasons-table.js";
import { bundleFile, host, kernelFacts, PREFIX } from "./fixtures.js";

const wishes = { prefix: PREFIX };

function planned(t: ExecutionContext, facts: HostFacts): Plan {
  const decided = plan(facts, wishes);
  if (decided.kind === "refusal") return t.fail(`refused: ${decided.reason}`) as never;
  return decided;
}

function refused(t: ExecutionContext, facts: HostFacts, code: Refusal["code"]): Refusal {
  const decided = plan(facts, wishes);
  if (decided.kind !== "refusal") return t.fail("not refused") as never;
  t.is(decided.code, code);
  t.false(decided.remedy === "");
  return decided;
}

const pathOf = (step: Plan["steps"][number]) => (step.kind === "run" ? step.name : step.path);

const kvm = (changes: Partial<DeviceFacts>) =>
  host({
    devices: [{ path: "/dev/kvm", state: "absent", evidence: "seen", access: "0660 root:kvm", ...changes }],
  });

test("an empty host gets folders before the files in them", (t) => {
  const decided = planned(t, host());
  t.is(decided.device, "/dev/kvm");
  t.deepEqual(
    decided.steps.map((step) => `${step.kind} ${pathOf(step)}`),
    [
      "folder /opt/kontain/bin",
      "folder /opt/kontain/tests",
      "file /opt/kontain/bin/km",
      "file /opt/kontain/tests/hello_test.km",
    ],
  );
});

test("outer folders come first", (t) => {
  const files = [bundleFile("a/b/c/file")];
  const base = host();
  const facts = host({
    bundle: { ...base.bundle, files },
    prefix: { ...base.prefix, targets: [{ target: "a/b/c/file", state: "absent" }] },
  });
  t.deepEqual(planned(t, facts).steps.map(pathOf), [
    "/opt/kontain/a",
    "/opt/kontain/a/b",
    "/opt/kontain/a/b/c",
    "/opt/kontain/a/b/c/file",
  ]);
});

test("what is already there needs no step", (t) => {
  const facts = host();
  for (const target of facts.prefix.targets) target.state = "same";
  t.deepEqual(planned(t, facts).steps, []);
});

test("an upgrade replaces what differs and removes what is no longer shipped", (t) => {
  const facts = host();
  facts.prefix.targets = [
    { target: "bin/km", state: "outdated" },
    { target: "tests/hello_test.km", state: "same" },
  ];
  facts.prefix.obsolete = ["bin/gone"];
  const decided = planned(t, facts);
  t.deepEqual(
    decided.steps.map((step) => `${step.kind} ${pathOf(step)}`),
    ["remove /opt/kontain/bin/gone", "folder /opt/kontain/bin", "file /opt/kontain/bin/km"],
  );
  t.deepEqual(decided.notes, []);
});

test("a file of ours that somebody has changed is replaced, and said to be; others' are not", (t) => {
  const facts = host();
  facts.prefix.targets = [
    { target: "bin/km", state: "foreign" },
    { target: "tests/hello_test.km", state: "absent" },
  ];
  const { notes } = planned(t, facts);
  t.is(notes.length, 1);
  t.regex(notes[0] ?? "", /^\/opt\/kontain\/bin\/km is replaced/);
  facts.prefix.foreign = true;
  t.regex(refused(t, facts, "prefix-foreign").reason, /^\/opt\/kontain\/bin\/km is somebody else's/);
});

test("the device asked for is the one taken", (t) => {
  const facts = host({
    devices: [
      { path: "/dev/kvm", state: "works", evidence: "" },
      { path: "/dev/kkm", state: "works", evidence: "" },
    ],
  });
  const decided = plan(facts, { prefix: PREFIX, device: "/dev/kkm" });
  t.is(decided.kind === "plan" && decided.device, "/dev/kkm");
});

test("another system or processor is refused", (t) => {
  t.regex(refused(t, host({ arch: "arm64" }), "host-platform").reason, /arm64/);
  refused(t, host({ platform: "darwin" }), "host-platform");
});

test("kernels before 4.15 are refused; those before 5.10 run on a device that works", (t) => {
  const kernel = (release: string) => host({ kernel: kernelFacts(release) });
  t.regex(refused(t, kernel("4.14.355"), "kernel-too-old").reason, /4\.14\.355/);
  planned(t, kernel("4.15.0-213-generic"));
  planned(t, kernel("5.4.0"));
});

test("what is not built names itself; the way out depends on the compiler", (t) => {
  const bundle = { version: "0.1.0", files: [], missing: ["build/bin/km"] };
  const built = refused(t, host({ bundle }), "bundle-missing");
  t.regex(built.reason, /build\/bin\/km/);
  t.regex(built.remedy, /npm run build/);
  t.regex(refused(t, host({ bundle, compiler: null }), "bundle-missing").remedy, /build-essential/);
});

test("no device: load the module where the processor can, build KKM where it cannot", (t) => {
  const absent: DeviceFacts[] = [{ path: "/dev/kvm", state: "absent", evidence: "no such file" }];
  const root = { uid: 0, name: "root", groups: [] };
  const without = (virtualization: "vmx" | "svm" | "none", changes: Partial<HostFacts> = {}) =>
    host({ devices: absent, user: root, cpu: { ...host().cpu, virtualization }, ...changes });
  const loads = (facts: HostFacts) =>
    planned(t, facts).steps.flatMap((step) => (step.kind === "run" ? [step.argv.slice(0, 2).join(" ")] : []));
  t.deepEqual(loads(without("vmx")), ["modprobe kvm_intel"]);
  t.deepEqual(loads(without("svm")), ["modprobe kvm_amd"]);
  t.is(planned(t, without("none")).device, "/dev/kkm");
  t.regex(refused(t, without("vmx", { user: host().user }), "root-needed").reason, /kvm_intel/);
});

test("the prefix's own text files and folders are left out when they are there", (t) => {
  const facts = host({
    devices: [{ path: "/dev/kvm", state: "absent", evidence: "" }],
    user: { uid: 0, name: "root", groups: [] },
    cpu: { ...host().cpu, virtualization: "none" },
  });
  const first = planned(t, facts);
  const texts = first.steps.flatMap((step) => (step.kind === "text" ? [[step.path, step.content]] : []));
  facts.etc = Object.fromEntries(texts);
  facts.folders = first.steps.flatMap((step) => (step.kind === "folder" ? [step.path] : []));
  facts.kkm = { ...facts.kkm, loaded: true, group: [] };
  for (const build of facts.build) build.module = "current";
  for (const target of facts.prefix.targets) target.state = "same";
  facts.devices = [{ path: "/dev/kkm", state: "works", evidence: "" }];
  t.deepEqual(planned(t, facts).steps, []);
});

test("a full disk is refused before anything is begun", (t) => {
  const { prefix } = host();
  t.regex(refused(t, host({ prefix: { ...prefix, free: 1 << 20 } }), "disk-full").reason, /1 MiB free/);
  planned(t, host({ prefix: { ...prefix, free: 1 << 30 } }));
});

test("a device without permission names the group to join", (t) => {
  const { reason, remedy } = refused(
    t,
    kvm({ state: "denied", evidence: "permission denied" }),
    "device-denied",
  );
  t.regex(reason, /\/dev\/kvm: permission denied \(0660 root:kvm\)/);
  t.regex(remedy, /usermod -aG kvm anna/);
  t.regex(refused(t, kvm({ state: "denied", access: "0600 root:root" }), "device-denied").remedy, /as root/);
});

test("a device on which nothing ran is refused with what was seen", (t) => {
  t.regex(
    refused(t, kvm({ state: "broken", evidence: "KVM_CREATE_VM: EBUSY" }), "device-broken").reason,
    /EBUSY/,
  );
  refused(t, kvm({ state: "other" }), "device-not-a-device");
});

test("of several devices that do not work, the nearest to working is explained", (t) => {
  const facts = host({
    devices: [
      { path: "/dev/kontain", state: "absent", evidence: "no such file" },
      { path: "/dev/kvm", state: "broken", evidence: "x" },
      { path: "/dev/kkm", state: "denied", evidence: "permission denied", access: "0660 root:kkm" },
    ],
  });
  t.regex(refused(t, facts, "device-denied").reason, /\/dev\/kkm/);
});

test("a prefix that cannot be written, or is no folder, or is blocked, is refused", (t) => {
  const { prefix } = host();
  refused(t, host({ prefix: { ...prefix, state: "denied", evidence: "no permission" } }), "prefix-denied");
  refused(t, host({ prefix: { ...prefix, state: "not-a-folder" } }), "prefix-blocked");
  const targets: HostFacts["prefix"]["targets"] = [{ target: "bin/km", state: "not-a-file" }];
  t.regex(refused(t, host({ prefix: { ...prefix, targets } }), "prefix-blocked").reason, /bin\/km/);
});

test("the same facts give the same plan, and are not changed", (t) => {
  const facts = host();
  const before = structuredClone(facts);
  t.deepEqual(plan(facts, wishes), plan(facts, wishes));
  t.deepEqual(facts, before);
});

test("docs/install.md has the table of reasons", async (t) => {
  const text = await readFile(new URL("../../docs/install.md", import.meta.url), "utf8");
  t.is(withReasons(text), text, "run: npx tsx scripts/doctor-docs.ts");
});

test("what lets somebody open a device: its group only where that may, and never root's", (t) => {
  const user = { uid: 1000, name: "anna", groups: ["anna", "video"] };
  const fix = (access: string) =>
    accessFix({ path: "/dev/kvm", state: "denied", evidence: "", access }, user);
  t.regex(fix("0660 root:kvm"), /^add yourself .*usermod -aG kvm anna/);
  t.regex(fix("0660 root:root"), /^have its group and mode changed/);
  t.regex(fix("0600 root:root"), /^have its group and mode changed/);
  t.regex(fix("0600 root:kvm"), /^have its group and mode changed/, "joining would not help");
  t.regex(fix("0660 root:video"), /^its permissions would let you/, "a member already");
  t.regex(fix("0666 root:kvm"), /^its permissions would let you/);
});

test("an older version in the place of a newer one is said to be that", (t) => {
  const facts = (verified: string) => host({ prefix: { ...host().prefix, verified } });
  t.deepEqual(planned(t, facts("0.2.0")).notes, [
    "0.2.0 is installed; this is the older 0.1.0, which takes its place",
  ]);
  for (const version of ["0.1.0", "0.0.9", "odd"]) t.deepEqual(planned(t, facts(version)).notes, []);
});
