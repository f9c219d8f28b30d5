// SPDX-License-Identifier: Apache-2.0
// The suites, in the order they run.
import { BUSYBOX } from "./busybox.js";
import { CPYTHON } from "./cpython.js";
import { GO } from "./go.js";
import { NPM } from "./npm.js";
import { STRESS_NG } from "./stress-ng.js";
import type { Suite } from "./suite.js";

export const SUITES: readonly Suite[] = [CPYTHON, STRESS_NG, BUSYBOX, GO, NPM];
