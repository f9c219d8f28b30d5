// SPDX-License-Identifier: Apache-2.0
// Servers that must carry a load under km as they do natively.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { payload } from "../helpers/payloads.js";
import { http, type Line, redis } from "./clients.js";

export interface Started {
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface Server {
  readonly name: string;
  /** Commands that must be on PATH. */
  readonly needs?: readonly string[];
  /** Debian packages to unpack; `start` gets the folder. */
  readonly packages?: readonly string[];
  readonly start: (of: { readonly folder: string; readonly port: number; readonly root: string }) => Started;
  readonly exchange: (line: Line, client: number, round: number) => Promise<void>;
  /** Processes it works with, the first included. */
  readonly processes?: number;
}

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
    exchange: redis,
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
    exchange: http,
    processes: 3,
  },
  {
    name: "Debian's python3, a thread for each client",
    needs: ["/usr/bin/python3"],
    start: ({ port }) => ({ command: ["/usr/bin/python3", "-c", PYTHON, String(port)] }),
    exchange: http,
  },
  {
    name: "node",
    needs: ["node"],
    start: ({ port }) => ({ command: [process.execPath, "-e", NODE, String(port)] }),
    exchange: http,
  },
  {
    name: "Go",
    needs: ["go"],
    start: ({ port }) => ({ command: [payload("go/server"), String(port)] }),
    exchange: http,
  },
  {
    name: "Java",
    needs: ["java", "javac"],
    start: ({ folder, port }) => {
      const command = ["java", `-Djava.io.tmpdir=${folder}`, "-cp", payload("java"), "Server", String(port)];
      return { command };
    },
    exchange: http,
  },
];
