// SPDX-License-Identifier: Apache-2.0
// The socket of a running machine: it answers, and asking changes nothing for the payload.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import { execa } from "execa";
import {
  counters,
  launch,
  listMachines,
  type RunningMachine,
  socketsOf,
  stop,
  stream,
} from "../../src/monitor/index.js";
import { ask } from "../../src/monitor/protocol.js";

const MAIN = new URL("../../dist/cli/kontain.js", import.meta.url).pathname;
let waiter: string;

/** How long the payload waits, and when it is asked: with time to answer on a busy machine before it ends. */
const WAIT_S = 4;
const ASK_MS = 1200;

test.before(async () => {
  const folder = await mkdtemp(join(tmpdir(), "kontain-manage-test-"));
  waiter = join(folder, "waiter");
  // Waits in the way asked for and says how long, in milliseconds, and which error it got. "number" opens a file.
  await writeFile(
    `${waiter}.c`,
    `#define _GNU_SOURCE
     #include <errno.h>
     #include <fcntl.h>
     #include <linux/futex.h>
     #include <poll.h>
     #include <pthread.h>
     #include <signal.h>
     #include <stdio.h>
     #include <string.h>
     #include <sys/epoll.h>
     #include <sys/socket.h>
     #include <sys/syscall.h>
     #include <time.h>
     #include <unistd.h>
     static long now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000 + t.tv_nsec / 1000000; }
     int main(int argc, char **argv) {
       const char *how = argc > 1 ? argv[1] : "pause";
       struct timespec whole = {${WAIT_S}, 0};
       int word = 0, r = 0;
       sigset_t set;
       sigfillset(&set);
       if (!strcmp(how, "masked")) sigprocmask(SIG_BLOCK, &set, 0);
       int pair[2], listener = socket(AF_UNIX, SOCK_STREAM, 0);
       char byte, many[4096] = {0};
       struct timeval limit = {${WAIT_S}, 0};
       struct iovec vector = {&byte, 1};
       struct mmsghdr message = {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}};
       socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
       struct sockaddr name = {AF_UNIX};
       bind(listener, &name, sizeof name.sa_family); /* gets a name by itself: unix(7), Autobind */
       listen(listener, 1);
       for (int i = 0; i < 2; i++) setsockopt(i ? listener : pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
       setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
       if (!strcmp(how, "send")) while (send(pair[0], many, sizeof many, MSG_DONTWAIT) > 0) {}
       if (!strcmp(how, "lowest")) { close(listener); close(pair[0]); close(pair[1]); }
       long start = now();
       errno = 0;
       if (!strcmp(how, "nanosleep") || !strcmp(how, "masked")) r = nanosleep(&whole, 0);
       else if (!strcmp(how, "poll")) r = poll(0, 0, ${WAIT_S * 1000});
       else if (!strcmp(how, "ppoll")) r = ppoll(0, 0, &whole, 0);
       else if (!strcmp(how, "epoll")) { struct epoll_event e; r = epoll_wait(epoll_create1(0), &e, 1, ${WAIT_S * 1000}); }
       else if (!strcmp(how, "futex")) r = syscall(SYS_futex, &word, FUTEX_WAIT, 0, &whole, 0, 0);
       else if (!strcmp(how, "recv")) r = recv(pair[0], &byte, 1, 0);
       else if (!strcmp(how, "read")) r = read(pair[0], &byte, 1);
       else if (!strcmp(how, "recvmmsg")) r = recvmmsg(pair[0], &message, 1, 0, 0);
       else if (!strcmp(how, "accept")) r = accept(listener, 0, 0);
       else if (!strcmp(how, "send")) r = send(pair[0], many, sizeof many, 0);
       else if (!strcmp(how, "spin")) { unsigned long n = 0; while (now() - start < ${WAIT_S * 1000}) n++; }
       else if (!strcmp(how, "lowest")) { int bad = 0; while (now() - start < ${WAIT_S * 1000}) { int fd = open("/dev/null", O_RDONLY); bad += fd != 3; close(fd); } r = bad; }
       else for (;;) pause();
       printf("%ld %d %d\\n", now() - start, r, errno == ETIMEDOUT || errno == EAGAIN ? 0 : errno);
       return 0;
     }`,
  );
  await execa("gcc", ["-O1", "-static", "-o", waiter, `${waiter}.c`]);
});

