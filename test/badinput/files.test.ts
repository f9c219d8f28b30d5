// SPDX-License-Identifier: Apache-2.0
// Files that are no programs, or damaged ones: one line that names the file and the reason, exit status 2.
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { buildPayloads, payload } from "../helpers/payloads.js";
import { Elf, PT_INTERP, PT_LOAD } from "./elf.js";
import { refused, trial } from "./tidy.js";

const BAD_PROGRAM = 2;

await buildPayloads();
const whole = readFileSync(payload("hello/static-musl"));
const dynamic = readFileSync(payload("hello/dynamic-glibc"));
const fixed = (): Elf => Elf.copyOf(whole);

/** A copy of the static program with one field of its `index`th segment changed. */
function segment(
  index: number,
  field: "offset" | "vaddr" | "filesz" | "memsz",
  change: (elf: Elf) => bigint,
): Buffer {
  const elf = fixed();
  return elf.set(elf.header(PT_LOAD, index), field, change(elf)).bytes;
}

function interpreter(change: (elf: Elf, at: number, length: number) => void): Buffer {
  const elf = Elf.copyOf(dynamic);
  const header = elf.header(PT_INTERP);
  change(elf, Number(header.offset), Number(header.filesz));
  return elf.bytes;
}

interface BadFile {
  readonly name: string;
  readonly contents: () => Buffer | string;
  readonly why: RegExp;
}

const FILES: readonly BadFile[] = [
  { name: "empty", contents: () => "", why: /is empty/ },
  { name: "text", contents: () => "just text\n", why: /neither an ELF program nor a script/ },
  { name: "32-bit", contents: () => fixed().byte(4, 1).bytes, why: /32-bit program.*-m64/ },
  { name: "big-endian", contents: () => fixed().byte(5, 2).bytes, why: /not little-endian/ },
  { name: "another machine", contents: () => fixed().half(18, 183).bytes, why: /64-bit Arm.*x86-64/ },
  { name: "unknown machine", contents: () => fixed().half(18, 65000).bytes, why: /x86-64 programs only/ },
  { name: "an object file", contents: () => fixed().half(16, 1).bytes, why: /object file.*link it/ },
  { name: "a core dump", contents: () => fixed().half(16, 4).bytes, why: /core dump/ },
  { name: "half a header", contents: () => whole.subarray(0, 40), why: /truncated.*ELF header/ },
  {
    name: "half the program headers",
    contents: () => whole.subarray(0, 70),
    why: /truncated.*program headers/,
  },
  { name: "half a segment", contents: () => whole.subarray(0, 5000), why: /truncated.*segment 1/ },
  {
    name: "small program headers",
    contents: () => fixed().half(54, 32).bytes,
    why: /32 bytes instead of 56/,
  },
  { name: "no program headers", contents: () => fixed().half(56, 0).bytes, why: /no program headers/ },
  {
    name: "65535 program headers",
    contents: () => fixed().half(56, 65535).bytes,
    why: /65535 program headers/,
  },
  {
    name: "overlapping segments",
    contents: () =>
      segment(1, "vaddr", (elf) => elf.header(PT_LOAD, 0).vaddr + (elf.header(PT_LOAD, 1).offset & 4095n)),
    why: /segments overlap at 0x/,
  },
  {
    name: "a huge segment",
    contents: () => segment(3, "memsz", () => 1n << 60n),
    why: /leaves the address space/,
  },
  {
    name: "64 GiB of bss",
    contents: () => segment(3, "memsz", () => 1n << 36n),
    why: /cannot be mapped at 0x/,
  },
  {
    name: "a segment that wraps",
    contents: () => segment(3, "vaddr", () => 0xfffffffffffff000n),
    why: /leaves the address space/,
  },
  {
    name: "a low segment",
    contents: () => segment(0, "vaddr", () => 0x1000n),
    why: /outside 0x200000.*relink/,
  },
  {
    name: "a misaligned segment",
    contents: () => segment(0, "offset", (elf) => elf.header(PT_LOAD, 0).offset + 8n),
    why: /modulo the page size/,
  },
  {
    name: "more file than memory",
    contents: () => segment(0, "filesz", (elf) => elf.header(PT_LOAD, 0).memsz + 4096n),
    why: /larger in the file than in memory/,
  },
  {
    name: "a missing interpreter",
    contents: () => interpreter((elf, at) => elf.bytes.write("/no/such/ld.so\0", at)),
    why: /interpreter '\/no\/such\/ld\.so' does not exist/,
  },
  {
    name: "an endless interpreter name",
    contents: () => interpreter((elf, at, length) => elf.bytes.fill(0x41, at, at + length)),
    why: /interpreter path in it has no end/,
  },
  {
    name: "a huge interpreter name",
    contents: () => interpreter((elf) => elf.set(elf.header(PT_INTERP), "filesz", 1n << 40n)),
    why: /interpreter path in it is too long/,
  },
  {
    name: "a script without its interpreter",
    contents: () => "#!/no/such/interpreter -x\n",
    why: /interpreter '\/no\/such\/interpreter' does not exist/,
  },
  { name: "a script with an empty first line", contents: () => "#!\n", why: /names no interpreter/ },
  {
    name: "a script with a long first line",
    contents: () => `#!/${"x".repeat(5000)}\n`,
    why: /names no interpreter after #! \(or a name of more than/,
  },
];

