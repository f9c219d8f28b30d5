#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
import { launch } from "./launch.mjs";

await launch("kontain");
