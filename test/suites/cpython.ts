// SPDX-License-Identifier: Apache-2.0
// CPython's own regression tests, by Debian's package of them.
import { existsSync } from "node:fs";
import { unittest } from "./parsers.js";
import type { Part, Suite } from "./suite.js";

const PYTHON = "/usr/bin/python3.11";
const TESTS = "/usr/lib/python3.11/test/test_os.py";

/** Module and bound in seconds: most of a run under km is the start of interpreters. */
const MODULES: Readonly<Record<string, number>> = {
  test_os: 300,
  test_posix: 300,
  test_subprocess: 1500,
  test_signal: 600,
  test_threading: 600,
  test_socket: 600,
  test_select: 120,
  test_asyncio: 900,
  test_mmap: 120,
  test_multiprocessing_fork: 1500,
  test_io: 600,
  test_time: 120,
  test_ssl: 600,
};

const EXCLUDED = [
  {
    name: "test_socket.*VSOCK*",
    reason: "waits for a vsock peer that neither a container nor a VM without one has; natively as well",
  },
];

function part([name, seconds]: [string, number]): Part {
  const ignored = EXCLUDED.filter((entry) => entry.name.startsWith(`${name}.`));
  const patterns = ignored.flatMap((entry) => ["--ignore", entry.name.slice(name.length + 1)]);
  return {
    name,
    command: [PYTHON, "-B", "-m", "test", "-v", ...patterns, name],
    seconds,
    verdicts: unittest,
  };
}

export const CPYTHON: Suite = {
  name: "cpython",
  title: "CPython 3.11 regression tests",
  quick: ["test_posix", "test_select", "test_mmap"],
  excluded: EXCLUDED,
  prepare: async () => {
    if (!existsSync(PYTHON) || !existsSync(TESTS))
      return "apt-get install python3.11 libpython3.11-testsuite";
    return Object.entries(MODULES).map(part);
  },
};
