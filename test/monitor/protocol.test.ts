// SPDX-License-Identifier: Apache-2.0
// What comes from a socket, a directory or a log is foreign: it is understood or refused, never believed.
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import fc from "fast-check";
import { MonitorError } from "../../src/monitor/errors.js";
import { EventLog, type MachineEvent } from "../../src/monitor/events.js";
import { logEvent } from "../../src/monitor/log-tail.js";
import { ask, counters, type MachineStatus, readStatus, stream } from "../../src/monitor/protocol.js";
import { listMachines, parseSocketName, surveyMachines } from "../../src/monitor/registry.js";

const GOOD: MachineStatus = {
  protocol: 1,
  pid: 7,
  uid: 0,
  program: "/bin/true",
  argv: ["true"],
  device: "/dev/kvm",
  driver: "kvm",
  vcpus: 1,
  memoryBytes: 1,
  sharedBytes: 1,
  uptimeMs: 1,
  cpuMs: 1,
  log: "stderr",
  output: "",
};

/** Runs `use` with a server that does to each connection what `act` says. */
async function withServer<T>(
  name: string,
  act: (socket: Socket) => void,
  use: (path: string) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "kontain-protocol-"));
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    act(socket);
  });
  const path = join(folder, name);
  await new Promise<void>((up) => server.listen(path, up));
  try {
    return await use(path);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
    await rm(folder, { recursive: true });
  }
}

test("names of sockets: only what km writes is one", (t) => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 22 }),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      (pid, namespace) => {
        t.deepEqual(parseSocketName(`${pid}-${namespace}.sock`), { pid, namespace });
      },
    ),
  );
  fc.assert(
    fc.property(fc.string(), (name) => {
      const parsed = parseSocketName(name);
      t.true(parsed === undefined || `${parsed.pid}-${parsed.namespace}.sock` === name || /-0\d/.test(name));
    }),
  );
  for (const name of [
    "../1-2.sock",
    "1-2.sock/",
    "0-2.sock",
    "-1-2.sock",
    "1-2.sock\n",
    "99999999999-1.sock",
  ])
    t.is(parseSocketName(name), undefined, name);
});

test("a status is one, field by field, or refused", (t) => {
  t.deepEqual(readStatus("x", { ok: true, ...GOOD }), GOOD);
  t.deepEqual(readStatus("x", { ...GOOD, extra: 1 }), GOOD, "nothing else is kept");
  const fields = Object.keys(GOOD) as (keyof MachineStatus)[];
  fc.assert(
    fc.property(fc.constantFrom(...fields), fc.jsonValue(), (field, value) => {
      const same = Array.isArray(GOOD[field])
        ? Array.isArray(value) && value.every((word) => typeof word === "string")
        : typeof value === typeof GOOD[field] && (typeof value !== "number" || Number.isSafeInteger(value));
      const read = () => readStatus("x", { ...GOOD, [field]: value });
      if (same) t.notThrows(read);
      else t.throws(read, { instanceOf: MonitorError, code: "ERR_KM_NO_ANSWER" });
    }),
  );
});

test("any line of a log is an event or none", (t) => {
  fc.assert(
    fc.property(fc.string(), (line) => {
      const event = logEvent(line);
      t.true(event === undefined || event.type === "syscall" || event.type === "syscall-refused");
    }),
  );
  t.deepEqual(logEvent("12:00:00.000001 trace                   0 km getpid() = 1"), {
    type: "syscall",
    text: "getpid() = 1",
  });
  t.like(
    logEvent("12:00:00.000001 refuse                 50 km system call kexec_load (246) is refused: EPERM"),
    {
      type: "syscall-refused",
    },
  );
});

test("whatever a server answers, ask() ends with an object or a MonitorError", async (t) => {
  const answers = fc.oneof(
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(`${text}\n`)),
    fc.jsonValue().map((value) => Buffer.from(`${JSON.stringify({ ok: true, calls: value })}\n`)),
  );
  await fc.assert(
    fc.asyncProperty(answers, async (bytes) => {
      await withServer(
        "any.sock",
        (socket) => socket.end(bytes),
        async (path) => {
          for (const request of [() => ask(path, "status"), () => counters(path)]) {
            const outcome = await request().catch((error) => error);
            t.true(
              typeof outcome === "object" && (!(outcome instanceof Error) || outcome instanceof MonitorError),
            );
          }
        },
      );
    }),
    { numRuns: 50 },
  );
});

