// Clients that mean harm, or are slow: what they may hold, and that others notice nothing.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { after, before, test } from "node:test";

import WebSocket from "ws";

import { Client } from "./client.js";
import { assertMatches, schemaOf } from "./contract.js";
import { Server } from "./server.js";

const MiB = 1 << 20;
const GiB = 1 << 30;
let server, client;
before(async () => {
  server = await Server.start();
  client = new Client(server);
});
after(async () => {
  assert.equal(await server?.stop(), 0);
});

// Sends `bytes`; gives {text, ended} when the server has closed, or after `patience`.
function exchange(bytes, patience = 3000) {
  return new Promise((done) => {
    let text = "";
    const socket = connect(server.port, "127.0.0.1", () => socket.write(bytes));
    const finish = (ended) => {
      socket.destroy();
      done({ text, ended });
    };
    const timer = setTimeout(() => finish(false), patience);
    socket.on("data", (chunk) => (text += chunk.toString("latin1")));
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(timer);
      finish(true);
    });
  });
}

function parse(text) {
  const [head, ...rest] = text.split("\r\n\r\n");
  const [line, ...lines] = head.split("\r\n");
  const headers = Object.fromEntries(lines.map((l) => [l.split(": ")[0].toLowerCase(), l.split(": ")[1]]));
  return { status: Number(line.split(" ")[1]), headers, body: rest.join("\r\n\r\n") };
}

test("a refusal is a whole answer, and says what becomes of the connection", async () => {
  const host = "Host: localhost\r\n";
  const json = `${host}Content-Type: application/json\r\n`;
  // A body of which nothing comes: the server neither waits for it nor takes what follows for a request.
  for (const [request, status] of [
    [`POST /api/v1/channels HTTP/1.1\r\n${json}Content-Length: ${100 * MiB}\r\n\r\n`, 413],
    [`POST /api/v1/status HTTP/1.1\r\n${json}Content-Length: 1000\r\n\r\n`, 405],
    [`POST /api/v1/nothing HTTP/1.1\r\n${json}Content-Length: 1000\r\n\r\n`, 404],
    [`POST /api/v1/channels HTTP/1.1\r\n${host}Content-Length: 1000\r\n\r\n`, 415],
    [`POST / HTTP/1.1\r\n${host}Content-Length: 1000\r\n\r\n`, 405],
  ]) {
    const { text, ended } = await exchange(request);
    const answer = parse(text);
    assert.equal(answer.status, status, request);
    assert.ok(ended, `${request} is not closed`);
    assert.equal(answer.headers.connection, "close", request);
    assert.equal(Number(answer.headers["content-length"]), Buffer.byteLength(answer.body, "latin1"), request);
    assertMatches(schemaOf("problem"), JSON.parse(answer.body), request);
    assert.equal(status === 405, "allow" in answer.headers, request);
  }
  // Without a body the connection goes on, and HEAD has none even when it is refused.
  const two = await exchange(`DELETE /api/v1/status HTTP/1.1\r\n${host}\r\n` +
    `HEAD /api/v1/channels/one/start HTTP/1.1\r\n${host}\r\n` +
    `GET /api/v1/nodes HTTP/1.1\r\n${host}Connection: close\r\n\r\n`);
  assert.equal(two.text.split("HTTP/1.1 405").length, 3, two.text);
  assert.equal(two.text.split('"code":"method"').length, 2, two.text);
  assert.match(two.text, /HTTP\/1\.1 200 OK[^]*\[\]$/);
});

test("a server goes by its own names only", async () => {
  const own = (await fetch(`${server.origin}/api/v1/status`).then((r) => r.json())).instance;
  assert.equal(own, "coordinator");
  const name = readFileSync("/proc/sys/kernel/hostname", "utf8").trim();
  const ask = async (host) =>
    parse((await exchange(`GET /api/v1/nodes HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`)).text);
  for (const host of ["127.0.0.1", `127.0.0.1:${server.port}`, "localhost", `LOCALHOST:${server.port}`, "[::1]:80",
    "192.0.2.7", name, `${name}:8080`, "farm.example", "Farm.Example:80"])
    assert.equal((await ask(host)).status, 200, host);
  for (const host of ["evil.example", `evil.example:${server.port}`, "127.0.0.1.evil.example", "farm.example.evil",
    "farm", "localhost.evil.example", "", "a,b"])
    assert.equal((await ask(host)).status, 403, host);
  // A page of a name that was made to lead here is of the origin that it claims.
  const rebound = parse((await exchange(`POST /api/v1/channels HTTP/1.1\r\nHost: evil.example:${server.port}\r\n` +
    `Origin: http://evil.example:${server.port}\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n` +
    '{"name":"evil"}')).text);
  assert.deepEqual([rebound.status, JSON.parse(rebound.body).code], [403, "foreign_host"]);
});

