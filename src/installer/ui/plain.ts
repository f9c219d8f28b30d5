// SPDX-License-Identifier: Apache-2.0
// Lines of text, for a pipe as for a terminal; and JSON, one event a line.
import type { HostFacts } from "../facts.js";
import type { Plan, Step } from "../plan/plan.js";
import type { InstallEvent, Reporter } from "./events.js";

const VERBS: Record<Step["kind"], [todo: string, undone: string]> = {
  folder: ["make", "unmake"],
  file: ["write", "take back"],
  remove: ["remove", "bring back"],
};

function row(name: string, text: string): string {
  return `  ${name.padEnd(9)} ${text}`;
}

function factLines(facts: HostFacts): string[] {
  const { distro, kernel, cpu, prefix } = facts;
  return [
    `kontain ${facts.bundle.version}`,
    row("host", `${distro.name}, kernel ${kernel.release}`),
    row("processor", `${cpu.model} (hardware virtualization: ${cpu.virtualization})`),
    ...facts.devices.map((device) => {
      const access = device.access ? `, ${device.access}` : "";
      return row("device", `${device.path}: ${device.state} (${device.evidence}${access})`);
    }),
    row("prefix", `${prefix.path}: ${prefix.verified ? `has ${prefix.verified}` : prefix.evidence}`),
  ];
}

function planLines(plan: Plan): string[] {
  if (plan.steps.length === 0) return ["plan: every file is in place; only run the payload"];
  return [
    "plan",
    ...plan.steps.map((step) => row(VERBS[step.kind][0], step.path)),
    row("run", `the hello payload on ${plan.device}`),
    ...plan.notes.map((note) => row("note", note)),
  ];
}

function stepLines(event: Extract<InstallEvent, { type: "step" }>): string[] {
  const lines = event.note ? [row("note", event.note)] : [];
  if (event.state === "undone") lines.unshift(row(VERBS[event.step.kind][1], event.step.path));
  return lines;
}

function lines(event: InstallEvent): string[] {
  switch (event.type) {
    case "facts":
      return factLines(event.facts);
    case "plan":
      return planLines(event.plan);
    case "refusal":
      return [];
    case "step":
      return stepLines(event);
    case "verify": {
      const printed = event.run.stdout.split("\n").filter(Boolean);
      const problem = event.run.problem ? [`  ! ${event.run.problem}`] : [];
      return ["verify", `  $ ${event.run.command}`, ...printed.map((line) => `  | ${line}`), ...problem];
    }
    case "result":
      return [event.message, ...(event.next ? [`  ${event.next}`] : [])];
  }
}

/** Plain lines. What went well goes to `out`, a closing line that tells of trouble to `err`. */
export function plainReporter(out: (text: string) => void, err: (text: string) => void): Reporter {
  const fine = ["installed", "uninstalled", "planned"];
  return (event) => {
    const write = event.type === "result" && !fine.includes(event.outcome) ? err : out;
    for (const line of lines(event)) write(`${line}\n`);
  };
}

export function jsonReporter(out: (text: string) => void): Reporter {
  return (event) => out(`${JSON.stringify(event)}\n`);
}