for (const { name, contents, why } of FILES) {
  test(name, async (t) => {
    const verdict = await trial({
      args: ["./program"],
      prepare: (directory) => writeFileSync(join(directory, "program"), contents(), { mode: 0o755 }),
    });
    refused(t, verdict, BAD_PROGRAM, why);
    t.regex(verdict.stderr, /program'/, "it names the file");
  });
}

test("the file they were made from runs", async (t) => {
  const verdict = await trial({ args: [payload("hello/static-musl")] });
  t.is(verdict.status, 0);
  t.is(verdict.stdout, "hello, world\n");
  t.is(verdict.stderr, "");
  t.deepEqual(verdict.left, []);
});

test("a script that is its own interpreter", async (t) => {
  const prepare = (directory: string) =>
    writeFileSync(join(directory, "program"), `#!${join(directory, "program")}\n`, { mode: 0o755 });
  refused(t, await trial({ args: ["./program"], prepare }), BAD_PROGRAM, /more than 5 deep/);
});

test("what is no regular file, or not there", async (t) => {
  refused(
    t,
    await trial({ args: ["/no/such/program"] }),
    BAD_PROGRAM,
    /'\/no\/such\/program': does not exist/,
  );
  refused(t, await trial({ args: ["no_such_command"] }), BAD_PROGRAM, /'no_such_command': does not exist/);
  refused(t, await trial({ args: [""] }), BAD_PROGRAM, /'': does not exist/);
  refused(t, await trial({ args: ["/dev/null"] }), BAD_PROGRAM, /not a regular file/);
  const prepare = (directory: string) => mkdirSync(join(directory, "program"));
  refused(t, await trial({ args: ["./program"], prepare }), BAD_PROGRAM, /is a directory/);
  refused(t, await trial({ args: ["/etc/passwd/x"] }), BAD_PROGRAM, /\/etc\/passwd\/x'/);
});

test("a fifo does not make it wait", async (t) => {
  const verdict = await trial({
    args: ["./program"],
    wrap: (km) => ["sh", "-c", 'mkfifo -m 755 program && exec "$@"', "sh", ...km],
  });
  t.is(verdict.status, BAD_PROGRAM);
  t.regex(verdict.stderr, /^km: '\.\/program': is not a regular file[^\n]*\n$/);
});

test("a program without permission to execute", async (t) => {
  const prepare = (directory: string) => {
    writeFileSync(join(directory, "program"), whole);
    chmodSync(join(directory, "program"), 0o644);
  };
  refused(t, await trial({ args: ["./program"], prepare }), BAD_PROGRAM, /not executable.*chmod \+x/);
});

test("an entry point outside the program ends like natively", async (t) => {
  const contents = fixed().long(24, 0x12345678n).bytes;
  const prepare = (directory: string) => writeFileSync(join(directory, "program"), contents, { mode: 0o755 });
  const verdict = await trial({ args: ["./program"], prepare });
  t.is(verdict.status, "SIGSEGV");
  t.regex(verdict.stderr, /^km: [^\n]*address 0x12345678, at rip 0x12345678[^\n]*\n$/);
});
