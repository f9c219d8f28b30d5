// SPDX-License-Identifier: Apache-2.0
// Every feature payload of table.ts on this machine.
import { declare } from "../helpers/declare.js";
import { FEATURES } from "./table.js";

declare(FEATURES);
