// SPDX-License-Identifier: Apache-2.0
// Suites of the installer: a whole installation with KKM, and machines that look like those of clouds.
import { join } from "node:path";
import { projectRoot } from "./paths.js";
import type { Suite } from "./suites.js";

interface CloudCase {
  name: string;
  /** Cloud of metadata.sh that answers at 169.254.169.254. */
  metadata: string;
  /** SMBIOS tables: type, then fields. */
  smbios: string[];
  /** What the installer is to see: cloud, instance type, where that was read, what it offers. */
  wanted: string;
}

const CLOUDS: readonly CloudCase[] = [
  {
    name: "ec2",
    metadata: "none",
    smbios: ["type=0,vendor=Amazon EC2,version=1.0", "type=1,manufacturer=Amazon EC2,product=m8i.large"],
    wanted: "aws m8i.large dmi switch",
  },
  {
    name: "ec2-xen",
    metadata: "aws",
    smbios: ["type=0,vendor=Xen,version=4.11.amazon", "type=1,manufacturer=Xen,product=HVM domU"],
    wanted: "aws t2.micro metadata metal",
  },
  {
    name: "azure",
    metadata: "azure",
    smbios: [
      "type=1,manufacturer=Microsoft Corporation,product=Virtual Machine",
      "type=3,asset=7783-7084-3265-9085-8269-3286-77",
    ],
    wanted: "azure Standard_B2s metadata never",
  },
  {
    name: "gcp",
    metadata: "gcp",
    smbios: ["type=1,manufacturer=Google,product=Google Compute Engine"],
    wanted: "gcp n2-standard-4 metadata switch",
  },
  {
    name: "hetzner",
    metadata: "none",
    smbios: ["type=1,manufacturer=Hetzner,product=vServer"],
    wanted: "hetzner   never",
  },
];

/** A network with nothing in it but the metadata service. */
function network(metadata: string): string[] {
  const script = join(projectRoot, "test/lab/suites/metadata.sh").replaceAll(",", ",,");
  const service = `guestfwd=tcp:169.254.169.254:80-cmd:${script} ${metadata}`;
  const options = ["user", "id=metadata", "net=169.254.0.0/16", "restrict=on", service];
  return ["-netdev", options.join(","), "-device", "virtio-net-pci,netdev=metadata"];
}

const common = { style: "root", cpus: 1, kvm: false, cpuModel: "max,-svm" } as const;
/** A whole machine of the kernel's own release, for installations that compile. */
const machine = { ...common, cpus: 2, timeoutSeconds: 3600 };
/** What the installer calls beyond the toolchain. */
const MACHINE_PACKAGES = ["passwd", "util-linux"];
/** What DKMS's hook calls, and what it signs with. */
const DKMS_PACKAGES = ["dkms", "openssl", "sysvinit-utils"];
const oldAndNew = ({ id }: { id: string }) => id === "6.1" || id === "sid";
const on61 = ({ id }: { id: string }) => id === "6.1";

function cloudSuite({ name, metadata, smbios, wanted }: CloudCase): Suite {
  return {
    ...common,
    name: `cloud-${name}`,
    summary: `the installer sees ${wanted.split(" ").filter(Boolean).join(" ")}`,
    script: "test/lab/suites/cloud.sh",
    timeoutSeconds: 900,
    env: { WANTED: wanted },
    modules: ["virtio_net"],
    qemu: [...smbios.flatMap((table) => ["-smbios", table]), ...network(metadata)],
    on: on61,
  };
}

export const installerSuites: readonly Suite[] = [
  {
    ...machine,
    name: "install",
    summary:
      "npx kontain-install builds, loads and proves KKM; a new kernel; doctor; uninstall leaves no trace",
    script: "test/lab/suites/install.sh",
    userland: { name: "machine", packages: MACHINE_PACKAGES },
    on: oldAndNew,
  },
  {
    ...machine,
    name: "install-dkms",
    summary: "the same where DKMS is installed: it builds, also for a new kernel, and forgets",
    script: "test/lab/suites/install-dkms.sh",
    userland: { name: "machine-dkms", packages: [...MACHINE_PACKAGES, ...DKMS_PACKAGES] },
    on: oldAndNew,
  },
  {
    ...common,
    name: "install-signed-only",
    summary: "module.sig_enforce: refused with what a key would take, nothing changed",
    script: "test/lab/suites/install-signed-only.sh",
    timeoutSeconds: 600,
    on: oldAndNew,
  },
  {
    ...common,
    name: "install-kvm",
    summary: "nested SVM: kontain-install takes /dev/kvm, and loads its module where it is not",
    kvm: true,
    cpuModel: "EPYC,+svm,+npt",
    script: "test/lab/suites/install-kvm.sh",
    timeoutSeconds: 900,
    on: oldAndNew,
  },
  ...CLOUDS.map(cloudSuite),
];
