#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
import { requireNode } from "./node-version.js";

requireNode();
const { kontainInstall } = await import("./main.js");
await kontainInstall();
