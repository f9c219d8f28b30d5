// SPDX-License-Identifier: Apache-2.0
// What can stop the build of a clone. Part of the table in src/installer/reasons.ts, and plain JavaScript because it is
// wanted before anything is compiled.
export const BUILD_REASONS = {
  "clone-packages": {
    when: "in a clone: npm's packages are not there",
    fix: "npm install",
  },
  "clone-tools": {
    when: "in a clone: a program that the build needs is missing",
    fix: "install it by the line shown; as root with apt, --yes installs it",
  },
  "clone-failed": {
    when: "in a clone: the build failed",
    fix: "mend what the log says, then run this again",
  },
};
