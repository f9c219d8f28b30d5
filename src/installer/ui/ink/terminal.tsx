// SPDX-License-Identifier: Apache-2.0
// The installer on a terminal: keeps the model, draws it, and reads the one key.
import { render, useInput } from "ink";
import { type ReactNode, useSyncExternalStore } from "react";
import type { InstallEvent, Reporter } from "../events.js";
import { EMPTY, type Model, planShown, reduce } from "./model.js";
import { App } from "./view.js";

const now = () => performance.now();

interface Snapshot {
  model: Model;
  question: string | null;
}

/** What is shown, and who wants to hear when it changes. */
export class Store {
  private snapshot: Snapshot = { model: EMPTY, question: null };
  private readonly listeners = new Set<() => void>();
  private answer: ((yes: boolean) => void) | null = null;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly get = (): Snapshot => this.snapshot;

  private set(snapshot: Snapshot): void {
    this.snapshot = snapshot;
    for (const listener of this.listeners) listener();
  }

  report(event: InstallEvent): void {
    this.set({ ...this.snapshot, model: reduce(this.snapshot.model, event, now()) });
  }

  /** Shows a question until a key answers it. */
  ask(question: string): Promise<boolean> {
    this.set({ ...this.snapshot, question });
    return new Promise((resolve) => {
      this.answer = resolve;
    });
  }

  /** The answer to what is asked; nothing where nothing is. */
  reply(yes: boolean): void {
    const { answer } = this;
    if (!answer) return;
    this.answer = null;
    this.set({ model: planShown(this.snapshot.model), question: null });
    answer(yes);
  }
}

function Keyboard({ store }: { store: Store }): ReactNode {
  useInput((input, key) => {
    if (key.ctrl && input === "c") {
      // The same as without raw mode: the first one asks to stop, the second one stops.
      process.kill(process.pid, "SIGINT");
    } else if (key.return || input === "y" || input === "Y") store.reply(true);
    else if (key.escape || input === "n" || input === "N" || input === "q") store.reply(false);
  });
  return null;
}

export function Terminal({ store, keyboard }: { store: Store; keyboard: boolean }): ReactNode {
  const { model, question } = useSyncExternalStore(store.subscribe, store.get);
  return (
    <>
      {keyboard ? <Keyboard store={store} /> : null}
      <App model={model} question={question} now={now} />
    </>
  );
}

export interface TerminalScreen {
  report: Reporter;
  consent: (question: string, signal: AbortSignal) => Promise<boolean>;
  close: () => Promise<void>;
}

/** Takes the terminal. `yes`: every question is answered; `mayAsk`: there is a keyboard. */
export function openTerminal({ yes, mayAsk }: { yes: boolean; mayAsk: boolean }): TerminalScreen {
  const store = new Store();
  const app = render(<Terminal store={store} keyboard={mayAsk && !yes} />, { exitOnCtrlC: false });
  return {
    report: (event) => store.report(event),
    consent: async (question, signal) => {
      if (yes || !mayAsk || signal.aborted) return yes;
      signal.addEventListener("abort", () => store.reply(false), { once: true });
      return store.ask(question);
    },
    close: async () => {
      // The last picture is drawn before the terminal is given back.
      await new Promise((resolve) => setImmediate(resolve));
      app.unmount();
      await app.waitUntilExit();
    },
  };
}