async function socketFor(pid: number): Promise<string> {
  for (let i = 0; i < 500; i++) {
    const [socket] = await socketsOf(pid);
    if (socket) return socket;
    await sleep(10);
  }
  throw new Error(`machine ${pid} was not announced`);
}

/** Those whose end by time is an error. */
const FAIL = ["futex", "recv", "read", "recvmmsg", "accept", "send"];

for (const how of ["nanosleep", "masked", "poll", "ppoll", "epoll", "spin", "lowest", ...FAIL]) {
  test.serial(`asking a payload in "${how}" neither ends nor prolongs its wait`, async (t) => {
    const machine = await launch(waiter, [how]);
    let output = "";
    machine.stdout?.on("data", (chunk) => {
      output += chunk;
    });
    const socket = await socketFor(machine.pid);
    await sleep(ASK_MS);
    for (let i = 0; i < 5; i++) t.is((await ask(socket, "status")).pid, machine.pid);
    await machine.wait();
    const [elapsed, result, error] = output.split(" ").map(Number);
    t.is(error, 0);
    t.is(result, FAIL.includes(how) ? -1 : 0, output);
    // Restarted in full it would take as long again from when it was asked.
    const least = WAIT_S * 1000 - 1;
    t.true((elapsed ?? 0) >= least && (elapsed ?? 0) < least + ASK_MS - 100, output);
  });
}

test.serial("hostile clients cost nothing but their connection", async (t) => {
  await using machine = await launch(waiter);
  const socket = await socketFor(machine.pid);
  const attack = async (data: string | Buffer) => {
    const client = connect(socket);
    client.on("error", () => {});
    client.write(data);
    await sleep(20);
    return client;
  };
  const clients = [];
  for (const data of [
    "\n\n\n",
    "status",
    "x".repeat(100_000),
    "\0\0\0\n",
    "stop 0\n",
    "stop -9\n",
    "stop 999999999999\n",
  ])
    clients.push(await attack(data));
  clients.push(
    await attack(Buffer.from([0xff, 0xfe, 0x0a])),
    await attack("log (((a{1,255}){1,255}){1,255}){1,255}\n"),
    await attack("trace nonsense\n"),
  );
  // Endless requests, answers never read.
  for (let i = 0; i < 4; i++) {
    const client = await attack("status\n".repeat(20_000));
    client.pause();
    clients.push(client);
  }
  t.is((await ask(socket, "status")).pid, machine.pid);
  for (const client of clients) client.destroy();
  // More clients than it serves at once: the last is served when the first have gone.
  const idle = await Promise.all(Array.from({ length: 15 }, () => attack("")));
  t.is((await ask(socket, "status")).pid, machine.pid);
  for (const client of idle) client.destroy();
  await t.throwsAsync(ask(socket, "stop 0"), { code: "ERR_KM_NO_ANSWER", message: /not a signal number/ });
  t.true(machine.kill("SIGTERM"));
  t.like(await machine.wait(), { signal: "SIGTERM" });
});

test.serial("half a request, and clients that come and go, keep nobody else waiting", async (t) => {
  await using machine = await launch(waiter);
  const socket = await socketFor(machine.pid);
  const half = connect(socket);
  half.on("error", () => {});
  const closed = new Promise((done) => half.once("close", done));
  half.resume();
  half.write("stat");
  for (let i = 0; i < 200; i++) {
    const client = connect(socket);
    client.on("error", () => {});
    client.once("connect", () =>
      i % 2 ? client.write("status\n", () => client.destroy()) : client.destroy(),
    );
    await new Promise((done) => client.once("close", done));
  }
  t.is((await ask(socket, "status")).pid, machine.pid);
  await closed; // the server gives it ten seconds
  t.is((await ask(socket, "status")).pid, machine.pid);
});

