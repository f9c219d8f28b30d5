// SPDX-License-Identifier: Apache-2.0
// The live table of `kontain ps --watch`: what runs, what it uses, and keys to look closer or to end it.
import { Box, type Key, Text, useApp, useInput, useStdin, useStdout } from "ink";
import { useCallback, useEffect, useRef, useState } from "react";
import { type CallCounter, counters } from "../../monitor/protocol.js";
import { type SilentMachine, stop, surveyMachines } from "../../monitor/registry.js";
import { bytes, commandOf, duration, plain, userName } from "../machines.js";
import { type CallRate, callRates, type Sample, Sampler } from "./sampler.js";
import { cut, heat, type Style, sparkline } from "./style.js";

/** Where the view gets everything from; the machines of this host, or a test's. */
export interface Source {
  survey: typeof surveyMachines;
  counters: (socket: string) => Promise<Record<string, CallCounter>>;
  stop: (socket: string, signal: number) => Promise<void>;
}

export interface WatchProps {
  style: Style;
  milliseconds?: number;
  source?: Source;
}

interface Column {
  head: string;
  width: number;
  /** Numbers stand to the right. */
  right?: boolean;
  cell: (sample: Sample, style: Style) => string;
}

const TREND = 12;
const percent = (cpu: number | undefined) => (cpu === undefined ? "-" : (cpu * 100).toFixed(1));

/** All but the last, COMMAND, which takes what is left of the line. */
const COLUMNS: Column[] = [
  { head: "PID", width: 7, right: true, cell: ({ machine }) => String(machine.pid) },
  { head: "OWNER", width: 8, cell: ({ machine }) => userName(machine.uid) },
  { head: "DEVICE", width: 12, cell: ({ machine }) => plain(machine.status.device) },
  { head: "VCPUS", width: 5, right: true, cell: ({ machine }) => String(machine.status.vcpus) },
  { head: "MEMORY", width: 10, right: true, cell: ({ machine }) => bytes(machine.status.memoryBytes) },
  { head: "CPU%", width: 6, right: true, cell: ({ cpu }) => percent(cpu) },
  { head: "TREND", width: TREND, cell: ({ history }, style) => sparkline(history, TREND, style) },
  { head: "UP", width: 7, right: true, cell: ({ machine }) => duration(machine.status.uptimeMs) },
];
const GAP = "  ";
const TAKEN = COLUMNS.reduce((sum, column) => sum + column.width + GAP.length, GAP.length);
const HEAT = COLUMNS.findIndex((column) => column.head === "CPU%");
/** Lines that are not rows: title, head, keys, and room for a message. */
const FRAME_LINES = 6;
const DETAIL_LINES = 16;
const MOST_CALLS = 8;

const LIVE: Source = { survey: surveyMachines, counters, stop };
const KEYS = "↑↓ select   enter details   k kill   q quit";
const ASCII_KEYS = "arrows select   enter details   k kill   q quit";

function cells(sample: Sample, style: Style): string[] {
  return COLUMNS.map(({ cell, width, right }) => {
    const text = cut(cell(sample, style), width);
    return right ? text.padStart(width) : text.padEnd(width);
  });
}

const HEAD = COLUMNS.map(({ head, width, right }) => (right ? head.padStart(width) : head.padEnd(width)));

function Row(props: { sample: Sample; selected: boolean; style: Style; width: number }) {
  const { sample, selected, style, width } = props;
  const texts = cells(sample, style);
  const command = cut(commandOf(sample.machine), Math.max(8, width - TAKEN));
  const pointer = selected ? (style.unicode ? "❯ " : "> ") : "  ";
  const before = texts.slice(0, HEAT).join(GAP);
  const hot = texts.slice(HEAT, HEAT + 2).join(GAP);
  const after = texts.slice(HEAT + 2).join(GAP);
  return (
    <Text wrap="truncate" bold={selected}>
      <Text {...(style.color && { color: "cyan" })}>{pointer}</Text>
      {before + GAP}
      <Text {...(style.color && { color: heat(sample.cpu) })}>{hot}</Text>
      {GAP + after + GAP}
      <Text {...(style.color && selected && { color: "cyan" })}>{command}</Text>
    </Text>
  );
}

