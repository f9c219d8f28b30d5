#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
import { requireNode } from "./node-version.js";

requireNode();
const { kontain } = await import("./main.js");
await kontain();
