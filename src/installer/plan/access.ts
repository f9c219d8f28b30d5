// SPDX-License-Identifier: Apache-2.0
// Who may open a device, by what its permissions say, and what would let somebody else.
import type { DeviceFacts, HostFacts } from "../facts.js";

type User = HostFacts["user"];

/** "0660 root:kvm" taken apart: whether the group and all others may read and write, and the group. */
function permissions({ access }: DeviceFacts) {
  const [, ours, others, group] = /^\d*([0-7])([0-7]) [^:]*:(.*)$/.exec(access ?? "") ?? [];
  if (ours === undefined || others === undefined || !group) return undefined;
  const both = (bits: string) => (Number(bits) & 6) === 6;
  // Nobody is to be made a member of root's group.
  return { byGroup: both(ours) && group !== "root", byAll: both(others), group };
}

/** What lets `user` open a device that was denied. */
export function accessFix(device: DeviceFacts, { name, groups }: User): string {
  const found = permissions(device);
  if (found?.byAll || (found?.byGroup && groups.includes(found.group))) {
    return "its permissions would let you: in a container give that the device, else see what SELinux or AppArmor denied";
  }
  return found?.byGroup
    ? `add yourself to its group (sudo usermod -aG ${found.group} ${name}, then log in again)`
    : "have its group and mode changed (chgrp kvm, chmod 0660), or run as root";
}

/** A guest ran as root; who called sudo may have to join the device's group first. */
export function sudoNotes(device: DeviceFacts, { sudo, sudoGroups }: User): string[] {
  const found = permissions(device);
  if (!sudo || !found?.byGroup || found.byAll || sudoGroups?.includes(found.group)) return [];
  return [`${sudo} may not open ${device.path} yet: usermod -aG ${found.group} ${sudo}, then log in again`];
}
