// SPDX-License-Identifier: Apache-2.0
// How the model looks. Finished things go into the scrollback (<Static>); only what is going on is drawn again.
import { Box, Static, Text } from "ink";
import { type ReactNode, useEffect, useState } from "react";
import type { Plan } from "../../plan/plan.js";
import { elapsed, type Mark, planRows, type Row } from "../describe.js";
import type { Item, Model, Work } from "./model.js";

const COLOR: Record<Mark, string | undefined> = { good: "green", bad: "red", plain: undefined };
const SIGN: Record<Mark, string> = { good: "✔", bad: "✘", plain: "·" };
const FRAMES = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** Spreads "color" only where there is one: the types do not take undefined. */
function colored(mark: Mark): { color?: string } {
  const color = COLOR[mark];
  return color ? { color } : {};
}

/** A sign, a name and a text, each in its column; long texts go on in theirs. */
function Line({
  sign,
  name,
  children,
}: {
  sign: ReactNode;
  name: ReactNode;
  children: ReactNode;
}): ReactNode {
  return (
    <Box>
      <Box width={3} flexShrink={0}>
        {sign}
      </Box>
      <Box width={11} flexShrink={0}>
        {name}
      </Box>
      <Box flexShrink={1}>
        <Text>{children}</Text>
      </Box>
    </Box>
  );
}

/** A sign and a text that goes on in its own column. */
function Signed({ sign, children }: { sign: ReactNode; children: ReactNode }): ReactNode {
  return (
    <Box>
      <Box width={3} flexShrink={0}>
        {sign}
      </Box>
      <Box flexShrink={1}>
        <Text>{children}</Text>
      </Box>
    </Box>
  );
}

function Fact({ row }: { row: Row }): ReactNode {
  const sign = <Text {...colored(row.mark)}> {SIGN[row.mark]}</Text>;
  return (
    <Line sign={sign} name={<Text dimColor>{row.name}</Text>}>
      {row.text}
    </Line>
  );
}

function PlanLine({ verb, color, text }: { verb: string; color: string; text: string }): ReactNode {
  return (
    <Line sign={<Text> </Text>} name={<Text color={color}>{verb}</Text>}>
      {text}
    </Line>
  );
}

function PlanView({ plan }: { plan: Plan }): ReactNode {
  return (
    <Box flexDirection="column" marginTop={1} marginBottom={1}>
      <Text>
        <Text bold>plan</Text> {plan.device}, because {plan.because}
      </Text>
      {planRows(plan, false).map(({ verb, text, aside }) => (
        <PlanLine key={`${verb} ${text}`} verb={verb} color={aside ? "yellow" : "cyan"} text={text} />
      ))}
    </Box>
  );
}

function Output({ item }: { item: Extract<Item, { kind: "output" }> }): ReactNode {
  return (
    <Box flexDirection="column">
      <Signed sign={<Text dimColor> $</Text>}>
        <Text dimColor>{item.command}</Text>
      </Signed>
      {item.lines.map((line, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: lines are printed once and may repeat
        <Text key={at}>
          {"   "}
          <Text color="green">│</Text> {line}
        </Text>
      ))}
      {item.problem ? <Text color="red"> ! {item.problem}</Text> : null}
    </Box>
  );
}

function ProblemView({ item }: { item: Extract<Item, { kind: "problem" }> }): ReactNode {
  const { id, evidence, fix } = item.problem;
  return (
    <Box flexDirection="column" borderStyle="round" borderColor="red" paddingX={1} marginTop={1}>
      <Text color="red" bold>
        {id}
      </Text>
      <Text>{evidence}</Text>
      <Text>
        <Text color="cyan">way out </Text>
        {fix}
      </Text>
    </Box>
  );
}

const FINE = ["installed", "uninstalled", "planned"];

