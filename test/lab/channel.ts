// SPDX-License-Identifier: Apache-2.0
// The host's end of the wire to guest/agent.c. A frame is: u32 payload length, u8 type, payload; little-endian.

export const frame = {
  hostRun: 1,
  hostStdin: 2,
  hostKill: 3,
  hostQuit: 4,
  guestHello: 16,
  guestStdout: 17,
  guestStderr: 18,
  guestExit: 19,
} as const;

export interface Frame {
  readonly type: number;
  readonly payload: Buffer;
}

const headerSize = 5;
const maxPayload = 16 << 20;

export function encodeFrame(type: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const header = Buffer.alloc(headerSize);
  header.writeUInt32LE(payload.length, 0);
  header.writeUInt8(type, 4);
  return Buffer.concat([header, payload]);
}

/** The payload of a hostRun frame. */
export function encodeRun(
  cwd: string,
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
): Buffer {
  const pairs = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const strings = [cwd, ...argv, ...pairs];
  if (strings.some((text) => text.includes("\0")))
    throw new Error("a guest command cannot contain a NUL character");
  if (strings.length > 4096)
    throw new Error(`a guest command has at most 4095 arguments and variables in all`);
  const counts = Buffer.alloc(4);
  counts.writeUInt16LE(argv.length, 0);
  counts.writeUInt16LE(pairs.length, 2);
  return Buffer.concat([counts, ...strings.map((text) => Buffer.from(`${text}\0`))]);
}

/** Cuts a byte stream into frames. */
export class FrameReader {
  #pending: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Frame[] {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    const frames: Frame[] = [];
    while (this.#pending.length >= headerSize) {
      const size = this.#pending.readUInt32LE(0);
      if (size > maxPayload) throw new Error(`frame of ${size} bytes from the guest`);
      if (this.#pending.length < headerSize + size) break;
      frames.push({
        type: this.#pending.readUInt8(4),
        payload: this.#pending.subarray(headerSize, headerSize + size),
      });
      this.#pending = this.#pending.subarray(headerSize + size);
    }
    return frames;
  }
}

/** What a wait(2) status means, as a shell would say it: 128 + n for signal n. */
export function decodeStatus(status: number): { exitCode: number; signal: number | undefined } {
  const signal = status & 0x7f;
  return signal === 0
    ? { exitCode: (status >> 8) & 0xff, signal: undefined }
    : { exitCode: 128 + signal, signal };
}
