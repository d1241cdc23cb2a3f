// Watches the meters of channel "main" at server argv[2] for argv[3] seconds and holds them against
// the contract. Prints as JSON: for each output its name, how many tenths of a second came, how many
// are missing between them, how long that took, and of each value the lowest, highest and newest.
import { createRequire } from "node:module";

import { assertMatches, schemaOf } from "../api/contract.js";

const WebSocket = createRequire(new URL("../api/package.json", import.meta.url))("ws");
const [server, seconds] = [process.argv[2], Number(process.argv[3])];
const outputs = new Map();
const tenth = (frame) => Math.floor((frame * 10) / 25);

function take(values) {
  const { output, frame, missed, ...levels } = values;
  if (!outputs.has(output))
    outputs.set(output, { output, count: 0, gaps: 0, last: frame, begin: performance.now(), levels: {} });
  const o = outputs.get(output);
  if (o.count++) o.gaps += tenth(frame) - tenth(o.last) - 1;
  o.last = frame;
  o.missed = missed;
  o.seconds = (performance.now() - o.begin) / 1000;
  for (const [name, value] of Object.entries(levels)) {
    const level = Array.isArray(value) ? Math.max(...value) : value;
    const l = (o.levels[name] ??= { low: level, high: level });
    o.levels[name] = { low: Math.min(l.low, level), high: Math.max(l.high, level), newest: level };
  }
}

const socket = new WebSocket(`${server.replace("http", "ws")}/api/v1/live?meters=main`);
let statuses = 0,
  done = false; // others may come before it is closed
socket.on("message", (data) => {
  const message = JSON.parse(data);
  assertMatches(schemaOf("live_message"), message, "live");
  if (message.type === "broadcast:status") statuses++;
  if (done || message.type !== "broadcast:meters") return;
  for (const values of message.outputs) take(values);
  const all = [...outputs.values()];
  if (all.every((o) => o.seconds < seconds)) return;
  done = true;
  console.log(JSON.stringify({ statuses, outputs: all }));
  socket.close();
});
socket.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
