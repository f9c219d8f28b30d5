// SPDX-License-Identifier: Apache-2.0
// What is known of clouds and hypervisors: how to recognise them, which of their machine types offer nested
// virtualization, and the exact way to switch it on. One table; everything else reads it. Last reviewed November 2026.
import type { NestedFacts } from "../facts.js";

/** Strings of /sys/class/dmi/id. */
export interface Dmi {
  vendor: string;
  product: string;
  chassisTag: string;
  biosVersion: string;
  biosVendor: string;
}

/** Applies to instance types that match; the first row that matches counts. */
export interface NestedRule {
  types: RegExp;
  offer: NestedFacts["offer"];
  /** NAME, ID, TYPE stand for what only the owner of the machine knows. */
  how: string;
  source: string;
}

export interface Metadata {
  url: string;
  headers?: Record<string, string>;
  /** Asked first, with PUT; its answer goes into this header of the question. */
  token?: { url: string; headers: Record<string, string>; header: string };
  /** Picks the instance type out of the answer. */
  type?: RegExp;
}

export interface Cloud {
  id: string;
  name: string;
  dmi: (dmi: Dmi) => boolean;
  /** The DMI product name is the instance type. */
  typeInProduct?: RegExp;
  metadata?: Metadata;
  nested: NestedRule[];
}

const LINK_LOCAL = "http://169.254.169.254";
const AWS_DOC = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/amazon-ec2-nested-virtualization.html";
const GCP_DOC = "https://cloud.google.com/compute/docs/instances/nested-virtualization/overview";
const AZURE_DOC = "https://learn.microsoft.com/azure/virtual-machines/sizes/overview";
const NEVER_HERE = "this machine type has none: use KKM, or another type";
const AWS_SWITCH =
  "stop the instance, then: aws ec2 modify-instance-cpu-options --instance-id ID --nested-virtualization enabled " +
  "(a new one: aws ec2 run-instances --cpu-options NestedVirtualization=enabled ...)";
const GCP_SWITCH =
  "gcloud compute instances export NAME --destination=vm.yaml; add `advancedMachineFeatures: " +
  "{enableNestedVirtualization: true}` to it; gcloud compute instances update-from-file NAME --source=vm.yaml " +
  "--most-disruptive-allowed-action=RESTART (a new one: gcloud compute instances create NAME --enable-nested-virtualization)";

