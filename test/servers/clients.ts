// SPDX-License-Identifier: Apache-2.0
// What native clients ask of the servers, over plain sockets. Every answer is checked.
import { connect, type Socket } from "node:net";

/** A server that says nothing for so long has failed, however busy the machine is. */
const SILENCE_MS = 120_000;

/** One open connection on which exchanges follow each other. */
export class Line {
  private constructor(
    private readonly socket: Socket,
    private received = "",
    private wake: () => void = () => undefined,
    private failed: Error | undefined = undefined,
  ) {
    const fail = (error: Error) => {
      this.failed ??= error;
      this.wake();
    };
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      this.received += text;
      this.wake();
    });
    socket.setTimeout(SILENCE_MS, () => fail(new Error(`no answer, only ${JSON.stringify(this.received)}`)));
    socket.on("error", fail);
    socket.on("close", () => fail(new Error(`closed after ${JSON.stringify(this.received)}`)));
  }

  static open(port: number): Promise<Line> {
    return new Promise((done, failed) => {
      const socket = connect(port, "127.0.0.1");
      socket.once("error", failed);
      socket.once("connect", () => {
        socket.off("error", failed);
        done(new Line(socket));
      });
    });
  }

  /** Sends `text` and takes what comes back up to the end of `pattern`'s first match. */
  async ask(text: string, pattern: RegExp): Promise<RegExpExecArray> {
    this.socket.write(text, "latin1");
    for (;;) {
      const match = pattern.exec(this.received);
      if (match) {
        this.received = this.received.slice(match.index + match[0].length);
        return match;
      }
      if (this.failed) throw this.failed;
      await new Promise<void>((done) => {
        this.wake = done;
      });
    }
  }

  close(): void {
    this.socket.destroy();
  }
}

/** `rounds` exchanges on each of `connections` connections at once. */
export async function load(
  port: number,
  { connections, rounds }: { readonly connections: number; readonly rounds: number },
  exchange: (line: Line, client: number, round: number) => Promise<void>,
): Promise<void> {
  const client = async (id: number) => {
    const line = await Line.open(port);
    try {
      for (let round = 0; round < rounds; round++) await exchange(line, id, round);
    } finally {
      line.close();
    }
  };
  await Promise.all(Array.from({ length: connections }, (_, id) => client(id)));
}

function expect(actual: string | undefined, wanted: string): void {
  if (actual !== wanted)
    throw new Error(`the server said ${JSON.stringify(actual)} instead of ${JSON.stringify(wanted)}`);
}

/** Redis's inline commands (redis.io/docs/reference/protocol-spec). */
export async function redis(line: Line, client: number, round: number): Promise<void> {
  const value = `value-${client}-${round}`.repeat(20);
  expect((await line.ask(`SET key${client} ${value}\r\n`, /^(.*)\r\n/))[1], "+OK");
  expect((await line.ask(`GET key${client}\r\n`, /^\$\d+\r\n(.*)\r\n/))[1], value);
  expect((await line.ask("INCR counter\r\n", /^(.)\d+\r\n/))[1], ":");
}

/** HTTP/1.1 (RFC 9112) with keep-alive; the server answers a path with a body that ends in it. */
export async function http(line: Line, client: number, round: number): Promise<void> {
  const path = `/hello-${client}-${round}`;
  const request = `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
  const head = await line.ask(
    request,
    /^HTTP\/1\.1 (\d+)[\s\S]*?\r\ncontent-length: (\d+)(?:\r\n[^\r\n]+)*\r\n\r\n/i,
  );
  expect(head[1], "200");
  const body = await line.ask("", new RegExp(`^[\\s\\S]{${head[2]}}`));
  expect(body[0], `you asked for ${path}\n`);
}