test("text that was cut in a character is still text", async () => {
  const bytes = randomBytes(100);
  const name = encodeURIComponent("x" + "\u00e9".repeat(200));
  const answer = await client.call("PUT", `/media/${"ab".repeat(32)}?name=${name}`, { body: bytes });
  assert.equal(answer.status, 422);
  assert.equal(answer.json.path, "x" + "\u00e9".repeat(127), "255 bytes");
  const odd = await client.call("PUT", `/media/${"ab".repeat(32)}?name=${name.slice(1)}`, { body: bytes });
  assert.equal(odd.json.path, "\u00e9".repeat(127), "254 bytes and half a character");
});

// ---- WebSockets --------------------------------------------------------------------------------

const liveUrl = () => `ws://127.0.0.1:${server.port}/api/v1/live`;

// The most address space that the coordinator has had, in bytes.
const peakSpace = () =>
  Number(/VmPeak:\s+(\d+) kB/.exec(readFileSync(`/proc/${server.pid}/status`, "latin1"))[1]) * 1024;

// A socket behind its handshake, with what the server has sent since.
async function handshake() {
  const socket = connect(server.port, "127.0.0.1");
  let data = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.on("data", (chunk) => (data = Buffer.concat([data, chunk])));
  socket.write("GET /api/v1/live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
  while (!data.includes("\r\n\r\n")) await once(socket, "data");
  // RFC 6455, section 1.3: the key and its answer.
  assert.match(data.toString("latin1"), /^HTTP\/1\.1 101 [^]*Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/);
  return { socket, received: () => data };
}

// The code of the close frame that the server ends with.
async function closedWith(frame) {
  const { socket, received } = await handshake();
  socket.write(frame);
  await once(socket, "close");
  const bytes = received();
  const at = bytes.lastIndexOf(Buffer.from([0x88, 0x02]));
  return at < 0 ? null : bytes.readUInt16BE(at + 2);
}

const mask = [1, 2, 3, 4];
test("what a WebSocket claims to send is not believed", async () => {
  const space = peakSpace();
  const length = (size) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(size));
    return bytes;
  };
  for (const size of [0x7fff0000, 2 ** 40, MiB + 1])
    assert.equal(await closedWith(Buffer.concat([Buffer.from([0x82, 0xff]), length(size), Buffer.from(mask)])), 1009);
  assert.ok(peakSpace() - space < GiB / 2, `${peakSpace() - space} bytes more`);
  assert.equal(await closedWith(Buffer.from([0x81, 0x02, 0x61, 0x62, 0, 0])), 1002, "unmasked");
  assert.equal(await closedWith(Buffer.from([0xc1, 0x80, ...mask])), 1002, "a reserved bit");
  assert.equal(await closedWith(Buffer.from([0x83, 0x80, ...mask])), 1002, "an unknown opcode");
  assert.equal(await closedWith(Buffer.from([0x89, 0xfe, 0, 126, ...mask])), 1002, "a ping that is too long");
  assert.equal(await closedWith(Buffer.from([0x09, 0x80, ...mask])), 1002, "a ping in fragments");
});

