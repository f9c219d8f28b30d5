#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Runs a command on a real pseudo-terminal (script(1)) and draws what its screen shows in the end as an SVG:
//   record.mjs docs/install.svg 'npx kontain-install' ['COMMAND REALLY RUN']
// Presses Enter when "Go ahead?" is shown.
import { spawn } from "node:child_process";
import { renameSync, writeFileSync } from "node:fs";

/** Of the terminal; RECORD_COLUMNS names another number. */
const COLUMNS = Number(process.env.RECORD_COLUMNS ?? 112);
const ESCAPE = String.fromCharCode(27);
/** A control sequence, another escape, or one character. */
const PIECES = new RegExp(`${ESCAPE}\\[([?0-9;]*)([a-zA-Z])|${ESCAPE}[^[]|[\\s\\S]`, "gu");
const COLORS = {
  30: "#484f58",
  31: "#ff7b72",
  32: "#7ee787",
  33: "#e3b341",
  34: "#79c0ff",
  35: "#d2a8ff",
  36: "#76e3ea",
  37: "#c9d1d9",
  90: "#8b949e",
};

/** Just enough of a terminal for lines that are drawn, erased and drawn again. */
class Screen {
  rows = [[]];
  row = 0;
  column = 0;
  style = {};

  put(character) {
    if (this.column >= COLUMNS) this.newLine();
    const line = this.rows[this.row];
    while (line.length < this.column) line.push({ character: " ", style: {} });
    line[this.column++] = { character, style: this.style };
  }

  newLine() {
    this.row++;
    this.column = 0;
    while (this.rows.length <= this.row) this.rows.push([]);
  }

  paint(codes) {
    for (const code of codes) {
      if (code === 0) this.style = {};
      else if (code === 1) this.style = { ...this.style, bold: true };
      else if (code === 2) this.style = { ...this.style, dim: true };
      else if (code === 22) this.style = { ...this.style, bold: false, dim: false };
      else if (code === 39) this.style = { ...this.style, color: undefined };
      else if (COLORS[code]) this.style = { ...this.style, color: COLORS[code] };
    }
  }

  control(parameters, final) {
    const numbers = parameters.split(";").map((text) => Number(text || 0));
    const [first] = numbers;
    if (final === "m") this.paint(numbers);
    else if (final === "A") this.row = Math.max(0, this.row - (first || 1));
    else if (final === "B") for (let n = first || 1; n > 0; n--) this.newLine();
    else if (final === "G") this.column = (first || 1) - 1;
    else if (final === "K" && first === 2) this.rows[this.row] = [];
    else if (final === "K") this.rows[this.row].length = Math.min(this.rows[this.row].length, this.column);
    else if (final === "J" && first === 0) {
      this.rows[this.row].length = Math.min(this.rows[this.row].length, this.column);
      this.rows.length = this.row + 1;
    } else if (final === "J") {
      this.rows = [[]];
      this.row = 0;
      this.column = 0;
    } else if (final === "H") {
      this.row = 0;
      this.column = 0;
    }
  }

  write(text) {
    for (const [part, parameters, final] of text.matchAll(PIECES)) {
      if (final) {
        if (!parameters.startsWith("?")) this.control(parameters, final);
      } else if (part === "\r") this.column = 0;
      else if (part === "\n") this.newLine();
      else if (part >= " " && !part.startsWith(ESCAPE)) this.put(part);
    }
  }

  lines() {
    const last = this.rows.findLastIndex((row) => row.some(({ character }) => character !== " "));
    return this.rows.slice(0, last + 1);
  }
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function spans(row) {
  let out = "";
  for (let at = 0; at < row.length; ) {
    const { style } = row[at];
    let end = at;
    while (end < row.length && row[end].style === style) end++;
    const text = row
      .slice(at, end)
      .map(({ character }) => character)
      .join("");
    const attributes = [
      style.color ? ` fill="${style.color}"` : style.dim ? ' fill="#8b949e"' : "",
      style.bold ? ' font-weight="bold"' : "",
    ].join("");
    out += `<tspan${attributes}>${escaped(text)}</tspan>`;
    at = end;
  }
  return out;
}

function draw(lines, title) {
  const [width, height] = [COLUMNS * 8.43 + 32, lines.length * 19 + 64];
  const rows = lines.map((row, at) => `<text x="16" y="${60 + at * 19}">${spans(row)}</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.round(width)}" height="${height}" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" fill="#c9d1d9" xml:space="preserve">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<circle cx="20" cy="20" r="6" fill="#ff5f57"/><circle cx="40" cy="20" r="6" fill="#febc2e"/><circle cx="60" cy="20" r="6" fill="#28c840"/>
<text x="84" y="25" fill="#8b949e">$ ${escaped(title)}</text>
${rows.join("\n")}
</svg>
`;
}

function record(command) {
  const { CI: _, NO_COLOR: __, ...env } = process.env;
  const child = spawn("script", ["-qefc", `stty cols ${COLUMNS} rows 60; ${command}`, "/dev/null"], {
    env: { ...env, TERM: "xterm-256color", FORCE_COLOR: "1" },
    stdio: ["pipe", "pipe", "inherit"],
  });
  let text = "";
  let timer;
  child.stdin.on("error", () => {});
  child.stdout.on("data", (data) => {
    text += data.toString();
    if (!timer && text.includes("Go ahead?")) timer = setInterval(() => child.stdin.write("\r"), 300);
  });
  return new Promise((resolve) => {
    child.on("close", () => {
      clearInterval(timer);
      resolve(text);
    });
  });
}

const [output, title, command = title] = process.argv.slice(2);
if (!output || !title) {
  console.error("record.mjs OUTPUT.svg 'COMMAND' ['COMMAND REALLY RUN']");
  process.exit(2);
}
const screen = new Screen();
screen.write(await record(command));
writeFileSync(`${output}.tmp`, draw(screen.lines(), title));
renameSync(`${output}.tmp`, output);
