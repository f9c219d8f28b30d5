// SPDX-License-Identifier: Apache-2.0
// What an installation does for the person behind sudo, and what it says of groups and PATH.
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { groupsOf, type HostUser, realHost } from "../../src/base/host.js";
import type { HostFacts } from "../../src/installer/facts.js";
import { install } from "../../src/installer/install.js";
import { ADD_GROUP_SCRIPT, DELETE_GROUP_SCRIPT } from "../../src/installer/kkm-scripts.js";
import { type Plan, plan } from "../../src/installer/plan/plan.js";
import { sh } from "../../src/installer/plan/steps.js";
import type { InstallEvent } from "../../src/installer/ui/events.js";
import { host, PREFIX, RAN, skipped, temporaryFolder } from "./fixtures.js";

function planned(t: ExecutionContext, facts: HostFacts): Plan {
  const decided = plan(facts, { prefix: PREFIX });
  return decided.kind === "plan" ? decided : (t.fail(decided.reason) as never);
}

const behindSudo = (more: Partial<HostUser> = {}): HostUser => {
  return { uid: 0, name: "root", groups: ["root"], sudo: "anna", sudoGroups: ["anna", "sudo"], ...more };
};

/** A machine of root's that needs KKM. */
function kkmHost(user: HostUser, group: string[] | null): HostFacts {
  const devices = [{ path: "/dev/kvm", state: "absent" as const, evidence: "no such file" }];
  const cpu = { ...host().cpu, virtualization: "none" as const };
  return host({ user, devices, cpu, kkm: { ...host().kkm, group } });
}

test.serial("SUDO_USER is taken for a name only, and root's own for nobody's", async (t) => {
  const before = process.env.SUDO_USER;
  t.teardown(() => {
    if (before === undefined) delete process.env.SUDO_USER;
    else process.env.SUDO_USER = before;
  });
  const sudo = async (name: string) => {
    process.env.SUDO_USER = name;
    return (await realHost()).user.sudo;
  };
  t.is(await sudo("anna"), "anna");
  t.is(await sudo("anna.b-c_1$"), "anna.b-c_1$");
  for (const name of ["", "root", "-aG", "anna;reboot", "$(reboot)", "anna b", "../anna", "anna\nroot"]) {
    t.is(await sudo(name), undefined, JSON.stringify(name));
  }
});

test("groups of a user: the primary one and those that list the name", (t) => {
  const passwd = "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n";
  const group = "root:x:0:\nkvm:x:106:bob,anna\nkkm:x:107:annabel\nanna:x:1000:\n";
  t.deepEqual(groupsOf("anna", passwd, group), ["kvm", "anna"]);
  t.deepEqual(groupsOf("nobody-here", passwd, group), []);
});

test("KKM: who called sudo joins the group, and is told when it counts; a member is told nothing", (t) => {
  const of = (group: string[] | null, user = behindSudo()) => {
    const { steps, notes } = planned(t, kkmHost(user, group));
    const step = steps.find((one) => one.kind === "run" && one.name === "group");
    return {
      argv: step?.kind === "run" ? step.argv.slice(3) : null,
      login: notes.some((note) => /log-in/.test(note)),
    };
  };
  t.deepEqual(of(null), { argv: ["kontain", "anna"], login: true });
  t.deepEqual(of(["bob"]), { argv: ["kontain", "anna"], login: true });
  t.deepEqual(of(["anna"]), { argv: null, login: false });
  const { sudo: _, sudoGroups: __, ...root } = behindSudo();
  t.deepEqual(of(null, root), { argv: ["kontain"], login: false });
  t.deepEqual(of([], root), { argv: null, login: false });
});

test("a device as it is: who called sudo hears of its group, unless it is open to them", (t) => {
  const notes = (access: string, user: HostUser) => {
    const device = { path: "/dev/kvm", state: "works" as const, evidence: "Hello, world", access };
    return planned(t, host({ user, devices: [device] })).notes;
  };
  t.deepEqual(notes("0660 root:kvm", behindSudo()), [
    "anna may not open /dev/kvm yet: usermod -aG kvm anna, then log in again",
  ]);
  t.deepEqual(notes("0660 root:kvm", behindSudo({ sudoGroups: ["anna", "kvm"] })), []);
  t.deepEqual(notes("0666 root:kvm", behindSudo()), []);
  t.deepEqual(notes("0660 root:kvm", { uid: 1000, name: "anna", groups: ["kvm"] }), []);
});

/** Runs a script with a copy of /etc's tables of users in the place of /etc, in a mount namespace of its own. */
async function onTables(etc: string, script: string, ...args: string[]) {
  const inside = 'mount --bind "$1" /etc && shift && exec "$@"';
  const command = sh(script, ...args);
  return execa("unshare", ["--mount", "sh", "-c", inside, "kontain", etc, ...command], { reject: false });
}

test("the group is made by the system's own tools, once, with its member; and taken away", async (t) => {
  const etc = join(await temporaryFolder(t), "etc");
  const probe = await execa("unshare", ["--mount", "true"], { reject: false });
  if (process.getuid?.() !== 0 || probe.exitCode !== 0) return skipped(t, "no mount namespaces here");
  await mkdir(etc);
  for (const name of ["login.defs", "nsswitch.conf", "pam.d", "ld.so.cache"]) {
    await cp(join("/etc", name), join(etc, name), { recursive: true }).catch(() => {});
  }
  const tables = {
    passwd: "root:x:0:0::/root:/bin/sh\nanna:x:1000:1000::/:/bin/sh\n",
    group: "root:x:0:\nanna:x:1000:\n",
  };
  await writeFile(join(etc, "passwd"), tables.passwd);
  await writeFile(join(etc, "group"), tables.group);
  const group = () => readFile(join(etc, "group"), "utf8");
  const first = await onTables(etc, ADD_GROUP_SCRIPT, "anna");
  t.is(first.exitCode, 0, first.stderr);
  t.regex(await group(), /^kkm:x:\d+:anna$/m);
  const once = await group();
  t.is((await onTables(etc, ADD_GROUP_SCRIPT, "anna")).exitCode, 0);
  t.is(await group(), once);
  t.is((await onTables(etc, DELETE_GROUP_SCRIPT)).exitCode, 0);
  t.is(await group(), tables.group);
  t.not((await onTables(etc, ADD_GROUP_SCRIPT, "nobody-here")).exitCode, 0, "a user that is not there");
});

test.serial("what to add to PATH is said, unless it is there", async (t) => {
  const before = process.env.PATH;
  t.teardown(() => {
    process.env.PATH = before;
  });
  const prefix = join(await temporaryFolder(t), "kontain");
  const hints = async () => {
    const events: InstallEvent[] = [];
    const facts = host({ bundle: { version: "1.0.0", files: [], missing: [] } });
    const doors = { detect: async () => facts, runHello: async () => RAN };
    const report = (event: InstallEvent) => void events.push(event);
    t.is(await install({ wishes: { prefix }, report, consent: async () => true, doors }), "installed");
    const result = events.at(-1);
    return result?.type === "result" ? result.next.filter((line) => line.startsWith("path:")) : [];
  };
  t.deepEqual(await hints(), [`path: export PATH=${prefix}/bin:$PATH`]);
  process.env.PATH = `${before}${delimiter}${prefix}/bin`;
  t.deepEqual(await hints(), []);
});
