// SPDX-License-Identifier: Apache-2.0
// The places outside the prefix that an installation may write to.

export const UDEV_RULE = "/etc/udev/rules.d/60-kkm.rules";
export const MODULES_LOAD = "/etc/modules-load.d/kkm.conf";
export const KVM_MODULES_LOAD = "/etc/modules-load.d/kontain-kvm.conf";
export const PODMAN_DROP_IN = "/etc/containers/containers.conf.d/50-kontain.conf";
export const CONTAINERD_DROP_IN = "/etc/containerd/conf.d/50-kontain.toml";

/** Hooks that kernel packages run after they have put a kernel in place, by kind of distribution. */
export const KERNEL_HOOKS = {
  debian: ["/etc/kernel/postinst.d/zz-kontain-kkm", "/etc/kernel/header_postinst.d/zz-kontain-kkm"],
  fedora: ["/etc/kernel/install.d/95-kontain-kkm.install"],
} as const;

/** Files whose content plan() has to know. */
export const ETC_FILES: readonly string[] = [
  UDEV_RULE,
  MODULES_LOAD,
  KVM_MODULES_LOAD,
  ...KERNEL_HOOKS.debian,
  ...KERNEL_HOOKS.fedora,
  "/etc/docker/daemon.json",
  "/var/snap/docker/current/config/daemon.json",
  "/etc/containerd/config.toml",
  CONTAINERD_DROP_IN,
  PODMAN_DROP_IN,
];

/** Folders that plan() may have to make. */
export const ETC_FOLDERS: readonly string[] = [
  "/etc/udev",
  "/etc/udev/rules.d",
  "/etc/modules-load.d",
  "/etc/kernel",
  "/etc/kernel/postinst.d",
  "/etc/kernel/header_postinst.d",
  "/etc/kernel/install.d",
  "/etc/docker",
  "/etc/containerd",
  "/etc/containerd/conf.d",
  "/etc/containers",
  "/etc/containers/containers.conf.d",
];
