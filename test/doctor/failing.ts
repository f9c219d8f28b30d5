// SPDX-License-Identifier: Apache-2.0
// For every check a host, made up, on which it is not ok. A check without an entry here fails the tests.
import type { Context, Verdict } from "../../src/doctor/check.js";
import type { HostDescription } from "../fixtures/described-host.js";

export interface Failing {
  verdict: Exclude<Verdict, "ok" | "skip" | "crash">;
  /** Changes to the healthy host. */
  host?: Partial<HostDescription>;
  /** Files beside the healthy host's; null takes one away. */
  files?: Record<string, string | null>;
  /** Changes after detection, for what no file says. */
  change?: (context: Context) => void;
  evidence: RegExp;
}

const kkmOnly: Partial<HostDescription> = { devices: {} };
const SECURE = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const DOCKER = { "docker --version": "Docker version 28.0.4, build b8034c0" };
const KUBELET = { "/var/lib/kubelet/config.yaml": "" };
const CPU = (flags: string) => `processor\t: 0\nvendor_id\t: X\nmodel name\t: Some\nflags\t\t: ${flags}\n`;

/** The module is built for the running kernel. */
const built =
  (module: "current" | "outdated", newest?: "current" | "outdated" | "absent") => (context: Context) => {
    const [running] = context.facts.build;
    if (!running) return;
    context.facts.build = [{ ...running, module }];
    if (newest) context.facts.build.push({ ...running, release: "6.1.0-99-amd64", module: newest });
  };

