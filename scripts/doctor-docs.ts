// SPDX-License-Identifier: Apache-2.0
// Writes docs/doctor.md from the checks, and the table of reasons in docs/install.md from the installer's.
import { readFileSync, writeFileSync } from "node:fs";
import { CHECKS } from "../src/doctor/checks.js";
import { markdown } from "../src/doctor/report.js";
import { withReasons } from "../src/installer/reasons-table.js";

const docs = new URL("../docs/", import.meta.url);
writeFileSync(new URL("doctor.md", docs), markdown(CHECKS));
const install = new URL("install.md", docs);
writeFileSync(install, withReasons(readFileSync(install, "utf8")));
