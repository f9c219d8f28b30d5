// SPDX-License-Identifier: Apache-2.0
import { stream } from "../../monitor/protocol.js";
import { plain, socketOf } from "../machines.js";
import { interruption, type Verb } from "../verb.js";

/** Prints a machine's lines until it ends or Ctrl-C. */
export async function printStream(socket: string, request: string): Promise<void> {
  for await (const item of stream(socket, request, interruption())) {
    if ("line" in item) console.log(plain(item.line));
    else console.error(`(${item.dropped} lines were lost)`);
  }
}

export const traceVerb: Verb = (program) => {
  program
    .command("trace")
    .argument("<pid>", "of `kontain ps`")
    .argument("[calls]", "names or classes as for km --trace: file,net,!read", "all")
    .description("shows the system calls of a running machine, like strace")
    .action(async (pid: string, calls: string) => printStream(await socketOf(pid), `trace ${calls}`));
};
