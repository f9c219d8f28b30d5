// SPDX-License-Identifier: Apache-2.0
import { type Check, fail, ok, skip } from "../check.js";

export const check: Check = {
  id: "KKM-HYP-004",
  title: "WSL 2 with nested virtualization",
  looks: "the kernel's name, and /dev/kvm",
  fix: "on Windows: wsl --set-version DISTRO 2; nestedVirtualization=true under [wsl2] in %UserProfile%\\.wslconfig; wsl --shutdown",
  run: ({ facts }) => {
    if (facts.wsl === 0) return skip("not WSL");
    if (facts.wsl === 1) return fail("WSL 1 has no Linux kernel");
    const works = facts.devices.some(({ state }) => state === "works");
    return works ? ok("WSL 2, and a guest ran") : fail("WSL 2 without /dev/kvm");
  },
};
