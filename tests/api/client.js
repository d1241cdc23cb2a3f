// HTTP for tests: polite requests, each held against the contract, and raw ones.
import { request } from "node:http";
import { connect } from "node:net";

import { assertAnswer, operationOf } from "./contract.js";

export const seconds = (since) => (Date.now() - since) / 1000;

// Polls a condition; gives what it gives.
export async function until(condition, what, limit = 30) {
  const begin = Date.now();
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (seconds(begin) > limit) throw new Error(`${what} did not come within ${limit} s`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

export class Client {
  constructor(server) {
    this.server = server; // {origin, port}
    this.seen = new Set(); // operationIds
    this.transcript = []; // all that was answered
  }

  // Gives {status, headers, body, json}. `json` in options is sent as JSON.
  async call(method, path, options = {}) {
    const headers = { ...options.headers };
    let body = options.body;
    if ("json" in options) {
      body = JSON.stringify(options.json);
      headers["content-type"] ??= "application/json";
    }
    const url = new URL(`/api/v1${path}`, this.server.origin);
    const reply = await fetch(url, { method, headers, body });
    const answer = {
      status: reply.status,
      headers: reply.headers,
      body: Buffer.from(await reply.arrayBuffer()),
    };
    this.transcript.push(`${[...reply.headers].join("\n")}\n${answer.body.toString("latin1")}`);
    const operation = operationOf(method, url.pathname);
    if (operation) this.seen.add(operation.operationId);
    answer.json = assertAnswer(method, url.pathname, answer);
    return answer;
  }

  // Sends bytes as they are; gives all that comes until the server closes or pauses.
  raw(bytes, { patience = 1500 } = {}) {
    return new Promise((done) => {
      let text = "";
      const socket = connect(this.server.port, "127.0.0.1", () => socket.write(bytes));
      const finish = () => {
        socket.destroy();
        this.transcript.push(text);
        done(text);
      };
      socket.setTimeout(patience, finish);
      socket.on("data", (chunk) => (text += chunk.toString("latin1")));
      socket.on("error", finish);
      socket.on("close", finish);
    });
  }

  // Sends a body of `size` bytes; gives the status, or 0 when the connection was cut.
  flood(method, path, size, headers = {}) {
    return new Promise((done) => {
      const chunk = Buffer.alloc(1 << 20, "x");
      let left = size;
      const outgoing = request(
        { host: "127.0.0.1", port: this.server.port, method, path: `/api/v1${path}`, agent: false,
          headers: { "content-type": "application/json", ...headers, "content-length": size } },
        (reply) => {
          reply.resume();
          done(reply.statusCode);
          outgoing.destroy();
        },
      );
      outgoing.on("error", () => done(0));
      const more = () => {
        while (left > 0 && !outgoing.destroyed) {
          const part = left < chunk.length ? chunk.subarray(0, left) : chunk;
          left -= part.length;
          if (!outgoing.write(part)) return outgoing.once("drain", more);
        }
        if (!outgoing.destroyed) outgoing.end();
      };
      more();
    });
  }
}
