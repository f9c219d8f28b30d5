// SPDX-License-Identifier: Apache-2.0
import test, { type ExecutionContext } from "ava";
import type { DeviceFacts, HostFacts } from "../../src/installer/facts.js";
import { type Plan, plan, type Refusal } from "../../src/installer/plan/plan.js";
import { bundleFile, host, PREFIX } from "./fixtures.js";

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

const kvm = (changes: Partial<DeviceFacts>) =>
  host({
    devices: [{ path: "/dev/kvm", state: "absent", evidence: "seen", access: "0660 root:kvm", ...changes }],
  });

test("an empty host gets folders before the files in them", (t) => {
  const decided = planned(t, host());
  t.is(decided.device, "/dev/kvm");
  t.deepEqual(
    decided.steps.map((step) => `${step.kind} ${step.path}`),
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
  t.deepEqual(
    planned(t, facts).steps.map((step) => step.path),
    ["/opt/kontain/a", "/opt/kontain/a/b", "/opt/kontain/a/b/c", "/opt/kontain/a/b/c/file"],
  );
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
    decided.steps.map((step) => `${step.kind} ${step.path}`),
    ["remove /opt/kontain/bin/gone", "folder /opt/kontain/bin", "file /opt/kontain/bin/km"],
  );
  t.deepEqual(decided.notes, []);
});

test("somebody else's file is replaced, and said to be", (t) => {
  const facts = host();
  facts.prefix.targets = [
    { target: "bin/km", state: "foreign" },
    { target: "tests/hello_test.km", state: "absent" },
  ];
  const { notes } = planned(t, facts);
  t.is(notes.length, 1);
  t.regex(notes[0] ?? "", /^\/opt\/kontain\/bin\/km is replaced/);
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
  t.regex(refused(t, host({ arch: "arm64" }), "platform").reason, /arm64/);
  refused(t, host({ platform: "darwin" }), "platform");
});

test("kernels before 5.10 are refused, 5.10 is not", (t) => {
  const kernel = (major: number, minor: number) =>
    host({ kernel: { release: `${major}.${minor}.0`, major, minor } });
  t.regex(refused(t, kernel(4, 19), "platform").reason, /4\.19\.0/);
  refused(t, kernel(5, 9), "platform");
  planned(t, kernel(5, 10));
});

test("what is not built names itself; the way out depends on the compiler", (t) => {
  const bundle = { version: "0.1.0", files: [], missing: ["build/bin/km"] };
  const built = refused(t, host({ bundle }), "bundle");
  t.regex(built.reason, /build\/bin\/km/);
  t.regex(built.remedy, /npm run build/);
  t.regex(refused(t, host({ bundle, compiler: null }), "bundle").remedy, /build-essential/);
});

test("no device: load the module where the processor can, switch nesting on where it cannot", (t) => {
  const absent: DeviceFacts[] = [{ path: "/dev/kvm", state: "absent", evidence: "no such file" }];
  const cpu = (virtualization: "vmx" | "svm" | "none") =>
    host({ devices: absent, cpu: { model: "", virtualization } });
  t.regex(refused(t, cpu("vmx"), "device-absent").remedy, /modprobe kvm_intel/);
  t.regex(refused(t, cpu("svm"), "device-absent").remedy, /modprobe kvm_amd/);
  t.regex(refused(t, cpu("none"), "device-absent").remedy, /nested virtualization/);
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
  refused(t, kvm({ state: "other" }), "device-broken");
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