function Details({ sample, rates, style }: { sample: Sample; rates: CallRate[] | undefined; style: Style }) {
  const { status, socket } = sample.machine;
  const facts = [
    ["program", plain(status.program)],
    ["arguments", plain(status.argv.slice(1).join(" "))],
    ["memory", `${bytes(status.memoryBytes)}, of which ${bytes(status.sharedBytes)} file pages`],
    [
      "cpu",
      `${duration(status.cpuMs)} on ${status.vcpus} vCPU of ${plain(status.device)} (${plain(status.driver)})`,
    ],
    ["log", `${plain(status.log)}${status.output ? `; output ${plain(status.output)}` : ""}`],
    ["socket", plain(socket)],
  ];
  return (
    <Box flexDirection="column" marginTop={1} paddingX={1} borderStyle={style.unicode ? "round" : "classic"}>
      {facts.map(([name, value]) => (
        <Text key={name} wrap="truncate">
          <Text dimColor={style.color}>{name?.padEnd(10)}</Text> {value}
        </Text>
      ))}
      <Text wrap="truncate" dimColor={style.color}>
        {rates === undefined ? "counting system calls..." : "   calls/s    us each   errors  system call"}
      </Text>
      {rates?.slice(0, MOST_CALLS).map((rate) => (
        <Text key={rate.name} wrap="truncate">
          {rate.perSecond.toFixed(0).padStart(10)} {rate.microseconds.toFixed(1).padStart(10)}{" "}
          {String(rate.errors).padStart(8)} {plain(rate.name)}
        </Text>
      ))}
      {rates?.length === 0 && <Text>no system call since the last look</Text>}
    </Box>
  );
}

/** The rates of the machine whose details are open. */
function useRates(socket: string | undefined, source: Source, milliseconds: number): CallRate[] | undefined {
  const [rates, setRates] = useState<CallRate[]>();
  useEffect(() => {
    setRates(undefined);
    if (socket === undefined) return;
    let before: { at: number; counts: Record<string, CallCounter> } | undefined;
    return repeat(async (current) => {
      const counts = await source.counters(socket).catch(() => undefined); // it may have ended
      if (!counts || !current()) return;
      const at = performance.now();
      if (before) setRates(callRates(before.counts, counts, (at - before.at) / 1000));
      before = { at, counts };
    }, milliseconds);
  }, [socket, source, milliseconds]);
  return rates;
}

