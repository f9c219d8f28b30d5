// SPDX-License-Identifier: Apache-2.0
// Where this host gets Debian packages from, read from its own apt configuration (sources.list(5)).

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Unavailable } from "./errors.js";

export interface Mirrors {
  readonly main: string;
  readonly security: string;
  readonly keyring: string;
}

interface Entry {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly signedBy: string | undefined;
}

const defaultKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
const debianSuite = /^(bullseye|bookworm|trixie|forky|sid|unstable|testing|stable|oldstable)\b/;

/** Entries of a one-line-style file: `deb [options] uri suite component...`. */
export function parseOneLine(text: string): Entry[] {
  const entries: Entry[] = [];
  for (const line of text.split("\n")) {
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)/.exec(line.trim());
    if (!match?.[2] || !match[3]) continue;
    const signedBy = /signed-by=(\S+)/.exec(match[1] ?? "")?.[1];
    entries.push({ uri: match[2], suites: [match[3]], signedBy });
  }
  return entries;
}

/** Entries of a deb822-style file: stanzas of `Field: value`. */
export function parseDeb822(text: string): Entry[] {
  const entries: Entry[] = [];
  for (const stanza of text.split(/\n\s*\n/)) {
    const field = (name: string) => new RegExp(`^${name}:\\s*(.+)$`, "im").exec(stanza)?.[1]?.trim();
    const words = (name: string) => (field(name) ?? "").split(/\s+/).filter(Boolean);
    if (!words("Types").includes("deb") || field("Enabled")?.toLowerCase() === "no") continue;
    for (const uri of words("URIs"))
      entries.push({ uri, suites: words("Suites"), signedBy: field("Signed-By") });
  }
  return entries;
}

function hostEntries(etc: string): Entry[] {
  const parts = join(etc, "sources.list.d");
  const names = existsSync(parts)
    ? readdirSync(parts)
        .sort()
        .map((name) => join(parts, name))
    : [];
  return [join(etc, "sources.list"), ...names].filter(existsSync).flatMap((path) => {
    if (path.endsWith(".sources")) return parseDeb822(readFileSync(path, "utf8"));
    return path.endsWith(".list") ? parseOneLine(readFileSync(path, "utf8")) : [];
  });
}

/**
 * The Debian mirrors of this host. $KONTAIN_LAB_MIRROR and $KONTAIN_LAB_SECURITY_MIRROR come first; then the first
 * entries under `etc` whose suites are Debian's.
 */
export function debianMirrors(etc = "/etc/apt"): Mirrors {
  const debian = hostEntries(etc).filter((entry) => entry.suites.some((suite) => debianSuite.test(suite)));
  const isSecurity = (entry: Entry) => entry.suites.some((suite) => suite.endsWith("-security"));
  const mainEntry = debian.find((entry) => !isSecurity(entry));
  const securityEntry = debian.find(isSecurity);
  const main = process.env.KONTAIN_LAB_MIRROR || mainEntry?.uri;
  if (!main)
    throw new Unavailable("no Debian mirror in /etc/apt: set KONTAIN_LAB_MIRROR to the address of one");
  const security =
    process.env.KONTAIN_LAB_SECURITY_MIRROR || securityEntry?.uri || `${main.replace(/\/+$/, "")}-security`;
  const keyring = mainEntry?.signedBy?.startsWith("/") ? mainEntry.signedBy : defaultKeyring;
  if (!existsSync(keyring)) {
    throw new Unavailable(
      `Debian's archive keyring is missing (${keyring}): apt-get install debian-archive-keyring`,
    );
  }
  return { main, security, keyring };
}
