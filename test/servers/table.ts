// SPDX-License-Identifier: Apache-2.0
// Servers that must carry a load under km as they do natively.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { payload } from "../helpers/payloads.js";
import { http, load, redis } from "./clients.js";
import { pgbench } from "./postgresql.js";

export interface Started {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Where one run of a server happens. */
export interface Where {
  readonly folder: string;
  readonly port: number;
  /** Root of the unpacked packages; "/" without. */
  readonly root: string;
  /** Environment in which the packages' own programs find their libraries. */
  readonly env: Readonly<Record<string, string>>;
}

export interface Server {
  readonly name: string;
  /** Commands that must be on PATH. */
  readonly needs?: readonly string[];
  /** Debian packages to unpack; `start` gets the folder. */
  readonly packages?: readonly string[];
  readonly start: (where: Where) => Started;
  /** A command that must have succeeded before, natively and under km like the server itself. */
  readonly prepare?: (where: Where) => Started;
  /** It refuses to be root: it runs as this user then. */
  readonly user?: string;
  /** What its clients speak. */
  readonly protocol: keyof typeof LOADS;
  /** Processes it works with, the first included. */
  readonly processes?: number;
}

export const CONNECTIONS = 16;
const ROUNDS = 20;
const exchanges = (exchange: typeof http) => (where: Where) =>
  load(where.port, { connections: CONNECTIONS, rounds: ROUNDS }, exchange);

/** One load from native clients, by protocol; every answer is checked. */
export const LOADS = { http: exchanges(http), redis: exchanges(redis), postgresql: pgbench } as const;

const NGINX = (folder: string, port: number) => `
daemon off;
master_process on;
worker_processes 2;
${process.getuid?.() === 0 ? "user nobody nogroup;" : ""}
pid ${folder}/pid;
error_log stderr crit;
events { worker_connections 256; }
http {
  access_log off;
  keepalive_requests 100000;
  client_body_temp_path ${folder}/a;
  proxy_temp_path ${folder}/b;
  fastcgi_temp_path ${folder}/c;
  uwsgi_temp_path ${folder}/d;
  scgi_temp_path ${folder}/e;
  server {
    listen 127.0.0.1:${port};
    location / { return 200 "you asked for $uri\\n"; }
  }
}
`;

const PYTHON = `
import http.server, signal, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = f"you asked for {self.path}\\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
signal.signal(signal.SIGTERM, lambda *args: sys.exit(0))
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
`;

const NODE = `
const http = require("node:http");
const server = http.createServer((request, response) => {
  const body = "you asked for " + request.url + "\\n";
  response.writeHead(200, { "Content-Length": body.length });
  response.end(body);
});
server.listen(Number(process.argv[1]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
`;

/** Debian's folder of the server programs of version 15. */
export const POSTGRESQL = "usr/lib/postgresql/15/bin";

/** Name of a server's folder and of its soak: the first word of its name. */
export const idOf = (server: Server): string => /^\w+/.exec(server.name.toLowerCase())?.[0] ?? "";

export const SERVERS: readonly Server[] = [
  {
    name: "redis",
    packages: [
      "redis-server",
      "redis-tools",
      "libjemalloc2",
      "liblua5.1-0",
      "lua-bitop",
      "lua-cjson",
      "liblzf1",
      "libatomic1",
    ],
    start: ({ folder, port, root }) => ({
      command: [
        join(root, "usr/bin/redis-server"),
        ...[
          "--port",
          String(port),
          "--dir",
          folder,
          "--save",
          "",
          "--appendonly",
          "no",
          "--logfile",
          join(folder, "log"),
        ],
      ],
    }),
    protocol: "redis",
  },
  {
    name: "nginx, a master and two workers",
    packages: ["nginx", "libpcre2-8-0"],
    start: ({ folder, port, root }) => {
      writeFileSync(join(folder, "conf"), NGINX(folder, port));
      return {
        command: [join(root, "usr/sbin/nginx"), "-p", folder, "-c", join(folder, "conf"), "-e", "stderr"],
      };
    },
    protocol: "http",
    processes: 3,
  },
  {
    name: "PostgreSQL, a process for each client, shared memory",
    needs: ["setpriv"],
    packages: ["postgresql-15", "postgresql-client-15", "libpq5", "libicu72"],
    user: "nobody",
    prepare: ({ folder, root }) => ({
      command: [
        join(root, POSTGRESQL, "initdb"),
        ...[
          "-D",
          join(folder, "data"),
          "-U",
          "bench",
          "-A",
          "trust",
          "-E",
          "UTF8",
          "--no-locale",
          "--no-sync",
        ],
      ],
    }),
    start: ({ folder, port, root }) => {
      const settings = {
        listen_addresses: "127.0.0.1",
        port,
        unix_socket_directories: folder,
        autovacuum: "off", // its processes come and go
        jit: "off", // LLVM is not among the packages
        log_min_messages: "panic",
      };
      const options = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
      return { command: [join(root, POSTGRESQL, "postgres"), "-D", join(folder, "data"), ...options] };
    },
    protocol: "postgresql",
    processes: 5, // postmaster, checkpointer, background writer, WAL writer, replication launcher
  },
  {
    name: "python3 (Debian's), a thread for each client",
    needs: ["/usr/bin/python3"],
    start: ({ port }) => ({ command: ["/usr/bin/python3", "-c", PYTHON, String(port)] }),
    protocol: "http",
  },
  {
    name: "node",
    needs: ["node"],
    start: ({ port }) => ({ command: [process.execPath, "-e", NODE, String(port)] }),
    protocol: "http",
  },
  {
    name: "Go",
    needs: ["go"],
    start: ({ port }) => ({ command: [payload("go/server"), String(port)] }),
    protocol: "http",
  },
  {
    name: "Java",
    needs: ["java", "javac"],
    start: ({ folder, port }) => {
      // a heap that is full before long: what grows beyond it is told from what is merely not collected yet
      const command = [
        "java",
        "-Xmx64m",
        `-Djava.io.tmpdir=${folder}`,
        "-cp",
        payload("java"),
        "Server",
        String(port),
      ];
      return { command };
    },
    protocol: "http",
  },
];
