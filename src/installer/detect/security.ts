// SPDX-License-Identifier: Apache-2.0
// What decides whether the kernel takes a module that was built here.
import { exists, type Host } from "../../base/host.js";
import type { SecurityFacts } from "../facts.js";
import { detectApparmor, detectSelinux } from "./system.js";

/** Where distributions and DKMS keep the machine owner's key pair. */
export const KEY_PLACES: readonly { privateKey: string; certificate: string }[] = [
  { privateKey: "/var/lib/shim-signed/mok/MOK.priv", certificate: "/var/lib/shim-signed/mok/MOK.der" },
  { privateKey: "/var/lib/dkms/mok.key", certificate: "/var/lib/dkms/mok.pub" },
  {
    privateKey: "/etc/pki/akmods/private/private_key.priv",
    certificate: "/etc/pki/akmods/certs/public_key.der",
  },
];

/** "none [integrity] confidentiality" -> "integrity". */
export function parseLockdown(text: string | undefined): SecurityFacts["lockdown"] {
  const chosen = /\[(\w+)\]/.exec(text ?? "")?.[1];
  return chosen === "none" || chosen === "integrity" || chosen === "confidentiality" ? chosen : "absent";
}

async function secureBoot(host: Host): Promise<SecurityFacts["secureBoot"]> {
  if (!(await exists(host, "/sys/firmware/efi"))) return "no-efi";
  const names = (await host.readDir("/sys/firmware/efi/efivars")) ?? [];
  const name = names.find((entry) => entry.startsWith("SecureBoot-"));
  // Four bytes of attributes, then the value.
  const bytes = name ? await host.readBytes(`/sys/firmware/efi/efivars/${name}`) : undefined;
  if (bytes && bytes.length >= 5) return bytes[4] === 1 ? "on" : "off";
  const said = (await host.run("mokutil", "--sb-state"))?.stdout ?? "";
  return /SecureBoot enabled/.test(said) ? "on" : /SecureBoot disabled/.test(said) ? "off" : "unknown";
}

async function signingKey(host: Host): Promise<SecurityFacts["key"]> {
  for (const place of KEY_PLACES) {
    // Private keys may be known to root only; a key that cannot be seen is not one that could sign.
    if (!(await exists(host, place.privateKey)) || !(await exists(host, place.certificate))) continue;
    const tested = await host.run("mokutil", "--test-key", place.certificate);
    const text = `${tested?.stdout ?? ""}${tested?.stderr ?? ""}`;
    const enrolled = /is already enrolled/.test(text) ? true : /is not enrolled/.test(text) ? false : null;
    return { ...place, enrolled };
  }
  return null;
}

export async function detectSecurity(host: Host): Promise<SecurityFacts> {
  const [boot, key, selinux, apparmor] = await Promise.all([
    secureBoot(host),
    signingKey(host),
    detectSelinux(host),
    detectApparmor(host),
  ]);
  const enforce = (await host.readFile("/sys/module/module/parameters/sig_enforce"))?.trim();
  return {
    secureBoot: boot,
    lockdown: parseLockdown(await host.readFile("/sys/kernel/security/lockdown")),
    modulesDisabled: (await host.readFile("/proc/sys/kernel/modules_disabled"))?.trim() === "1",
    sigEnforce: enforce === "Y" || enforce === "1",
    modules: await exists(host, "/proc/modules"),
    key,
    selinux,
    apparmor,
  };
}

/** Whether the running kernel refuses a module without a signature it knows. */
export function needsSignature(security: SecurityFacts): boolean {
  const { sigEnforce, lockdown, secureBoot: boot } = security;
  if (sigEnforce || lockdown === "integrity" || lockdown === "confidentiality") return true;
  // Distributions couple lockdown to Secure Boot; where lockdown cannot be seen, Secure Boot has to stand for it.
  return lockdown === "absent" && boot === "on";
}
