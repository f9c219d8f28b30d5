// SPDX-License-Identifier: Apache-2.0
// Every program of table.ts on this machine.
import { declare } from "../helpers/declare.js";
import { PROGRAMS } from "./table.js";

declare(PROGRAMS);
