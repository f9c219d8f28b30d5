// SPDX-License-Identifier: Apache-2.0
// stress-ng --verify, each stressor for a second by itself, so that a difference names it.
import { execa } from "execa";
import { find } from "../helpers/commands.js";
import { stressNg } from "./parsers.js";
import type { Part, Suite } from "./suite.js";

/** "signal" is a class of later versions; its stressors are in "os" and "interrupt". */
const CLASSES = ["os", "memory", "cpu", "filesystem", "scheduler", "pipe", "signal", "network", "interrupt"];

/** As root these change the machine that runs the tests, or what others see of it. */
const EXCLUDED = [
  { name: "cpu-online", reason: "takes processors of the host offline" },
  { name: "memhotplug", reason: "takes memory of the host offline" },
  { name: "reboot", reason: "calls reboot(2)" },
  { name: "clock", reason: "sets the host's clock" },
  { name: "watchdog", reason: "arms the host's watchdog" },
  { name: "smi", reason: "raises system management interrupts" },
  { name: "ioport", reason: "writes to I/O ports of the host" },
  { name: "swap", reason: "switches swap files of the host on and off" },
  { name: "pageswap", reason: "pages out memory of every process" },
  { name: "oom-pipe", reason: "brings the OOM killer upon others" },
  { name: "klog", reason: "clears the host's kernel log" },
  { name: "binderfs", reason: "mounts" },
  { name: "bind-mount", reason: "mounts" },
  { name: "ramfs", reason: "mounts" },
  { name: "umount", reason: "mounts" },
  { name: "quota", reason: "looks for quotas of the host's file systems to change" },
  { name: "apparmor", reason: "loads policies" },
  { name: "efivar", reason: "reads the firmware's variables" },
  { name: "sysinval", reason: "calls everything with rubbish, with the rights of root" },
  { name: "bad-ioctl", reason: "sends rubbish to every device of the host" },
];

/** Bound in seconds of those that do a fixed amount of work, most of it system calls or first touches. */
const LONG: Readonly<Record<string, number>> = { mmapfork: 240, resources: 600, madvise: 180 };

function part(name: string): Part {
  return {
    name,
    command: ["stress-ng", "--verify", "--timeout", "1", `--${name}`, "1"],
    seconds: LONG[name] ?? 90,
    verdicts: (output, status) => stressNg(name, output, status),
  };
}

async function stressorsOf(kind: string): Promise<string[]> {
  const { all } = await execa("stress-ng", ["--class", `${kind}?`], { all: true, reject: false });
  return /stressors: (.*)/.exec(all ?? "")?.[1]?.split(" ") ?? [];
}

export const STRESS_NG: Suite = {
  name: "stress-ng",
  title: "stress-ng --verify",
  quick: ["futex", "pipe", "fork", "mmap", "signal", "sigq", "sock", "vfork"],
  excluded: EXCLUDED,
  prepare: async () => {
    const program = find("stress-ng");
    if (program === undefined) return "apt-get install stress-ng";
    const names = new Set<string>();
    for (const kind of CLASSES) for (const name of await stressorsOf(kind)) names.add(name);
    for (const { name } of EXCLUDED) names.delete(name);
    return [...names].sort().map((name) => {
      const { command, ...rest } = part(name);
      return { ...rest, command: [program, ...command.slice(1)] };
    });
  },
};
