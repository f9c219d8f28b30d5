// SPDX-License-Identifier: Apache-2.0
// The machine as detectors and checks see it. They ask only through this, so that they run over the real machine and
// over a description of one alike. Nothing here changes anything.
import { constants } from "node:fs";
import { access, open, readdir, readFile, readlink, stat } from "node:fs/promises";
import { request } from "node:http";
import { arch, platform, release, userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { execa } from "execa";
import { errorCode } from "./files.js";

export interface CommandResult {
  status: number;
  stdout: string;
  stderr: string;
}

export interface FileFacts {
  type: "file" | "folder" | "character" | "other";
  /** Permission bits. */
  mode: number;
  owner: string;
  group: string;
}

export interface HostUser {
  uid: number;
  name: string;
  groups: string[];
  /** Who called sudo, where somebody did. */
  sudo?: string;
  /** The groups that one is in; only with `sudo`. */
  sudoGroups?: string[];
}

export interface MetadataRequest {
  method?: "GET" | "PUT";
  headers?: Record<string, string>;
  /** Milliseconds. */
  timeout: number;
}

export interface Host {
  readonly platform: string;
  readonly arch: string;
  /** What uname -r says. */
  readonly release: string;
  readonly user: HostUser;
  /** Content as UTF-8; undefined where there is no such file or it may not be read. */
  readFile(path: string): Promise<string | undefined>;
  readBytes(path: string): Promise<Uint8Array | undefined>;
  /** Sorted names; undefined where there is no such folder or it may not be read. */
  readDir(path: string): Promise<string[] | undefined>;
  /** Where a symbolic link points. */
  readLink(path: string): Promise<string | undefined>;
  /** Follows links; undefined where there is nothing, "EACCES" and the like where it may not be known. */
  stat(path: string): Promise<FileFacts | string | undefined>;
  /** Opens for reading and writing and closes; the error's code where that fails. */
  tryOpen(path: string): Promise<string | undefined>;
  which(command: string): Promise<string | undefined>;
  /** Runs a program that only looks. undefined: there is none of this name, or it took too long. */
  run(command: string, ...args: string[]): Promise<CommandResult | undefined>;
  /** Asks a metadata service; undefined without an answer of status 200. */
  ask(url: string, options: MetadataRequest): Promise<string | undefined>;
}

const COMMAND_SECONDS = 10;
/** Where system programs are, also for users whose PATH lacks them. */
const SYSTEM_PATH = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/** Whether something is there. */
export async function exists(host: Host, path: string): Promise<boolean> {
  return (await host.stat(path)) !== undefined;
}

async function unlessRefused<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (errorCode(error)) return undefined;
    throw error;
  }
}

/** Name of a numeric id in /etc/passwd or /etc/group, or the number. */
async function nameOf(id: number, table: "/etc/passwd" | "/etc/group"): Promise<string> {
  const text = (await unlessRefused(readFile(table, "utf8"))) ?? "";
  const line = text.split("\n").find((row) => row.split(":")[2] === String(id));
  return line?.split(":")[0] ?? String(id);
}

async function statOf(path: string): Promise<FileFacts | string | undefined> {
  try {
    const stats = await stat(path);
    const type = stats.isFile()
      ? "file"
      : stats.isDirectory()
        ? "folder"
        : stats.isCharacterDevice()
          ? "character"
          : "other";
    const [owner, group] = await Promise.all([
      nameOf(stats.uid, "/etc/passwd"),
      nameOf(stats.gid, "/etc/group"),
    ]);
    return { type, mode: stats.mode & 0o7777, owner, group };
  } catch (error) {
    const code = errorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    if (code) return code;
    throw error;
  }
}

async function which(command: string): Promise<string | undefined> {
  const folders = [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), ...SYSTEM_PATH];
  for (const folder of folders) {
    const path = join(folder, command);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // not here
    }
  }
  return undefined;
}

async function run(command: string, ...args: string[]): Promise<CommandResult | undefined> {
  const path = command.includes("/") ? command : await which(command);
  if (!path) return undefined;
  const done = await execa(path, args, {
    reject: false,
    stdin: "ignore",
    timeout: COMMAND_SECONDS * 1000,
    env: { LC_ALL: "C" },
  });
  if (done.timedOut || done.exitCode === undefined) return undefined;
  return { status: done.exitCode, stdout: done.stdout, stderr: done.stderr };
}

/** node:http rather than fetch: no proxy may stand between a machine and its own metadata. */
function ask(url: string, { method = "GET", headers = {}, timeout }: MetadataRequest) {
  return new Promise<string | undefined>((resolve) => {
    const asked = request(url, { method, headers, timeout, agent: false }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > 65536) asked.destroy();
      });
      answer.on("end", () => resolve(answer.statusCode === 200 ? text : undefined));
      answer.on("close", () => resolve(undefined));
    });
    const limit = setTimeout(() => asked.destroy(), timeout);
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(undefined));
    asked.on("close", () => {
      clearTimeout(limit);
      resolve(undefined);
    });
    asked.end();
  });
}

/** Groups of a user by passwd(5) and group(5): the primary one and those with the name among their members. */
export function groupsOf(name: string, passwd: string, group: string): string[] {
  const fields = (text: string) => text.split("\n").map((line) => line.split(":"));
  const primary = fields(passwd).find((row) => row[0] === name)?.[3];
  const rows = fields(group).filter((row) => row[2] === primary || row[3]?.split(",").includes(name));
  return rows.flatMap((row) => (row[0] ? [row[0]] : []));
}

/** Who called sudo. The name becomes an argument of usermod(8), and anybody can set a variable. */
async function sudoer(): Promise<Pick<HostUser, "sudo" | "sudoGroups">> {
  const sudo = process.env.SUDO_USER?.match(/^[a-z_][a-z0-9_.-]*\$?$/i)?.[0];
  if (!sudo || sudo === "root") return {};
  const tables = ["/etc/passwd", "/etc/group"].map((table) => unlessRefused(readFile(table, "utf8")));
  const [passwd = "", group = ""] = await Promise.all(tables);
  return { sudo, sudoGroups: groupsOf(sudo, passwd, group) };
}

async function user(): Promise<HostUser> {
  const uid = process.getuid?.() ?? -1;
  const ids = process.getgroups?.() ?? [];
  const groups = await Promise.all(ids.map((id) => nameOf(id, "/etc/group")));
  const common = { uid, groups, ...(await sudoer()) };
  try {
    return { ...common, name: userInfo().username };
  } catch {
    // A uid without an entry in /etc/passwd, as containers have.
    return { ...common, name: String(uid) };
  }
}

/** The machine this runs on. */
export async function realHost(): Promise<Host> {
  return {
    platform: platform(),
    arch: arch(),
    release: release(),
    user: await user(),
    readFile: (path) => unlessRefused(readFile(path, "utf8")),
    readBytes: (path) => unlessRefused(readFile(path)),
    readDir: async (path) => (await unlessRefused(readdir(path)))?.sort(),
    readLink: (path) => unlessRefused(readlink(path)),
    stat: statOf,
    tryOpen: async (path) => {
      try {
        await (await open(path, constants.O_RDWR)).close();
        return undefined;
      } catch (error) {
        return errorCode(error) ?? String(error);
      }
    },
    which,
    run,
    ask,
  };
}