function Result({ item }: { item: Extract<Item, { kind: "result" }> }): ReactNode {
  const fine = FINE.includes(item.outcome);
  // The box above has said why.
  if (item.outcome === "refused") return <Text color="red">nothing was changed</Text>;
  if (item.outcome === "failed") return <Text color="red">{item.rest ?? item.message}</Text>;
  return (
    <Box
      flexDirection="column"
      borderStyle="round"
      borderColor={fine ? "green" : "yellow"}
      alignSelf="flex-start"
      paddingX={1}
      marginTop={1}
    >
      <Text bold>{item.message}</Text>
      {item.changed.map((line) => (
        <Text key={line} dimColor>
          {line}
        </Text>
      ))}
      {item.next.map((line) => (
        <Next key={line} line={line} />
      ))}
    </Box>
  );
}

/** "try: km ..." in two columns; other lines as they are. */
function Next({ line }: { line: string }): ReactNode {
  const [, label, text] = /^(\w+:) +(.*)$/s.exec(line) ?? [];
  if (!label) return <Text color="cyan">{line}</Text>;
  return (
    <Text>
      <Text dimColor>{label.padEnd(6)}</Text>
      <Text color="cyan">{text}</Text>
    </Text>
  );
}

function ItemView({ item }: { item: Item }): ReactNode {
  switch (item.kind) {
    case "title":
      return (
        <Box marginBottom={1}>
          <Text bold>{item.text}</Text>
        </Box>
      );
    case "fact":
      return <Fact row={item.row} />;
    case "plan":
      return <PlanView plan={item.plan} />;
    case "done":
      return <Signed sign={<Text {...colored(item.mark)}> {SIGN[item.mark]}</Text>}>{item.text}</Signed>;
    case "note":
      return (
        <Signed sign={<Text color="yellow"> !</Text>}>
          <Text color="yellow">{item.text}</Text>
        </Signed>
      );
    case "output":
      return <Output item={item} />;
    case "problem":
      return <ProblemView item={item} />;
    case "result":
      return <Result item={item} />;
  }
}

/** Counts up while something is going on. */
function useTick(running: boolean): number {
  const [tick, setTick] = useState(0);
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => setTick((value) => value + 1), 100);
    return () => clearInterval(timer);
  }, [running]);
  return tick;
}

function WorkView({ work, now }: { work: Work; now: () => number }): ReactNode {
  const tick = useTick(true);
  const count = work.count === undefined ? "" : `${work.count} files `;
  return (
    <Box flexDirection="column">
      <Text>
        <Text color="cyan"> {FRAMES[tick % FRAMES.length]} </Text>
        {count}
        {work.title} <Text dimColor>{elapsed(now() - work.since)}</Text>
      </Text>
      {work.output ? (
        <Text dimColor wrap="truncate-end">
          {"   "}
          {work.output}
        </Text>
      ) : null}
    </Box>
  );
}

function Looking({ rows }: { rows: Row[] }): ReactNode {
  const tick = useTick(true);
  return (
    <Box flexDirection="column">
      {rows.map((row) => (
        <Fact key={`${row.name} ${row.text}`} row={row} />
      ))}
      <Text>
        <Text color="cyan"> {FRAMES[tick % FRAMES.length]} </Text>looking at this machine
      </Text>
    </Box>
  );
}

/** The plan, and the question under it where somebody is asked. */
function Asking({ plan, question }: { plan: Plan; question: string | null }): ReactNode {
  return (
    <Box flexDirection="column">
      <PlanView plan={plan} />
      {question ? <Keys question={question} /> : null}
    </Box>
  );
}

function Keys({ question }: { question: string }): ReactNode {
  return (
    <Box>
      <Text>
        {question} <Text color="green">enter</Text> yes <Text color="red">n</Text> no
      </Text>
    </Box>
  );
}

export interface AppProps {
  model: Model;
  /** What a key is waited for; null: nothing. */
  question: string | null;
  /** Milliseconds. */
  now: () => number;
}

export function App({ model, question, now }: AppProps): ReactNode {
  return (
    <>
      {/* Without a width it is laid out as wide as its widest text, beyond the terminal's edge. */}
      <Static items={model.items} style={{ width: "100%" }}>
        {(item) => <ItemView key={item.key} item={item} />}
      </Static>
      {model.looking ? <Looking rows={model.looking} /> : null}
      {model.work ? <WorkView work={model.work} now={now} /> : null}
      {model.asking ? <Asking plan={model.asking} question={question} /> : null}
      {!model.asking && question ? <Keys question={question} /> : null}
    </>
  );
}
