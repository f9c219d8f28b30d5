// SPDX-License-Identifier: Apache-2.0
// What this machine is: hypervisor, cloud, instance type, and what that says about nested virtualization. DMI decides;
// the metadata service is only asked for the instance type, which explains and never decides.
import type { Host } from "../../base/host.js";
import type { HostFacts, MachineFacts, NestedFacts } from "../facts.js";
import {
  CLOUDS,
  type Cloud,
  type Dmi,
  HYPERVISORS,
  METAL_NESTED,
  type Metadata,
  WSL_NESTED,
} from "./clouds.js";

/** A metadata service is one hop away or not there. */
const METADATA_MS = 1000;

export async function readDmi(host: Host): Promise<Dmi> {
  const [vendor, product, chassisTag, biosVersion, biosVendor] = await Promise.all(
    ["sys_vendor", "product_name", "chassis_asset_tag", "bios_version", "bios_vendor"].map(
      async (name) => (await host.readFile(`/sys/class/dmi/id/${name}`))?.trim() ?? "",
    ),
  );
  return {
    vendor: vendor ?? "",
    product: product ?? "",
    chassisTag: chassisTag ?? "",
    biosVersion: biosVersion ?? "",
    biosVendor: biosVendor ?? "",
  };
}

/** Hypervisors by DMI strings, where no tool names them. */
const BY_DMI: [RegExp, string][] = [
  [/VMware/i, "vmware"],
  [/VirtualBox|innotek/i, "oracle"],
  [/Microsoft Corporation/i, "microsoft"],
  [/^Xen/i, "xen"],
  [/Parallels/i, "parallels"],
  [/QEMU|Bochs|KubeVirt|OpenStack|Google|Amazon EC2|DigitalOcean|Hetzner|Alibaba/i, "kvm"],
];

/** lscpu(1)'s names for what CPUID leaf 0x40000000 says. */
const BY_LSCPU: Record<string, string> = {
  KVM: "kvm",
  Microsoft: "microsoft",
  VMware: "vmware",
  Xen: "xen",
  Oracle: "oracle",
  innotek: "oracle",
  Parallels: "parallels",
};

async function detectHypervisor(host: Host, dmi: Dmi, cpu: HostFacts["cpu"]): Promise<string> {
  const said = (await host.run("systemd-detect-virt", "--vm"))?.stdout.trim();
  if (said && said !== "none") return said === "amazon" || said === "google" ? "kvm" : said;
  const xen = (await host.readFile("/sys/hypervisor/type"))?.trim();
  if (xen === "xen") return "xen";
  const listed = /^Hypervisor vendor:\s*(\S+)/m.exec((await host.run("lscpu"))?.stdout ?? "")?.[1];
  const known = listed ? BY_LSCPU[listed] : undefined;
  if (known) return known;
  const strings = `${dmi.vendor}\n${dmi.product}`;
  const found = BY_DMI.find(([pattern]) => strings.split("\n").some((text) => pattern.test(text)))?.[1];
  // Whole machines of clouds carry their vendor's strings, without the hypervisor flag.
  if (!cpu.hypervisor) return found === "oracle" || found === "vmware" ? found : "none";
  return found ?? "unknown";
}

/** Asks a metadata service for the instance type; undefined without an answer. */
export async function askType(host: Host, metadata: Metadata): Promise<string | undefined> {
  const headers: Record<string, string> = { ...metadata.headers };
  if (metadata.token) {
    const { url, header } = metadata.token;
    const token = await host.ask(url, {
      method: "PUT",
      headers: metadata.token.headers,
      timeout: METADATA_MS,
    });
    if (!token || !/^[\x21-\x7e]{1,512}$/.test(token.trim())) return undefined;
    headers[header] = token.trim();
  }
  const answer = await host.ask(metadata.url, { headers, timeout: METADATA_MS });
  const type = (metadata.type ? metadata.type.exec(answer ?? "")?.[1] : answer)?.trim();
  // Whatever answers there is not to be trusted with a terminal.
  return type && /^[\w.-]{1,64}$/.test(type) ? type : undefined;
}

async function instanceOf(
  host: Host,
  cloud: Cloud,
  dmi: Dmi,
  offline: boolean,
): Promise<MachineFacts["cloud"]> {
  const common = { id: cloud.id, name: cloud.name };
  if (cloud.typeInProduct?.test(dmi.product))
    return { ...common, instanceType: dmi.product, typeFrom: "dmi" };
  const asked = cloud.metadata && !offline ? await askType(host, cloud.metadata) : undefined;
  return asked
    ? { ...common, instanceType: asked, typeFrom: "metadata" }
    : { ...common, instanceType: null, typeFrom: null };
}

/** What the table of clouds says of nested virtualization on this type; an unknown type gets the rule for any. */
export function nestedOf(cloud: Cloud, instanceType: string | null): NestedFacts {
  const last = cloud.nested.at(-1);
  const rule = cloud.nested.find(({ types }) => instanceType && types.test(instanceType)) ?? last;
  if (!rule) return { offer: "unknown", how: "not known", source: "" };
  const { offer, how, source } = rule;
  // Without a type the rule for the rest is no verdict, unless it is the only one.
  return { offer: instanceType || cloud.nested.length === 1 ? offer : "unknown", how, source };
}

function nestedWithoutCloud(hypervisor: string): NestedFacts {
  if (hypervisor === "none") return METAL_NESTED;
  const known = HYPERVISORS[hypervisor];
  return known
    ? { offer: "switch", how: known.how, source: known.source }
    : { offer: "unknown", how: "ask whoever runs the host for nested virtualization", source: "" };
}

/** @param offline ask no metadata service */
export async function detectMachine(
  host: Host,
  cpu: HostFacts["cpu"],
  wsl: HostFacts["wsl"],
  offline: boolean,
): Promise<MachineFacts> {
  const dmi = await readDmi(host);
  const hypervisor = wsl > 0 ? "wsl" : await detectHypervisor(host, dmi, cpu);
  const common = { hypervisor, vendor: dmi.vendor, product: dmi.product };
  const found = CLOUDS.find((cloud) => cloud.dmi(dmi));
  if (found) {
    const cloud = await instanceOf(host, found, dmi, offline);
    return { ...common, cloud, nested: nestedOf(found, cloud?.instanceType ?? null) };
  }
  return { ...common, cloud: null, nested: wsl > 0 ? WSL_NESTED : nestedWithoutCloud(hypervisor) };
}
