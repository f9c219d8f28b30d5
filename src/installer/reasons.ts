// SPDX-License-Identifier: Apache-2.0
// Everything that can stop an installation: a stable id, when it happens, and what to do. docs/install.md has this table.
import { BUILD_REASONS } from "../../bin/build-reasons.mjs";

interface Reason {
  when: string;
  fix: string;
}

export const REASONS = {
  "host-platform": {
    when: "not 64-bit x86 Linux",
    fix: "use an x86-64 Linux machine, or a virtual machine that is one",
  },
  "kernel-too-old": {
    when: "a kernel before 4.15",
    fix: "boot a newer kernel; 5.10 or newer also runs without hardware virtualization",
  },
  "wsl-1": { when: "WSL 1, which has no Linux kernel", fix: "on Windows: wsl --set-version DISTRO 2" },
  "bundle-missing": {
    when: "the package is not built",
    fix: "run `npm run build` in the package's folder",
  },
  ...BUILD_REASONS,
  "package-damaged": {
    when: "a file of the package changed while it was installed, or was damaged",
    fix: "build or download the package again, then run this again",
  },
  "installer-busy": {
    when: "another installer is at work in the same prefix",
    fix: "wait for it to end, then run this again",
  },
  "journal-refused": {
    when: "the journal of the installation is damaged, or others could have written it",
    fix: "put the journal right, as the line says; or move the prefix away by hand and install anew",
  },
  "prefix-denied": {
    when: "the prefix cannot be written",
    fix: "run as root (sudo), or name a folder of yours with --prefix",
  },
  "prefix-blocked": {
    when: "something that is no folder, or no ordinary file, is in the way",
    fix: "move it away, or name another folder with --prefix",
  },
  "prefix-foreign": {
    when: "the prefix has files of somebody else where ours would go (an original Kontain, say)",
    fix: "move that folder away, or name another with --prefix",
  },
  "disk-full": {
    when: "a file system (the prefix's, or one a step writes to) has too little room",
    fix: "make room, or name a folder on another file system with --prefix",
  },
  "device-absent": {
    when: "there is no such device and no way to one",
    fix: "switch virtualization on where the machine is configured, or use /dev/kkm (--device kkm)",
  },
  "device-denied": {
    when: "this user may not open the device",
    fix: "join the device's group, then log in again",
  },
  "device-broken": {
    when: "the device is there, but no guest runs on it",
    fix: "stop another hypervisor that holds the processor (VirtualBox, VMware), or use --device kkm",
  },
  "device-not-a-device": {
    when: "the path is no character device",
    fix: "name a character device with --device",
  },
  "inside-container": {
    when: "KKM is wanted inside a container: a module is the host's",
    fix: "install on the host, and give the container --device /dev/kkm (or /dev/kvm)",
  },
  "kkm-kernel-too-old": {
    when: "KKM needs kernel 5.10",
    fix: "boot a kernel of 5.10 or newer, or switch nested virtualization on",
  },
  "kkm-wsl": {
    when: "KKM on WSL 2: its kernel has no headers to build against",
    fix: "on Windows put `[wsl2]` and `nestedVirtualization=true` into %UserProfile%\\.wslconfig, then: wsl --shutdown",
  },
  "kernel-without-modules": {
    when: "the kernel was built without loadable modules",
    fix: "boot a distribution's kernel",
  },
  "modules-disabled": {
    when: "kernel.modules_disabled is 1: no module can be loaded until the next boot",
    fix: "remove the setting from /etc/sysctl.d and boot again",
  },
  "signature-required": {
    when: "the kernel takes only signed modules, and there is no key to sign with",
    fix: "make a machine owner key (MOK), enrol it, boot, run this again",
  },
  "key-not-enrolled": {
    when: "there is a key to sign with, but the firmware does not trust it yet",
    fix: "mokutil --import the certificate, boot, confirm on the console, run this again",
  },
  "headers-missing": {
    when: "no kernel headers, and they cannot be fetched",
    fix: "install the headers of the running kernel, or run without --offline",
  },
  "compiler-missing": {
    when: "no compiler that matches the kernel's, and it cannot be fetched",
    fix: "install the compiler the kernel was built with",
  },
  "root-needed": {
    when: "some steps need root",
    fix: "run as root: sudo npx kontain-install",
  },
  "engine-config-broken": {
    when: "a container engine's configuration cannot be read",
    fix: "mend the file at the place named; the engine would not start with it either",
  },
  "packages-failed": {
    when: "the package manager could not install headers or compiler",
    fix: "run the command shown by hand; behind a mirror the exact kernel may be gone: upgrade and boot it",
  },
  "dkms-failed": {
    when: "DKMS does not take the module's sources, or does not let go of others",
    fix: "see what `dkms status` says of kkm, mend that, then run this again",
  },
  "build-headers": {
    when: "the headers are incomplete",
    fix: "reinstall the headers of this kernel",
  },
  "build-compiler": {
    when: "the compiler is another than the kernel's",
    fix: "install the compiler named (e.g. gcc-12)",
  },
  "build-tools": { when: "make, ld or objdump is missing", fix: "install make and binutils" },
  "build-workspace": {
    when: "there is no folder to build the module in",
    fix: "see that the folder for temporary files (TMPDIR, else /tmp) can be written, then run this again",
  },
  "build-failed": {
    when: "the module does not compile for this kernel",
    fix: "send the log named above; the kernel may be newer than this version knows",
  },
  "signing-failed": {
    when: "the module could not be signed with the key that is there",
    fix: "check that key and certificate belong together; the log has the words of sign-file",
  },
  "module-install-failed": {
    when: "the module could not be put below /lib/modules",
    fix: "see the log; on an image with read-only /usr the module has to be part of the image",
  },
  "load-signature": {
    when: "the kernel rejected the module's signature",
    fix: "sign with an enrolled key: mokutil --import CERTIFICATE, boot, confirm on the console",
  },
  "load-not-permitted": {
    when: "the kernel forbids loading (lockdown, or no CAP_SYS_MODULE here)",
    fix: "run on the machine itself, not in a container; under lockdown sign the module",
  },
  "load-format": {
    when: "the module was built for another kernel",
    fix: "boot the newest installed kernel, then run this again",
  },
  "load-unsupported": {
    when: "the kernel or processor lacks something the module needs",
    fix: "dmesg names it",
  },
  "load-failed": { when: "the module does not load", fix: "dmesg says why" },
  "kvm-load-failed": {
    when: "kvm_intel or kvm_amd does not load",
    fix: "switch VT-x or SVM on in the firmware or the hypervisor, or use --device kkm",
  },
  "group-failed": { when: "group kkm cannot be made", fix: "make it by hand: groupadd -r kkm" },
  "upgrade-file": {
    when: "the file to upgrade from is not there, cut off, damaged, or no package of kontain-install",
    fix: "name a package as `npm pack kontain-install` writes it, whole",
  },
  "upgrade-checksum": {
    when: "the file to upgrade from has another SHA-256 than --sha256 or FILE.sha256 says",
    fix: "download it again; if it stays so, do not use it",
  },
  "upgrade-older": {
    when: "the file to upgrade from is older than what is installed",
    fix: "uninstall first (kontain uninstall), then install the older one",
  },
  "step-failed": { when: "a change could not be made", fix: "mend what the line names, then run this again" },
  "payload-failed": {
    when: "everything is in place, but the payload did not run",
    fix: "kontain doctor says what stands in the way",
  },
} as const satisfies Record<string, Reason>;

export type ReasonId = keyof typeof REASONS;

/** What stopped it, in words of this case. */
export interface Problem {
  id: ReasonId;
  evidence: string;
  fix: string;
}

export function problem(id: ReasonId, evidence: string, fix: string = REASONS[id].fix): Problem {
  return { id, evidence, fix };
}
