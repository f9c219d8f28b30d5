// SPDX-License-Identifier: Apache-2.0
// What Node programs use: workers, crypto on the thread pool, files, sockets, children, compression, WebAssembly.
// Argument 1 scales the work. Same output on every run.
import { execFile, spawn } from "node:child_process";
import { createHash, generateKeyPairSync, pbkdf2, randomBytes, scryptSync, sign, verify } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, stat, watch, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { gunzipSync, gzipSync } from "node:zlib";

const scale = Number(process.argv[2] ?? 10);

function work({ shared, add }) {
  const counter = new Int32Array(shared);
  let hash = "";
  for (let i = 0; i < add; i++) {
    Atomics.add(counter, 0, 1);
    hash = createHash("sha256").update(hash).digest("hex");
  }
  Atomics.notify(counter, 0);
  return hash;
}

async function workers() {
  const shared = new SharedArrayBuffer(4);
  const self = fileURLToPath(import.meta.url);
  const all = Array.from({ length: 6 }, () => new Worker(self, { workerData: { shared, add: 20 * scale } }));
  const hashes = await Promise.all(all.map(async (worker) => (await once(worker, "message"))[0]));
  await Promise.all(all.map((worker) => worker.terminate()));
  console.log("workers", new Int32Array(shared)[0], new Set(hashes).size, hashes[0].slice(0, 16));
}

async function crypto() {
  const derive = promisify(pbkdf2);
  const keys = await Promise.all(
    ["a", "b", "c", "d", "e"].map((word) => derive(word, "salt", 100 * scale, 16, "sha512")),
  );
  console.log(keys.map((key) => key.toString("hex")).join(" "));
  console.log(scryptSync("password", "salt", 16, { N: 1024 }).toString("hex"), randomBytes(32).length);
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const message = Buffer.from("signed");
  console.log(verify(null, message, publicKey, sign(null, message, privateKey)));
}

async function files() {
  const directory = await mkdtemp(join(tmpdir(), "km-node-"));
  const abort = new AbortController();
  const events = watch(directory, { signal: abort.signal });
  const first = events.next();
  await writeFile(join(directory, "one"), "x".repeat(10000 * scale));
  await first;
  abort.abort();
  await writeFile(join(directory, "two"), "second");
  console.log(
    await readdir(directory),
    (await stat(join(directory, "one"))).size,
    await readFile(join(directory, "two"), "utf8"),
  );
  const zipped = gzipSync(await readFile(join(directory, "one")));
  console.log(gunzipSync(zipped).length);
  await rm(directory, { recursive: true });
  console.log(await readFile("/no/such/file").catch((error) => error.code));
}

async function network() {
  const server = createServer((request, response) => response.end(`${request.method} ${request.url}`));
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address();
  const answers = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => (await fetch(`http://127.0.0.1:${port}/${i}`)).text()),
  );
  console.log(answers.join(", "));
  server.closeAllConnections();
  await new Promise((closed) => server.close(closed));
}

async function children() {
  const { stdout } = await promisify(execFile)("sh", ["-c", "echo $0 $1; exit 0", "zero", "one"]);
  console.log(stdout.trim());
  const cat = spawn("cat");
  cat.stdin.end("through cat");
  const [chunk] = await once(cat.stdout, "data");
  console.log(chunk.toString(), await once(cat, "close"));
  const [code] = await once(spawn(process.execPath, ["-e", "process.exit(9)"]), "close");
  console.log("child node", code);
  console.log(await promisify(execFile)("/no/such/program").catch((error) => error.code));
}

async function machine() {
  // (i32 a, i32 b) -> a + b
  const wasm = new Uint8Array([
    0, 97, 115, 109, 1, 0, 0, 0, 1, 7, 1, 96, 2, 127, 127, 1, 127, 3, 2, 1, 0, 7, 7, 1, 3, 97, 100, 100, 0, 0,
    10, 9, 1, 7, 0, 32, 0, 32, 1, 106, 11,
  ]);
  const { instance } = await WebAssembly.instantiate(wasm);
  console.log("wasm", instance.exports.add(40, 2));
  let sum = 0;
  for (let i = 0; i < 100000 * scale; i++) sum = (sum * 31 + i) | 0; // hot enough for the optimizing compiler
  console.log("jit", sum);
  let kept = [];
  for (let i = 0; i < 1000 * scale; i++) {
    kept.push({ text: `item ${i}`, data: new Array(50).fill(i) });
    if (kept.length > 500) kept = [];
  }
  console.log("garbage", kept.length);
  const start = performance.now();
  await sleep(20);
  console.log(
    "slept",
    performance.now() - start >= 19,
    process.execPath.endsWith("node"),
    process.argv.length,
  );
}

async function signals() {
  process.once("SIGUSR2", () => console.log("SIGUSR2"));
  process.kill(process.pid, "SIGUSR2");
  await sleep(50);
}

if (isMainThread) {
  for (const step of [workers, crypto, files, network, children, machine, signals]) await step();
  process.exitCode = 6;
} else {
  parentPort.postMessage(work(workerData));
}