test("a WebSocket answers pings and closes, byte by byte and in fragments", async () => {
  const { socket, received } = await handshake();
  const ping = [0x89, 0x83, ...mask, 0x61 ^ 1, 0x62 ^ 2, 0x63 ^ 3];
  const fragments = [0x01, 0x81, ...mask, 0x40, 0x80, 0x81, ...mask, 0x40];
  for (const byte of [...fragments, ...ping]) {
    socket.write(Buffer.from([byte]));
    await new Promise((done) => setImmediate(done));
  }
  const pong = Buffer.from([0x8a, 3, 0x61, 0x62, 0x63]);
  while (!received().includes(pong)) await once(socket, "data");
  socket.write(Buffer.from([0x88, 0x82, ...mask, (1001 >> 8) ^ 1, (1001 & 255) ^ 2]));
  await once(socket, "close");
  assert.ok(received().includes(Buffer.from([0x88, 2, 1001 >> 8, 1001 & 255])));
});

test("listeners cannot take the threads of requests", async () => {
  const sockets = Array.from({ length: 70 }, () => new WebSocket(liveUrl()));
  const open = (await Promise.all(sockets.map((s) => new Promise((done) => {
    s.on("error", () => done(false));
    s.on("message", () => done(true));
  })))).filter(Boolean).length;
  assert.equal(open, 64);
  const all = await Promise.all(Array.from({ length: 20 }, () => client.call("GET", "/status")));
  assert.ok(all.every((a) => a.status === 200));
  for (const s of sockets) s.terminate();
});

test("a slow listener is cut, and holds nobody up", async () => {
  const { socket } = await handshake();
  socket.pause();
  for (let i = 0; i < 60; i++)
    await client.call("PUT", "/timelines/slow", { json: {
      schema: "vistter.timeline/1", format: { width: 320, height: 180, rate: "25" }, duration: 50 + i,
      tracks: [{ clips: [{ id: "bars", kind: "pattern", pattern: { kind: "bars" }, start: 0, duration: 50 }] }],
    } });
  const quick = new WebSocket(liveUrl());
  await once(quick, "message");
  quick.terminate();
  socket.destroy();
});

// ---- Bodies that never end ---------------------------------------------------------------------

test("bodies that trickle end, and do not keep others out", async () => {
  const begin = Date.now();
  const head = "POST /api/v1/channels HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n" +
    "Content-Length: 60000\r\n\r\n";
  let open = 0;
  let answered = 0;
  const sockets = Array.from({ length: 300 }, () => {
    const socket = connect(server.port, "127.0.0.1", () => socket.write(head));
    open++;
    socket.on("error", () => {});
    socket.on("data", (data) => (answered += data.toString("latin1").startsWith("HTTP/1.1 408")));
    socket.on("close", () => open--);
    return socket;
  });
  const trickle = setInterval(() => sockets.forEach((s) => s.writable && s.write(" ")), 500);
  const wait = () => new Promise((done) => setTimeout(done, 100));
  while (open > 192 && Date.now() - begin < 20000) await wait();
  assert.ok(open <= 192, `${open} of one address are open`);
  // Another address is served at once, and so is this one.
  for (const address of ["127.0.0.2", "127.0.0.1"]) {
    const text = await new Promise((done) => {
      let all = "";
      const socket = connect({ port: server.port, host: "127.0.0.1", localAddress: address }, () =>
        socket.write("GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"));
      socket.on("data", (chunk) => (all += chunk));
      socket.on("error", () => {});
      socket.on("close", () => done(all));
    });
    assert.match(text, /^HTTP\/1\.1 200 /, address);
  }
  while (open > 0 && Date.now() - begin < 60000) await wait();
  clearInterval(trickle);
  assert.equal(open, 0, "after a minute all have been ended");
  assert.ok(answered > 100, `${answered} were told why`);
});

test("an upload that trickles is ended, and leaves nothing", async () => {
  const { text, ended } = await new Promise((done) => {
    let all = "";
    const socket = connect(server.port, "127.0.0.1", () =>
      socket.write(`PUT /api/v1/media/${"cd".repeat(32)}?name=slow HTTP/1.1\r\nHost: localhost\r\n` +
        "Content-Length: 1000000\r\n\r\n"));
    const trickle = setInterval(() => socket.write("xxxxxxxx"), 500);
    const timer = setTimeout(() => socket.destroy(), 60000);
    socket.on("data", (chunk) => (all += chunk));
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(trickle);
      clearTimeout(timer);
      done({ text: all, ended: true });
    });
  });
  assert.ok(ended);
  assert.match(text, /^HTTP\/1\.1 408 /);
});
