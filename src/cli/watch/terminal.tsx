// SPDX-License-Identifier: Apache-2.0
// The watch view on a terminal: on a screen of its own, which leaves what was there as it was.
import { render } from "ink";
import { styleOf } from "./style.js";
import { Watch } from "./view.js";

const ENTER_SCREEN = "\x1b[?1049h\x1b[H";
const LEAVE_SCREEN = "\x1b[?1049l";

/** Shows the view until q, Ctrl-C or `signal`. */
export async function watchTerminal(signal: AbortSignal, milliseconds: number): Promise<void> {
  process.stdout.write(ENTER_SCREEN);
  try {
    const view = render(<Watch style={styleOf(process.env)} milliseconds={milliseconds} />);
    signal.addEventListener("abort", () => view.unmount(), { once: true });
    if (signal.aborted) view.unmount();
    await view.waitUntilExit();
  } finally {
    process.stdout.write(LEAVE_SCREEN);
  }
}