test.serial("a reader of a trace that does not read holds up nobody", async (t) => {
  const machine = await launch(waiter, ["lowest"], { timeout: 120_000 });
  machine.stdout?.resume();
  const socket = await socketFor(machine.pid);
  const client = connect(socket);
  client.on("error", () => {});
  client.pause();
  client.write("trace all\n");
  t.like(await machine.wait(), { reason: "exited", status: 0 });
  client.destroy();
});

test.serial("another user is not answered", async (t) => {
  if (process.getuid?.() !== 0) {
    t.log("skipped: needs root, to become another user");
    return t.pass();
  }
  const client = join(dirname(waiter), "client");
  await writeFile(
    `${client}.c`,
    `#include <stdio.h>
     #include <string.h>
     #include <sys/socket.h>
     #include <sys/un.h>
     #include <unistd.h>
     int main(int, char **argv) {
       struct sockaddr_un name = {AF_UNIX, ""};
       char answer[256];
       int fd = socket(AF_UNIX, SOCK_STREAM, 0);
       strcpy(name.sun_path, argv[1]);
       if (connect(fd, (struct sockaddr *)&name, sizeof name)) return perror("connect"), 1;
       send(fd, "stop 9\\n", 7, MSG_NOSIGNAL);
       ssize_t n = read(fd, answer, sizeof answer);
       return printf("%zd\\n", n < 0 ? 0 : n), 0;
     }`,
  );
  await execa("gcc", ["-static", "-o", client, `${client}.c`]);
  await chmod(dirname(waiter), 0o755);
  await using machine = await launch(waiter);
  const socket = await socketFor(machine.pid);
  const nobody = { uid: 65534, gid: 65534, reject: false } as const;
  t.regex((await execa(client, [socket], nobody)).stderr, /Permission denied/);
  await chmod(socket, 0o666); // whoever gets through to it is still asked who he is
  t.is((await execa(client, [socket], nobody)).stdout, "0");
  t.is((await ask(socket, "status")).pid, machine.pid);
});

test.serial("a machine that sees other files is found by its pid on the host, and stopped", async (t) => {
  const machine = await launch(waiter, [], { files: {}, timeout: 120_000 });
  let found: RunningMachine | undefined;
  while (!found) {
    found = (await listMachines()).find(({ status }) => status.program === waiter && status.pid === 1);
    await sleep(50);
  }
  t.not(found.pid, 1);
  t.deepEqual(await socketsOf(found.pid), [found.socket]);
  t.like((await machine.stats()).status, { pid: 1, program: waiter });
  // It is pid 1 of its namespace, which no default action of the kernel's ends.
  await stop(found.socket, 9);
  t.like(await machine.wait(), { reason: "signal", signal: "SIGKILL", exitCode: null, status: 137 });
  const other = await launch(waiter, [], { files: {}, timeout: 120_000 });
  while ((await other.stats()).status === undefined) await sleep(50);
  t.true(other.kill("SIGTERM"));
  t.like(await other.wait(), { reason: "signal", signal: "SIGTERM", exitCode: null, status: 143 });
});

test.serial("counters count, a trace shows what happens, and stop stops", async (t) => {
  const machine = await launch(waiter, ["lowest"]);
  const socket = await socketFor(machine.pid);
  await counters(socket);
  const calls: string[] = [];
  for await (const item of stream(socket, "trace open,openat,close")) {
    if ("line" in item) calls.push(item.line);
    if (calls.length === 10) break;
  }
  t.true(
    calls.some((line) => /openat\(AT_FDCWD, "\/dev\/null", .*\) = 3/.test(line)),
    calls.join("\n"),
  );
  t.true(((await counters(socket)).openat?.calls ?? 0) > 0);
  await stop(socket, 15);
  t.like(await machine.wait(), { signal: "SIGTERM" });
  t.false(existsSync(socket), "the name is gone");
});

test.serial("machines are found however they were started; dead names are removed", async (t) => {
  const km = process.env.KONTAIN_KM ?? join(process.env.KONTAIN_BUILD_DIR ?? "build", "bin/km");
  const child: ChildProcess = spawn(km, [waiter, "pause"], { stdio: "ignore" });
  const socket = await socketFor(child.pid as number);
  const found = (await listMachines()).find((machine) => machine.status.pid === child.pid);
  t.like(found, { socket, status: { program: waiter, argv: [waiter, "pause"] } });
  t.true((found?.status.uptimeMs ?? -1) >= 0 && (found?.status.uptimeMs ?? 0) < 60_000);
  child.kill("SIGKILL");
  await once(child, "exit");
  t.true(existsSync(socket), "a killed monitor cannot clean up");
  await listMachines();
  t.false(existsSync(socket));
});

