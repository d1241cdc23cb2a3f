// A database that is not there yet, and that does not answer.
import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Client, seconds, until } from "./client.js";
import { Server } from "./server.js";

// Well above what store.h promises, far below for ever.
const bound = 8;

const answers = (origin) => fetch(`${origin}/api/v1/status`).then((r) => r.status, () => 0);
const count = (text, pattern) => text.split(pattern).length - 1;

test("a coordinator waits for its database, and says so once", async () => {
  const server = await Server.start({ bare: true });
  await server.run("start", "coordinator");
  await until(async () => (await answers(server.origin)) === 503, "an answer");
  const client = new Client(server);
  for (const [method, path] of [["GET", "/status"], ["GET", "/channels"], ["POST", "/channels"]]) {
    const answer = await client.call(method, path);
    assert.deepEqual([answer.status, answer.json.code], [503, "no_leader"], path);
    assert.match(answer.json.detail, /database/);
  }
  await until(() => server.log("coordinator").includes("database_unreachable"), "the line");
  await server.run("term", "coordinator");
  assert.equal(await server.run("exit", "coordinator"), 0, "it can be stopped meanwhile");
  await server.run("start", "coordinator");
  await until(async () => (await answers(server.origin)) === 503, "an answer");
  await server.database("up");
  await server.leads();
  assert.ok(count(server.log("coordinator"), "database_unreachable") <= 5, server.log("coordinator"));
  await server.run("term", "coordinator");
  assert.equal(await server.run("exit", "coordinator"), 0);
  await server.stop();
});

// ---- A database that does not answer -----------------------------------------------------------

let server, client;
before(async () => {
  server = await Server.start();
  client = new Client(server);
  await client.call("POST", "/channels", { json: { name: "one" } });
  await client.call("POST", "/channels/one/destinations", { json: { name: "archive", kind: "recording" } });
  await client.call("GET", "/status");
});
after(async () => {
  assert.equal(await server?.stop(), 0);
});

test("a frozen database blocks nobody", async () => {
  await server.database("freeze");
  const begin = Date.now();
  const calls = Array.from({ length: 60 }, (_, i) =>
    i % 3 === 0 ? client.call("GET", "/status")
      : i % 3 === 1 ? client.call("GET", "/channels/one")
        : client.call("POST", "/channels", { json: { name: `frozen${i}` } }));
  const all = await Promise.all(calls);
  assert.ok(seconds(begin) < bound, `${seconds(begin)} s`);
  all.forEach((answer, i) => assert.equal(answer.status, i % 3 ? 503 : 200, answer.body.toString()));
  for (const status of all.filter((a) => a.status === 200).map((a) => a.json)) {
    assert.equal(status.database, "down");
    assert.deepEqual(status.channels.map((c) => c.name), ["one"]);
    assert.deepEqual(status.channels[0].destinations.map((d) => d.name), ["archive"]);
  }
  // Once it is known, nobody waits.
  const then = Date.now();
  assert.equal((await client.call("GET", "/channels")).status, 503);
  assert.ok(seconds(then) < bound / 2, `${seconds(then)} s`);
  await server.database("thaw");
  await until(async () => (await client.call("GET", "/channels")).status === 200, "the database");
  const names = (await client.call("GET", "/channels")).json.map((c) => c.name);
  // Nothing of it was done, but where the answer to a commit was lost: and there it was told.
  const unsure = all.flatMap((a, i) => (a.json.code === "database_unsure" ? [`frozen${i}`] : []));
  for (const name of names) assert.ok(name === "one" || unsure.includes(name), name);
  // The lease has lapsed meanwhile; it is renewed once a second.
  await until(async () => (await client.call("POST", "/channels", { json: { name: "after" } })).status === 201, "the lease");
});

test("SIGTERM is heard while the database is frozen", async () => {
  await server.database("freeze");
  const begin = Date.now();
  const pending = client.call("GET", "/channels").catch(() => null);
  await server.run("term", "coordinator");
  assert.equal(await server.run("exit", "coordinator"), 0);
  assert.ok(seconds(begin) < bound, `${seconds(begin)} s`);
  await pending;
  await server.database("thaw");
  // What a coordinator that was killed has left, and nodes that are not there.
  await server.sql("insert into nodes (name, role, facts, seen_at) values ('old', 'edge', "
    + "'{\"version\": \"0.0.9\"}', '2026-01-02T03:04:05Z')");
  writeFileSync(join(server.folder, "media/upload-Ab12Cd"), "half");
  server.pid = await server.run("start", "coordinator");
  await server.leads();
  assert.deepEqual(readdirSync(join(server.folder, "media")), []);
  const [old] = await until(async () => {
    const nodes = (await client.call("GET", "/nodes")).json;
    return nodes.length ? nodes : null;
  }, "the node");
  assert.deepEqual([old.name, old.role, old.state, old.version, old.seen_at.slice(0, 19)],
    ["old", "edge", "down", "0.0.9", "2026-01-02T03:04:05"]);
});