export const FAILING: Record<string, Failing> = {
  "KKM-CPU-001": { verdict: "fail", host: { arch: "arm64" }, evidence: /arm64/ },
  "KKM-CPU-002": {
    verdict: "warn",
    host: kkmOnly,
    files: { "/proc/cpuinfo": CPU("fxsr sse2 xsave") },
    evidence: /neither vmx nor svm/,
  },
  "KKM-CPU-003": { verdict: "warn", files: { "/proc/cpuinfo": CPU("vmx") }, evidence: /^1$/ },
  "KKM-CPU-004": { verdict: "fail", files: { "/proc/cpuinfo": CPU("fxsr sse2") }, evidence: /xsave/ },
  "KKM-CPU-005": {
    verdict: "warn",
    files: { "/proc/meminfo": "MemAvailable: 100000 kB\n" },
    evidence: /97 MiB/,
  },
  "KKM-HYP-001": {
    verdict: "warn",
    files: { "/proc/cpuinfo": CPU("hypervisor") },
    evidence: /unknown hypervisor/,
  },
  "KKM-HYP-002": {
    verdict: "warn",
    host: kkmOnly,
    files: {
      "/proc/cpuinfo": CPU("hypervisor"),
      "/sys/class/dmi/id/sys_vendor": "Amazon EC2",
      "/sys/class/dmi/id/product_name": "m8i.large",
    },
    evidence: /can be switched on/,
  },
  "KKM-HYP-003": { verdict: "warn", files: { "/.dockerenv": "" }, evidence: /docker/ },
  "KKM-HYP-004": {
    verdict: "fail",
    host: { ...kkmOnly, release: "6.6.87.2-microsoft-standard-WSL2" },
    evidence: /without \/dev\/kvm/,
  },
  "KKM-KERN-001": { verdict: "fail", host: { release: "4.14.355" }, evidence: /older than 4\.15/ },
  "KKM-KERN-002": {
    verdict: "fail",
    change: built("current", "absent"),
    evidence: /6\.1\.0-99-amd64.*has none/,
  },
  "KKM-KERN-003": { verdict: "fail", host: kkmOnly, files: { "/proc/modules": null }, evidence: /none/ },
  "KKM-KERN-004": {
    verdict: "fail",
    host: kkmOnly,
    files: { "/proc/sys/kernel/modules_disabled": "1\n" },
    evidence: /1/,
  },
  "KKM-KERN-005": {
    verdict: "fail",
    host: kkmOnly,
    files: { [SECURE]: "\x06\0\0\0\x01" },
    evidence: /no key/,
  },
  "KKM-KERN-006": {
    verdict: "warn",
    files: { "/sys/kernel/security/lockdown": "none integrity [confidentiality]\n" },
    evidence: /confidentiality/,
  },
  "KKM-KERN-007": {
    verdict: "warn",
    host: kkmOnly,
    files: { "/lib/modules/6.1.0-37-amd64/build/Makefile": null },
    evidence: /none for 6\.1\.0-37/,
  },
  "KKM-KERN-008": {
    verdict: "warn",
    host: { ...kkmOnly, commands: { "gcc -dumpversion": "14" } },
    evidence: /gcc is not gcc 12/,
  },
  "KKM-KERN-009": { verdict: "warn", host: { ...kkmOnly, commands: {} }, evidence: /make, ld, objdump/ },
  "KKM-KERN-010": {
    verdict: "warn",
    files: { "/proc/mounts": "c /sys/fs/cgroup/cpu cgroup rw 0 0\n" },
    evidence: /v1/,
  },
  "KKM-KERN-011": {
    verdict: "fail",
    host: { commands: { dmesg: "[ 1.0] ok\n[ 2.0] WARNING: CPU: 0 PID: 9 at kkm_run+0x10/0x20 [kkm]\n" } },
    files: { "/proc/modules": "kkm 1 0 - Live 0x0\n" },
    evidence: /kkm_run/,
  },
  "KKM-KERN-012": { verdict: "warn", files: { "/proc/sys/vm/overcommit_memory": "2\n" }, evidence: /never/ },
  "KKM-KERN-013": { verdict: "warn", files: { "/proc/sys/vm/max_map_count": "1000\n" }, evidence: /1000/ },
  "KKM-KERN-014": {
    verdict: "warn",
    files: { "/sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n" },
    evidence: /never/,
  },
  "KKM-KERN-015": {
    verdict: "fail",
    files: { "/proc/sys/kernel/seccomp/actions_avail": null },
    evidence: /has none/,
  },
  "KKM-MOD-001": { verdict: "fail", host: kkmOnly, evidence: /not built/ },
  "KKM-MOD-002": { verdict: "warn", change: built("outdated"), evidence: /other sources/ },
  "KKM-MOD-003": { verdict: "warn", host: kkmOnly, evidence: /does not name it/ },
  "KKM-MOD-004": {
    verdict: "fail",
    host: kkmOnly,
    files: { "/etc/udev/rules.d/60-kkm.rules": 'KERNEL=="kkm", MODE="0666"\n' },
    evidence: /everybody/,
  },
  "KKM-MOD-005": { verdict: "warn", host: kkmOnly, evidence: /there is none/ },
  "KKM-MOD-006": { verdict: "warn", change: built("current"), evidence: /no hook/ },
  "KKM-MOD-007": { verdict: "fail", host: kkmOnly, evidence: /kvm_intel is not loaded/ },
  "KKM-DEV-001": {
    verdict: "fail",
    host: { devices: { "/dev/kvm": { group: "kvm", guest: "KVM_CREATE_VM: EBUSY" } } },
    evidence: /EBUSY/,
  },
  "KKM-DEV-002": {
    verdict: "fail",
    host: { devices: { "/dev/kkm": { group: "kkm", open: "EACCES" } } },
    evidence: /denied: permission denied/,
  },
  "KKM-DEV-003": { verdict: "fail", host: kkmOnly, evidence: /\/dev\/kvm: absent/ },
  "KKM-DEV-004": { verdict: "warn", host: { devices: { "/dev/kvm": { mode: 0o666 } } }, evidence: /0666/ },
  "KKM-DEV-005": {
    verdict: "fail",
    host: {
      user: { uid: 1000, name: "anna", groups: ["anna"] },
      devices: { "/dev/kvm": { group: "kvm", open: "EACCES" } },
    },
    evidence: /anna may not open \/dev\/kvm \(0660 root:kvm\)/,
  },
  "KKM-MON-001": {
    verdict: "fail",
    change: (context) => {
      context.installed = null;
    },
    evidence: /none in/,
  },
  "KKM-MON-002": {
    verdict: "fail",
    change: (context) => {
      context.runHello = async () => ({
        works: false,
        command: "",
        stdout: "",
        problem: "killed by SIGSEGV",
      });
    },
    evidence: /SIGSEGV/,
  },
  "KKM-MON-003": {
    verdict: "fail",
    change: (context) => {
      context.fingerprint = async (path) => (path.endsWith("/km") ? "another" : path);
    },
    evidence: /1 differ: \/opt\/kontain\/bin\/km/,
  },
  "KKM-MON-004": {
    verdict: "warn",
    change: (context) => {
      if (context.installed) context.installed.version = "0.0.1";
    },
    evidence: /installed 0\.0\.1/,
  },
  "KKM-MON-005": {
    verdict: "warn",
    change: (context) => {
      context.env = { PATH: "/usr/bin" };
    },
    evidence: /\/opt\/kontain\/bin is not in PATH/,
  },
  "KKM-MON-006": {
    verdict: "warn",
    change: (context) => {
      context.facts.prefix.free = 1 << 20;
    },
    evidence: /^1 MiB/,
  },
  "KKM-ENG-001": {
    verdict: "warn",
    host: { programs: { docker: "/snap/bin/docker" }, commands: DOCKER },
    evidence: /snap/,
  },
  "KKM-ENG-002": {
    verdict: "fail",
    host: { commands: DOCKER },
    files: { "/etc/docker/daemon.json": "{,}" },
    evidence: /daemon\.json:1:2: not valid JSON/,
  },
  "KKM-ENG-003": { verdict: "warn", host: { commands: DOCKER }, evidence: /not there/ },
  "KKM-ENG-004": {
    verdict: "warn",
    host: { commands: DOCKER },
    change: ({ facts }) => {
      const files = [{ source: "", target: "bin/krun", mode: 0o755, sha256: "" }];
      facts.bundle = { ...facts.bundle, files };
    },
    files: { "/etc/docker/daemon.json": '{"runtimes": {"krun": {"path": "/usr/bin/crun-krun"}}}' },
    evidence: /^it does not; krun is \/usr\/bin\/crun-krun$/,
  },
  "KKM-ENG-005": {
    verdict: "warn",
    host: { commands: { "podman --version": "podman version 3.0.1" } },
    evidence: /3\.0\.1/,
  },
  "KKM-ENG-006": {
    verdict: "fail",
    host: { commands: { "containerd --version": "containerd 1.7.27" } },
    files: { "/etc/containerd/config.toml": "version = \n" },
    evidence: /config\.toml:1:/,
  },
  "KKM-ENG-007": {
    verdict: "warn",
    host: { commands: { "containerd --version": "containerd 2.1.4" } },
    files: { "/etc/containerd/config.toml": "version = 2\n" },
    evidence: /imports nothing/,
  },
  "KKM-ENG-008": {
    verdict: "warn",
    host: { commands: DOCKER },
    files: { "/sys/fs/selinux/enforce": "1" },
    evidence: /enforcing/,
  },
  "KKM-ENG-009": {
    verdict: "warn",
    host: { user: { uid: 1000, name: "anna", groups: ["kvm"] } },
    files: {
      "/sys/module/apparmor/parameters/enabled": "Y\n",
      "/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n",
    },
    evidence: /restricted/,
  },
  "KKM-K8S-001": { verdict: "warn", files: KUBELET, evidence: /no kubelet/ },
  "KKM-K8S-002": { verdict: "fail", files: KUBELET, evidence: /not there/ },
  "KKM-K8S-003": { verdict: "fail", files: KUBELET, evidence: /neither containerd nor CRI-O/ },
  "KKM-K8S-004": { verdict: "fail", host: kkmOnly, files: KUBELET, evidence: /none works/ },
};