/** Calls `action` now and `milliseconds` after each end of it, until the returned function is called. */
function repeat(action: (current: () => boolean) => Promise<void>, milliseconds: number): () => void {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const again = async () => {
    await action(() => !stopped);
    if (!stopped) timer = setTimeout(again, milliseconds);
  };
  void again();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

interface Seen {
  samples: Sample[];
  silent: SilentMachine[];
}

function useMachines(source: Source, milliseconds: number): Seen | undefined {
  const [seen, setSeen] = useState<Seen>();
  const sampler = useRef(new Sampler());
  useEffect(
    () =>
      repeat(async (current) => {
        const { machines, silent } = await source.survey();
        if (current()) setSeen({ samples: sampler.current.next(machines), silent });
      }, milliseconds),
    [source, milliseconds],
  );
  return seen;
}

function useSize(): { columns: number; rows: number } {
  const { stdout } = useStdout();
  const now = useCallback(() => ({ columns: stdout.columns || 80, rows: stdout.rows || 24 }), [stdout]);
  const [size, setSize] = useState(now);
  useEffect(() => {
    const changed = () => setSize(now());
    stdout.on("resize", changed);
    return () => {
      stdout.off("resize", changed);
    };
  }, [stdout, now]);
  return size;
}

function Title({ seen, style }: { seen: Seen | undefined; style: Style }) {
  const samples = seen?.samples ?? [];
  const sum = (value: (sample: Sample) => number) => samples.reduce((all, one) => all + value(one), 0);
  const memory = bytes(sum(({ machine }) => machine.status.memoryBytes));
  const load = percent(sum(({ cpu }) => cpu ?? 0));
  const silent = seen?.silent.length
    ? `   ${seen.silent.length} not answering: ${seen.silent.map(({ pid }) => pid).join(" ")}`
    : "";
  return (
    <Text wrap="truncate">
      <Text bold {...(style.color && { color: "cyan" })}>
        kontain
      </Text>
      {`  ${samples.length} machine${samples.length === 1 ? "" : "s"}   ${memory}   ${load}% CPU`}
      <Text {...(style.color && { color: "yellow" })}>{silent}</Text>
    </Text>
  );
}

const SIGNALS: Record<string, [number, string]> = { y: [15, "SIGTERM"], "9": [9, "SIGKILL"] };

/** The whole view. It ends by itself (q, Ctrl-C); see ink's render(). */
export function Watch({ style, milliseconds = 1000, source = LIVE }: WatchProps) {
  const { exit } = useApp();
  const { isRawModeSupported } = useStdin();
  const size = useSize();
  const seen = useMachines(source, milliseconds);
  const samples = seen?.samples ?? [];
  const [chosen, setChosen] = useState<string>();
  const [open, setOpen] = useState(false);
  const [asking, setAsking] = useState<Sample>();
  const [message, setMessage] = useState("");
  // The one chosen keeps being chosen, wherever its row moves; when it is gone, the first is.
  const index = Math.max(
    0,
    samples.findIndex(({ machine }) => machine.socket === chosen),
  );
  const selected = samples[index];
  const rates = useRates(open ? selected?.machine.socket : undefined, source, milliseconds);

  const kill = async ({ machine }: Sample, [signal, name]: [number, string]) => {
    try {
      await source.stop(machine.socket, signal);
      setMessage(`${name} sent to ${machine.pid}`);
    } catch (error) {
      setMessage(`${machine.pid}: ${(error as Error).message}`);
    }
  };
  // From what was chosen last: keys may come faster than frames.
  const move = (by: number) =>
    setChosen((last) => {
      const at =
        Math.max(
          0,
          samples.findIndex(({ machine }) => machine.socket === last),
        ) + by;
      return samples[Math.min(samples.length - 1, Math.max(0, at))]?.machine.socket;
    });

  const onKey = (input: string, key: Key) => {
    setMessage("");
    if (asking) {
      const signal = SIGNALS[input];
      setAsking(undefined);
      if (signal) void kill(asking, signal);
      else setMessage("not killed");
    } else if (input === "q") exit();
    else if (key.upArrow) move(-1);
    else if (key.downArrow) move(1);
    else if (key.escape || key.leftArrow) setOpen(false);
    else if (key.return) setOpen(!open);
    else if (input === "k" && selected) setAsking(selected);
  };
  // A handler taken over by an effect would lag behind the frame that is seen.
  const latest = useRef(onKey);
  latest.current = onKey;
  useInput(
    useCallback((input, key) => latest.current(input, key), []),
    { isActive: isRawModeSupported },
  );

  const room = Math.max(1, size.rows - FRAME_LINES - (open ? DETAIL_LINES : 0));
  const first = Math.max(0, Math.min(index - Math.floor(room / 2), samples.length - room));
  const question =
    asking &&
    `kill ${asking.machine.pid} (${cut(commandOf(asking.machine), 40)})?   y SIGTERM   9 SIGKILL   any other key: no`;
  return (
    <Box flexDirection="column" width={size.columns}>
      <Title seen={seen} style={style} />
      <Box marginTop={1} flexDirection="column">
        <Text wrap="truncate" dimColor={style.color}>
          {`  ${[...HEAD, "COMMAND"].join(GAP)}`}
        </Text>
        {samples.slice(first, first + room).map((sample) => (
          <Row
            key={sample.machine.socket}
            sample={sample}
            selected={sample === selected}
            style={style}
            width={size.columns}
          />
        ))}
        {seen && samples.length === 0 && <Text> nothing runs; start something: kontain run PROGRAM</Text>}
        {samples.length > room && (
          <Text dimColor={style.color}>{`  ${first + 1} to ${first + room} of ${samples.length}`}</Text>
        )}
      </Box>
      {open && selected && <Details sample={selected} rates={rates} style={style} />}
      <Box marginTop={1}>
        {question ? (
          <Text wrap="truncate" bold {...(style.color && { color: "red" })}>
            {question}
          </Text>
        ) : (
          <Text wrap="truncate" dimColor={style.color}>
            {style.unicode ? KEYS : ASCII_KEYS}
            {message && `   ${plain(message)}`}
          </Text>
        )}
      </Box>
    </Box>
  );
}
