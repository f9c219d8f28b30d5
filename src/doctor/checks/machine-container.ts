// SPDX-License-Identifier: Apache-2.0
import { type Check, ok, warn } from "../check.js";

export const check: Check = {
  id: "KKM-HYP-003",
  title: "on the machine itself",
  looks: "namespaces, and the marks of container runtimes",
  fix: "run the doctor on the host: from in here modules, other engines and boot cannot be seen",
  run: ({ facts }) =>
    facts.container ? warn(`inside a container (${facts.container})`) : ok("in no container"),
};