export const CLOUDS: readonly Cloud[] = [
  {
    id: "aws",
    name: "Amazon EC2",
    dmi: ({ vendor, biosVersion }) => vendor === "Amazon EC2" || /amazon/i.test(biosVersion),
    typeInProduct: /^[a-z][a-z0-9-]*\.[a-z0-9-]+$/,
    metadata: {
      url: `${LINK_LOCAL}/latest/meta-data/instance-type`,
      token: {
        url: `${LINK_LOCAL}/latest/api/token`,
        headers: { "X-aws-ec2-metadata-token-ttl-seconds": "60" },
        header: "X-aws-ec2-metadata-token",
      },
    },
    nested: [
      {
        types: /\.metal/,
        offer: "offered",
        how: "a whole machine: load kvm_intel or kvm_amd",
        source: AWS_DOC,
      },
      { types: /^[cmr](8|9|\d\d)i(d|n|dn|b)?(-flex)?\./, offer: "switch", how: AWS_SWITCH, source: AWS_DOC },
      {
        types: /^[cmr]7i(-flex)?\./,
        offer: "switch",
        how: `${AWS_SWITCH}; where the type's supported-features list nested-virtualization`,
        source: AWS_DOC,
      },
      {
        types: /./,
        offer: "metal",
        how: "not on this type: take a C8i, M8i or R8i type, a .metal one, or use KKM",
        source: AWS_DOC,
      },
    ],
  },
  {
    id: "gcp",
    name: "Google Compute Engine",
    dmi: ({ vendor, product }) => vendor === "Google" && product === "Google Compute Engine",
    metadata: {
      url: `${LINK_LOCAL}/computeMetadata/v1/instance/machine-type`,
      headers: { "Metadata-Flavor": "Google" },
      type: /([^/\s]+)\s*$/,
    },
    nested: [
      { types: /^(e2|f1|g1)-/, offer: "never", how: NEVER_HERE, source: GCP_DOC },
      {
        types: /^(n2d|t2d|c2d|c3d|c4d|n4d|h4d|t2a|c4a|n4a|m\d)-/,
        offer: "never",
        how: NEVER_HERE,
        source: GCP_DOC,
      },
      { types: /-metal$/, offer: "offered", how: "a whole machine: load kvm_intel", source: GCP_DOC },
      { types: /./, offer: "switch", how: GCP_SWITCH, source: GCP_DOC },
    ],
  },
  {
    id: "azure",
    name: "Microsoft Azure",
    // Every Azure machine carries this chassis tag; plain Hyper-V has the same vendor without it.
    dmi: ({ vendor, chassisTag }) =>
      vendor === "Microsoft Corporation" && chassisTag === "7783-7084-3265-9085-8269-3286-77",
    metadata: {
      url: `${LINK_LOCAL}/metadata/instance/compute/vmSize?api-version=2021-02-01&format=text`,
      headers: { Metadata: "true" },
    },
    nested: [
      {
        types: /^(Standard|Basic)_(B|A)\d/i,
        offer: "never",
        how: `B and A series: ${NEVER_HERE}`,
        source: AZURE_DOC,
      },
      {
        types: /^Standard_(DC|EC)/i,
        offer: "never",
        how: `confidential series: ${NEVER_HERE}`,
        source: AZURE_DOC,
      },
      { types: /_D\d+a.*_v4$|_D\w*p.*_v\d$/i, offer: "never", how: NEVER_HERE, source: AZURE_DOC },
      { types: /_DS?\d+_v2$/i, offer: "never", how: `Dv2, DSv2: ${NEVER_HERE}`, source: AZURE_DOC },
      {
        types: /_[DEF]\d+\w*_v[3-9]/i,
        offer: "offered",
        how: "no switch: the series has it; check that the security type is Standard, then resize or redeploy",
        source: AZURE_DOC,
      },
      {
        types: /./,
        offer: "unknown",
        how: "see `Feature support` on the page of the size",
        source: AZURE_DOC,
      },
    ],
  },
  {
    id: "oracle",
    name: "Oracle Cloud",
    dmi: ({ chassisTag }) => chassisTag === "OracleCloud.com",
    metadata: { url: `${LINK_LOCAL}/opc/v2/instance/shape`, headers: { Authorization: "Bearer Oracle" } },
    nested: [
      {
        types: /^BM\./,
        offer: "offered",
        how: "a whole machine: load kvm_intel or kvm_amd",
        source: "docs.oracle.com",
      },
      {
        types: /./,
        offer: "metal",
        how: "not documented for VM shapes: take a BM shape, or use KKM",
        source: "docs.oracle.com",
      },
    ],
  },
  {
    id: "digitalocean",
    name: "DigitalOcean",
    dmi: ({ vendor }) => vendor === "DigitalOcean",
    nested: [
      {
        types: /./,
        offer: "unknown",
        how: "undocumented, differs by region: try another region, or use KKM",
        source: "firecracker#751",
      },
    ],
  },
  {
    id: "hetzner",
    name: "Hetzner Cloud",
    dmi: ({ vendor, product }) => vendor === "Hetzner" && product === "vServer",
    nested: [
      {
        types: /./,
        offer: "never",
        how: "no cloud type has it: use KKM, or a dedicated (Robot) server",
        source: "docs.hetzner.com",
      },
    ],
  },
  {
    id: "alibaba",
    name: "Alibaba Cloud",
    dmi: ({ vendor, product }) => /^Alibaba Cloud/.test(vendor) || /^Alibaba Cloud/.test(product),
    metadata: { url: "http://100.100.100.200/latest/meta-data/instance/instance-type" },
    nested: [
      {
        types: /^ecs\.ebm/,
        offer: "offered",
        how: "a whole machine: load kvm_intel or kvm_amd",
        source: "alibabacloud.com ECS bare metal",
      },
      {
        types: /./,
        offer: "metal",
        how: "only on ecs.ebm types: take one, or use KKM",
        source: "alibabacloud.com ECS bare metal",
      },
    ],
  },
  {
    id: "openstack",
    name: "OpenStack",
    dmi: ({ vendor, product }) => vendor === "OpenStack Foundation" || /^OpenStack/.test(product),
    nested: [
      {
        types: /./,
        offer: "unknown",
        how: "the operator decides: nested=1 for kvm_intel or kvm_amd, and cpu_mode=host-passthrough",
        source: "https://docs.openstack.org/nova/latest/configuration/config.html",
      },
    ],
  },
];

/** Hypervisors without a cloud around them: systemd-detect-virt's name, and how to offer virtualization inside. */
export const HYPERVISORS: Record<string, { name: string; how: string; source: string }> = {
  kvm: {
    name: "KVM or QEMU",
    how: "on the host: `modprobe kvm_intel nested=1` (kvm_amd), and the guest's CPU as host-passthrough (-cpu host)",
    source: "https://docs.kernel.org/virt/kvm/x86/running-nested-guests.html",
  },
  qemu: {
    name: "QEMU without KVM",
    how: "emulated processors have SVM: -cpu EPYC,+svm,+npt",
    source: "https://www.qemu.org/docs/master/system/introduction.html",
  },
  vmware: {
    name: "VMware",
    how: 'power the machine off and set vhv.enable = "TRUE" in its .vmx file (Expose hardware assisted virtualization)',
    source: "https://docs.vmware.com (virtual CPU configuration)",
  },
  oracle: {
    name: "VirtualBox",
    how: "power the machine off, then: VBoxManage modifyvm NAME --nested-hw-virt on",
    source: "https://www.virtualbox.org/manual/ (nested virtualization)",
  },
  microsoft: {
    name: "Hyper-V",
    how: "turn the machine off, then: Set-VMProcessor -VMName NAME -ExposeVirtualizationExtensions $true",
    source: "https://learn.microsoft.com/windows-server/virtualization/hyper-v/enable-nested-virtualization",
  },
  xen: {
    name: "Xen",
    how: "in the machine's configuration: nestedhvm=1 (experimental)",
    source: "https://wiki.xenproject.org/wiki/Nested_Virtualization_in_Xen",
  },
  parallels: {
    name: "Parallels",
    how: "switch on nested virtualization in the machine's CPU options (Intel only)",
    source: "https://kb.parallels.com",
  },
};

export const WSL_NESTED: NestedFacts = {
  offer: "switch",
  how: "on Windows put `[wsl2]` and `nestedVirtualization=true` into %UserProfile%\\.wslconfig, then: wsl --shutdown",
  source: "https://learn.microsoft.com/windows/wsl/wsl-config",
};

export const METAL_NESTED: NestedFacts = {
  offer: "offered",
  how: "switch on VT-x or AMD-V (SVM) in the firmware's set-up",
  source: "the machine's manual",
};