test("a server that drips is not waited for, one that pours is cut off", async (t) => {
  const drip = (socket: Socket) => {
    const timer = setInterval(() => socket.write(" "), 50);
    socket.once("close", () => clearInterval(timer));
  };
  await withServer("drip.sock", drip, async (path) => {
    await t.throwsAsync(ask(path, "status"), { code: "ERR_KM_NO_ANSWER", message: /no answer within/ });
  });
  const pour = (socket: Socket) => {
    const more = () => {
      while (!socket.destroyed && socket.write("x".repeat(65536))) {}
    };
    socket.on("drain", more);
    more();
  };
  await withServer("pour.sock", pour, async (path) => {
    await t.throwsAsync(ask(path, "status"), { code: "ERR_KM_NO_ANSWER", message: /endless/ });
  });
});

test("a stream of nonsense ends with an error, one that is aborted with none", async (t) => {
  const read = async (path: string, signal?: AbortSignal) => {
    const items: unknown[] = [];
    for await (const item of stream(path, "follow", signal)) items.push(item);
    return items;
  };
  const say = (text: string) => (socket: Socket) => void socket.end(text);
  await withServer("a.sock", say('{"ok":true}\n{"line":"x"}\n{"other":1}\n{"dropped":2}\n'), async (path) => {
    t.deepEqual(await read(path), [{ line: "x" }, { dropped: 2 }]);
  });
  for (const text of ["nonsense\n", '{"ok":false,"error":"no"}\n', "[]\n", "7\n"])
    await withServer("b.sock", say(text), (path) => t.throwsAsync(read(path), { code: "ERR_KM_NO_ANSWER" }));
  const silent = (socket: Socket) => void socket.write('{"ok":true}\n');
  await withServer("c.sock", silent, async (path) => {
    t.deepEqual(await read(path, AbortSignal.timeout(200)), []);
  });
});

test.serial(
  "a registry with strangers in it: they are named silent, and nothing waits for ever",
  async (t) => {
    const before = process.env.XDG_RUNTIME_DIR;
    const folder = await mkdtemp(join(tmpdir(), "kontain-runtime-"));
    process.env.XDG_RUNTIME_DIR = folder;
    const { mkdir, stat, writeFile } = await import("node:fs/promises");
    const registry = join(folder, "kontain");
    await mkdir(registry);
    const namespace = (await stat("/proc/self/ns/pid")).ino;
    const server = createServer((socket) => socket.end("not the protocol\n"));
    await new Promise<void>((up) => server.listen(join(registry, `${process.pid}-${namespace}.sock`), up));
    await writeFile(join(registry, "notes.txt"), "");
    await mkdir(join(registry, "12-34.sock"));
    try {
      const { machines, silent } = await surveyMachines();
      t.false(machines.some(({ socket }) => socket.startsWith(folder)));
      t.deepEqual(
        silent.filter(({ socket }) => socket.startsWith(folder)).map(({ pid }) => pid),
        [process.pid],
      );
      t.false((await listMachines()).some(({ pid }) => pid === process.pid));
    } finally {
      server.close();
      if (before === undefined) delete process.env.XDG_RUNTIME_DIR;
      else process.env.XDG_RUNTIME_DIR = before;
      await rm(folder, { recursive: true });
    }
  },
);

test("events: late readers get them all, or how many they missed, and always the end", async (t) => {
  const log = new EventLog();
  const read = async () => {
    const types: MachineEvent[] = [];
    for await (const event of log) types.push(event);
    return types;
  };
  const early = read();
  log.add({ type: "started", pid: 1 });
  for (let i = 0; i < 35_000; i++) log.add({ type: "syscall", text: String(i) });
  const ending = { reason: "exited", exitCode: 0, signal: null, status: 0, durationMs: 1 } as const;
  log.add({ type: "exited", ending });
  for (const events of [await early, await read()]) {
    const [first] = events;
    t.true(first?.type === "lost" && first.count + events.length - 1 === 35_002);
    t.is(events.at(-1)?.type, "exited");
    t.true(events.length <= 20_002);
  }
});
