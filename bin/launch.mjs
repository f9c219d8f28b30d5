// SPDX-License-Identifier: Apache-2.0
// Starts a program of dist/. In a clone what is missing or older than its sources is built first, where one can see it;
// a published package is whole, and has no scripts/.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** @param {"kontain" | "kontain-install"} name */
export async function launch(name) {
  const builder = new URL("../scripts/first-build.mjs", import.meta.url);
  if (existsSync(builder)) {
    const { firstBuild } = await import(builder.href);
    if (!(await firstBuild(name, process.argv.slice(2)))) {
      process.exitCode = 1;
      return;
    }
  }
  const program = new URL(`../dist/cli/${name}.js`, import.meta.url);
  if (existsSync(program)) await import(program.href);
  else {
    console.error(
      `${name}: not built: run \`npm run build\` in ${fileURLToPath(new URL("..", import.meta.url))}`,
    );
    process.exitCode = 1;
  }
}