test.serial("kontain ps, stats, trace, logs and kill", async (t) => {
  const kontain = (...args: string[]) =>
    execa(process.execPath, [MAIN, ...args], { reject: false, timeout: 60_000 });
  await using machine = await launch(waiter, ["lowest"], { stdio: "ignore" });
  await socketFor(machine.pid);
  const asleep = await launch(waiter);
  const pid = String(asleep.pid);
  await socketFor(asleep.pid);
  const ps = await kontain("ps");
  t.regex(ps.stdout, new RegExp(`^${pid} +\\S+ +/dev/k\\S+ +1 .*${waiter}`, "m"));
  const json = JSON.parse((await kontain("ps", "--json")).stdout) as { status: { pid: number } }[];
  t.true(json.some((entry) => entry.status.pid === asleep.pid));
  t.like(JSON.parse((await kontain("stats", pid, "--json", "-s", "0.1")).stdout), {
    pid: asleep.pid,
    calls: [],
  });
  t.is((await kontain("logs", pid)).exitCode, 1);
  t.is((await kontain("kill", pid, "-s", "usr1")).exitCode, 0);
  t.like(await asleep.wait(), { signal: "SIGUSR1" });
  const gone = await kontain("kill", pid);
  t.is(gone.exitCode, 2);
  t.is(gone.stderr, `kontain: no machine has pid ${pid}; \`kontain ps\` lists them`);
  t.is((await kontain("kill", "1", "-s", "nonsense")).exitCode, 2);
});

/** Starts a verb and kills it once it has printed `wanted`. */
async function untilPrinted(wanted: RegExp, ...args: string[]): Promise<string> {
  const child = spawn(process.execPath, [MAIN, ...args]);
  let printed = "";
  for await (const chunk of child.stdout) {
    printed += chunk;
    if (wanted.test(printed)) break;
  }
  child.kill("SIGTERM");
  return printed;
}

test.serial(
  "kontain trace shows calls; kontain logs --follow what a machine writes, while it does",
  async (t) => {
    await using busy = await launch("/bin/sh", ["-c", "while :; do : < /dev/null; done"], {
      stdio: "ignore",
    });
    await socketFor(busy.pid);
    const traced = await untilPrinted(/openat.*\n.*\n/, "trace", String(busy.pid), "openat,close");
    t.regex(traced, /openat\(AT_FDCWD, "\/dev\/null", .*\) = \d/);
    const file = join(dirname(waiter), "output");
    const km = process.env.KONTAIN_KM ?? join(process.env.KONTAIN_BUILD_DIR ?? "build", "bin/km");
    const script = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.2; done";
    const child = spawn(km, [`--log-to=${file}`, "/bin/sh", "-c", script], { stdio: "ignore" });
    try {
      await socketFor(child.pid as number);
      const followed = await untilPrinted(/line 5\n/, "logs", "--follow", String(child.pid));
      t.regex(followed, /^line 0\nline 1\n/);
    } finally {
      child.kill("SIGKILL");
    }
  },
);

test.serial("kontain run gives the program's status and its arguments", async (t) => {
  const result = await execa(process.execPath, [MAIN, "run", "-t", "1", waiter, "pause", "--timeout=9"], {
    reject: false,
    timeout: 60_000,
  });
  t.is(result.exitCode, 137);
  t.is(result.stderr, "kontain: stopped: more time than --timeout");
});

test.serial("a payload sees the descriptors it was given and no other", async (t) => {
  const list = ["-c", "ls /proc/self/fd"];
  const [native, machine] = await Promise.all([
    execa("/bin/sh", list, { stdin: "pipe" }),
    launch("/bin/sh", list),
  ]);
  let listed = "";
  for await (const chunk of machine.stdout ?? []) listed += chunk;
  t.is(listed.trim(), native.stdout);
});
