// SPDX-License-Identifier: Apache-2.0
// Imported before anything that needs a new Node, so that an old one gets a sentence instead of a syntax error.

const OLDEST = 20;

export function requireNode(): void {
  const major = Number(process.versions.node.split(".")[0]);
  if (major >= OLDEST) return;
  console.error(
    `kontain needs Node ${OLDEST} or newer; this is ${process.versions.node} (${process.execPath})`,
  );
  process.exit(1);
}
